"""What a model server's start costs: from the process's first instruction to the answer 200 of /health.

    uv run python -m tests.bench.start [--rounds 9] [--python PATH] [--megabytes 0]

One server at a time, beside a real MinIO; a forest of 300 trees and a gradient boosting, each native and accelerated.
`--python` names the interpreter of an environment as the image has it. The first start of each kind compiles what is
not compiled yet and is not counted. `--megabytes` makes the model larger by so much, as a file of noise.

`list`, `download` and `verify` are what the store and the network cost, `beyond` is the rest of `ready`, `imports` what
had to be imported before a model can be loaded (beside the download), `cpu` the processor time of it all, which a busy
machine changes less than the rest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelyard_serving.digest import digest, hash_directory
from tests.e2e.processes import free_port
from tests.unit.serving.fetch.minio import BUCKET, MinioStore, run_minio

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 120
COLUMNS = ("ready", "listening", "imports", "list", "download", "verify", "load", "beyond", "cpu", "rss")


@dataclass(frozen=True)
class Stored:
    """A model in the store, as the operator names it to a pod."""

    name: str
    digest: str
    accelerated: str | None


def build(name: str, directory: Path, megabytes: int) -> Stored:
    """Save a model, and what the preparation makes of it beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.sklearn  # noqa: PLC0415
        from mlflow.models import infer_signature  # noqa: PLC0415
        from sklearn.datasets import load_wine  # noqa: PLC0415
        from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier  # noqa: PLC0415

        frame, labels = load_wine(return_X_y=True, as_frame=True)
        estimators = {
            "forest": RandomForestClassifier(300, random_state=7),
            "boosting": GradientBoostingClassifier(random_state=7),
        }
        model = estimators[name].fit(frame, labels)
        mlflow.sklearn.save_model(
            model,
            directory / "model",
            signature=infer_signature(frame, model.predict(frame)),
            input_example=frame.head(3),
            serialization_format="cloudpickle",
            # The image's own: another environment would take longer than all that is measured here.
            pip_requirements=[f"scikit-learn=={version('scikit-learn')}", f"cloudpickle=={version('cloudpickle')}"],
        )
    if megabytes:
        (directory / "model" / "noise").write_bytes(os.urandom(megabytes * 2**20))
    command = [sys.executable, "-m", "modelyard_serving.acceleration", "--seconds", "10"]
    command += ["--model", str(directory / "model"), "--output", str(directory / "prepared")]
    subprocess.run(command, check=True, capture_output=True)
    onnx = directory / "prepared/model.onnx"
    accelerated = f"sha256:{hashlib.sha256(onnx.read_bytes()).hexdigest()}" if onnx.exists() else None
    return Stored(name, digest(hash_directory(directory / "model")), accelerated)


def upload(store: MinioStore, name: str, directory: Path) -> None:
    """Put the model and what was prepared into the store."""
    for path in directory.rglob("*"):
        if path.is_file():
            store.put(name, {path.relative_to(directory).as_posix(): path.read_bytes()})


def start(python: str, store: MinioStore, model: Stored, *, accelerated: bool, pycache: Path) -> dict[str, float]:
    """Seconds of one start, by what they went for; memory in MB."""
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        env = {
            "PATH": os.environ["PATH"],
            **store.env,
            "AWS_ENDPOINT_URL_S3": store.endpoint,
            "PYTHONPATH": str(ROOT / "serving-image"),
            "PYTHONPYCACHEPREFIX": str(pycache),
            "HOME": directory,
            "MODELYARD_MODEL_NAME": model.name,
            "MODELYARD_MODEL_VERSION": "1",
            "MODELYARD_MODEL_SOURCE": f"s3://{BUCKET}/{model.name}/model",
            "MODELYARD_MODEL_DIGEST": model.digest,
            "MODELYARD_MODEL_DIR": f"{directory}/model",
            "MODELYARD_HOST": "127.0.0.1",
            "MODELYARD_PORT": str(port),
            "MODELYARD_TERMINATION_LOG": f"{directory}/termination-log",
            "MODELYARD_RUNTIME": "auto" if accelerated else "native",
        }
        if accelerated:
            env["MODELYARD_ACCELERATED_SOURCE"] = f"s3://{BUCKET}/{model.name}/prepared/model.onnx"
            env["MODELYARD_ACCELERATED_DIGEST"] = str(model.accelerated)
        log = Path(directory) / "log"
        begin = time.time()
        with log.open("wb") as output:
            process = subprocess.Popen([python, "-m", "modelyard_serving"], env=env, stdout=output, stderr=output)
        try:
            ready = _wait(process, port, log) - begin
            memory = next(
                int(line.split()[1]) / 1024
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if line.startswith("VmRSS")
            )
            # utime and stime (proc_pid_stat(5)); the command, which may hold spaces, ends with the last bracket.
            ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            cpu = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        finally:
            process.kill()
            process.wait()
        return {"ready": ready, "cpu": cpu, "rss": memory, **_read(log.read_text(), begin, ready)}


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> float:
    deadline = time.time() + DEADLINE_SECONDS
    while time.time() < deadline:
        if process.poll() is not None:
            sys.exit(f"the server ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return time.time()
        except (urllib.error.HTTPError, OSError):
            time.sleep(0.002)
    sys.exit(f"not ready within {DEADLINE_SECONDS} s: {log.read_text()}")


def _read(text: str, begin: float, ready: float) -> dict[str, float]:
    """What the server's log says of its start."""
    lines: dict[str, dict[str, Any]] = {line["event"]: line for line in map(json.loads, text.splitlines())}
    loaded = lines["loaded"]
    found = {"listening": datetime.fromisoformat(lines["starting"]["time"]).timestamp() - begin}
    for column, name in (("imports", "import_seconds"), ("list", "list_seconds"), ("download", "download_seconds")):
        found[column] = loaded.get(name, float("nan"))
    found["verify"] = loaded.get("verify_seconds", float("nan"))
    found["load"] = loaded["load_seconds"]
    # What the download itself took, and nothing of the start that went on beside it.
    found["beyond"] = ready - loaded.get("list_seconds", 0) - loaded.get("download_seconds", loaded["fetch_seconds"])
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--megabytes", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = stack.enter_context(run_minio(directory))
        print(f"{'model':10}{'runtime':13}" + "".join(f"{column:>11}" for column in COLUMNS))
        for name in ("forest", "boosting"):
            (directory / name).mkdir()
            model = build(name, directory / name, options.megabytes)
            upload(store, name, directory / name)
            for accelerated in (False, True):
                if accelerated and model.accelerated is None:
                    print(f"{name:10}{'accelerated':13}{'not convertible':>11}")
                    continue
                rounds = [
                    start(options.python, store, model, accelerated=accelerated, pycache=directory / "pycache")
                    for _ in range(options.rounds + 1)
                ][1:]
                medians = [statistics.median(each[column] for each in rounds) for column in COLUMNS]
                runtime = "accelerated" if accelerated else "native"
                print(f"{name:10}{runtime:13}" + "".join(f"{value:11.3f}" for value in medians), flush=True)


if __name__ == "__main__":
    main()
