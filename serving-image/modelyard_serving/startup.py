"""From the environment to a model in memory."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

from modelyard_serving import flavors, logs, mlmodel
from modelyard_serving.ahead import Ahead, begin
from modelyard_serving.config import Config, Runtime
from modelyard_serving.engine.engine import Limits, Observer
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.fetch import connect, fetch_file
from modelyard_serving.flavors import onnx
from modelyard_serving.model import Loaded, Model


def bring_up(config: Config, observer: Observer, ahead: Ahead | None = None) -> Model:
    """Download, verify, load; `ahead` is the download that has begun. Raises StartupError, whatever goes wrong."""
    try:
        return _bring_up(config, observer, ahead or begin(config))
    except StartupError:
        raise
    except Exception as error:
        raise StartupError(Reason.LOAD_FAILED, f"{type(error).__name__}: {error}") from error


def _bring_up(config: Config, observer: Observer, ahead: Ahead) -> Model:
    waiting = time.monotonic()
    fetched = ahead.fetched.result()
    verified = time.monotonic()
    loaded = _load(config, ahead, fetched.path)
    names = (config.model_name, config.model_version)
    model = Model.of(loaded, _limits(config), observer, names, grpc=config.grpc_port > 0)
    # What has been made until now lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.enable()
    logs.event(
        "loaded",
        flavor=model.flavor,
        runtime=model.predictor.runtime,
        files=fetched.files,
        bytes=fetched.bytes,
        reused=fetched.reused,
        fetch_seconds=round(verified - ahead.begun, 3),
        **{f"{part}_seconds": round(seconds, 3) for part, seconds in fetched.seconds.items()},
        # Until then: what had to be imported before a model can be loaded.
        import_seconds=round(waiting - ahead.begun, 3),
        load_seconds=round(time.monotonic() - verified, 3),
    )
    return model


def _load(config: Config, ahead: Ahead, directory: Path) -> Loaded:
    """The model as ONNX, if there is such a one and it is wanted, else the original, and why."""
    if config.runtime is Runtime.NATIVE:
        note = "MODELYARD_RUNTIME is native"
    elif ahead.accelerated is None:
        note = "there is no model in ONNX that was found to answer the same"
    else:
        description = mlmodel.read(directory)
        try:
            path = ahead.accelerated.result()
            return Loaded(
                description, flavors.name_of(description), onnx.load_accelerated(path, description), directory
            )
        except (StartupError, onnx.AcceleratedError) as error:
            note = str(error)[:500]
            logs.warning("not_accelerated", error=note)
    _enter_environment(config, directory)
    return load(directory)._replace(note=note)


def _enter_environment(config: Config, directory: Path) -> None:
    """Return where the original can be loaded here; otherwise this process becomes the server in its environment.

    A model that ONNX Runtime answers for needs none. Raises StartupError, as `environments.enter` does.
    """
    from modelyard_serving import environments  # noqa: PLC0415

    packed = config.packed_environment
    archive = None
    if packed is not None:
        store = connect(config.s3_endpoint, config.node_cache)
        archive = (lambda: fetch_file(str(packed.source), packed.digest, config.model_dir, store), packed.digest)
    root = config.model_dir / "environments"
    environments.enter(directory, mlmodel.read(directory), config.environment, root, archive=archive)


def load(directory: Path) -> Loaded:
    """The original in a directory whose digest has been verified. Raises StartupError."""
    description = mlmodel.read(directory)
    flavor, loader = flavors.choose(description)
    return Loaded(description, flavor, loader(directory, description), directory)


def _limits(config: Config) -> Limits:
    return Limits(config.threads, config.max_queue, config.max_batch_rows)


def report(error: StartupError, termination_log: Path) -> None:
    """One line to standard error and to the file that Kubernetes shows as the container's termination message."""
    print(error.line, file=sys.stderr, flush=True)
    try:
        # Kubernetes makes the file; elsewhere it need not exist.
        termination_log.write_text(error.line + "\n")
    except OSError as problem:
        logs.warning("termination_log_not_written", error=str(problem))
