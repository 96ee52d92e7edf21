"""What the flavors have in common: where their files are, how Python objects are read, what is said when it fails.

Pickles run code when they are loaded, and skops trusts the types that the MLmodel file lists: only files whose digest
has been verified may come here.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.logs import warning
from modelyard_serving.mlmodel import MLmodel


def inside(directory: Path, relative: str) -> Path:
    """The path of something in the model's directory. Raises StartupError(ModelInvalid) if it is outside."""
    path = (directory / relative).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise StartupError(Reason.MODEL_INVALID, f"MLmodel names a path outside the model directory: {relative!r}")
    return path


def data_file(directory: Path, flavor: str, relative: object) -> Path:
    """The file that holds the model. Raises StartupError(ModelInvalid) if there is none."""
    if not relative or not isinstance(relative, str):
        raise StartupError(Reason.MODEL_INVALID, f"the {flavor} flavor names no file of the model")
    path = inside(directory, relative)
    if not path.is_file():
        raise StartupError(Reason.MODEL_INVALID, f"the model's file {path.name} is missing")
    return path


def add_code(directory: Path, model: MLmodel, flavor: str) -> None:
    """Modules logged with the model (`code_paths`) come before installed ones."""
    if code := model.pyfunc.get("code") or model.flavors.get(flavor, {}).get("code"):
        path = str(inside(directory, code))
        if path not in sys.path:
            sys.path.insert(0, path)


def warn_of_version(library: str, trained_with: object, served_with: str) -> None:
    """Say that the model was trained with another version of its library than the one that serves it."""
    if trained_with != served_with:
        warning(f"{library}_version_differs", trained_with=trained_with, served_with=served_with)


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turns whatever goes wrong into a StartupError: MissingDependency, naming the module, or LoadFailed."""
    try:
        yield
    except StartupError:
        raise
    except ModuleNotFoundError as error:
        raise StartupError(
            Reason.MISSING_DEPENDENCY, f"the model needs the Python module {error.name!r}, which is not installed"
        ) from error
    except Exception as error:
        raise StartupError(Reason.LOAD_FAILED, f"{what} cannot be loaded: {type(error).__name__}: {error}") from error


def read_object(path: Path, conf: Mapping[str, Any], default_format: str) -> Any:
    """The object in a file that `mlflow.sklearn`'s functions wrote. Raises StartupError."""
    loaders: Mapping[str, Callable[[Path], Any]] = {
        "skops": lambda path: _read_skops(path, conf.get("skops_trusted_types")),
        "cloudpickle": _read_pickle,
        "pickle": _read_pickle,
    }
    serialization = conf.get("serialization_format") or default_format
    if serialization not in loaders:
        raise StartupError(Reason.MODEL_INVALID, f"serialization_format {serialization!r} is none of {list(loaders)}")
    with loading(f"{path.name} ({serialization})"):
        return loaders[serialization](path)


def _read_pickle(path: Path) -> Any:
    """What cloudpickle writes is a pickle, too: it names its own functions, which unpickling imports."""
    return pickle.loads(path.read_bytes())  # noqa: S301 - verified by digest


def _read_skops(path: Path, trusted: list[str] | None) -> Any:
    # Imported here: it looks through all of scikit-learn, which other formats need not wait for.
    import skops.io  # noqa: PLC0415

    return skops.io.load(path, trusted=trusted)
