"""What a start begins before anything else: the download, and beside it the imports that it will turn out to need.

Nothing that takes time to import may be imported here at module level.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from modelyard_serving.config import Config, Runtime
from modelyard_serving.fetch import Fetched, Store, connect, fetch, fetch_file

T = TypeVar("T")

_NEEDED = {
    "sklearn": ("pandas", "sklearn.base"),
    "xgboost": ("pandas", "xgboost"),
    "lightgbm": ("pandas", "lightgbm"),
    "onnx": ("onnxruntime",),
}
"""By flavor, what is imported to load a model; a name in an unverified MLmodel file picks from these and no others."""


class Ahead(NamedTuple):
    """What has been begun."""

    fetched: Future[Fetched]
    """The model's directory. Raises StartupError, as `fetch` does."""
    accelerated: Future[Path] | None
    """The ONNX file in the model's place, if there is one. Raises StartupError, as `fetch_file` does."""
    begun: float
    """time.monotonic()."""


def begin(config: Config) -> Ahead:
    """Begin, in threads."""
    start = time.monotonic()
    if config.runtime is Runtime.NATIVE or config.accelerated is None:
        return Ahead(_in_thread("fetch", lambda: _fetch(_store(config), config, _import_for)), None, start)
    source, digest = str(config.accelerated.source), config.accelerated.digest
    _in_thread("imports", lambda: _import("onnxruntime"))
    accelerated = _in_thread("accelerated", lambda: fetch_file(source, digest, config.model_dir, _store(config)))
    return Ahead(_in_thread("fetch", lambda: _fetch(_store(config), config, None)), accelerated, start)


def _store(config: Config) -> Store:
    return connect(config.s3_endpoint, config.node_cache)


def _fetch(store: Store, config: Config, arrived: Callable[[Path], None] | None) -> Fetched:
    return fetch(store, config.source, config.digest, config.model_dir, arrived)


def _import_for(mlmodel: Path) -> None:
    """Import what the flavor of a model needs; what is wrong with the file is told when it is read in earnest."""
    import yaml  # noqa: PLC0415

    with suppress(Exception):
        flavors = yaml.safe_load(mlmodel.read_text())["flavors"]
        for name, modules in _NEEDED.items():
            if name in flavors:
                _import(*modules)


def _import(*modules: str) -> None:
    for name in modules:
        with suppress(Exception):
            importlib.import_module(name)


def _in_thread(name: str, act: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
