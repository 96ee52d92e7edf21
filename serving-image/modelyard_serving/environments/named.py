"""Which modules a model's files name: what loading it will import.

The requirements of a model may list far more. MLflow writes down a whole project where it finds one (`uv.lock`), and a
model does not need the linter of the project that it was trained in.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from modelyard_serving.environments.code import holds_code

PICKLES = ("*.pkl", "*.pickle", "*.cloudpickle", "*.joblib")
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
_SKOPS_MODULE = re.compile(r'"__module__":\s*"([\w.]+)"')


def named_modules(directory: Path) -> frozenset[str] | None:
    """The top-level modules; None where files cannot tell, since they hold code, which may import anything.

    A file that is no pickle names nothing here: loading it says what is wrong with it.
    """
    if holds_code(directory):
        return None
    names: set[str] = set()
    for path in _files(directory, *PICKLES):
        names.update(_of_pickle(path))
    for path in _files(directory, "*.skops"):
        names.update(_of_skops(path))
    return frozenset(name.partition(".")[0] for name in names)


def missing_modules(names: frozenset[str], directory: Path) -> list[str]:
    """Those that can neither be imported here nor come with the model (`code_paths`)."""
    shipped = {path.stem for path in (directory / "code").glob("*")}
    return sorted(name for name in names - shipped if importlib.util.find_spec(name) is None)


def providers(names: frozenset[str]) -> frozenset[str]:
    """The installed packages, by their normalized names, that hold these modules."""
    packages = importlib.metadata.packages_distributions()
    return frozenset(canonicalize_name(package) for name in names for package in packages.get(name, ()))


def _files(directory: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in directory.rglob(pattern) if path.is_file())


def _of_pickle(path: Path) -> Iterator[str]:
    """The modules of a pickle's globals: https://docs.python.org/3/library/pickletools.html."""
    pushed: list[str] = []
    memo: list[str] = []
    with path.open("rb") as file:
        try:
            for opcode, argument, _ in pickletools.genops(file):
                if opcode.name == "GLOBAL":
                    yield str(argument).partition(" ")[0]
                    pushed.append("")
                elif opcode.name == "STACK_GLOBAL":
                    yield pushed[-2] if len(pushed) > 1 else ""
                    pushed.append("")
                elif opcode.name in _STRINGS:
                    pushed.append(str(argument))
                elif opcode.name == "MEMOIZE":
                    memo.append(pushed[-1] if pushed else "")
                elif opcode.name in ("BINGET", "LONG_BINGET"):
                    pushed.append(memo[argument] if isinstance(argument, int) and argument < len(memo) else "")
                elif opcode.stack_after:
                    pushed.append("")
        except ValueError:
            return


def _of_skops(path: Path) -> Iterator[str]:
    """The modules that the schema of a skops file names: https://skops.readthedocs.io/en/stable/persistence.html."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _SKOPS_MODULE.findall(archive.read("schema.json").decode())
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError):
        return
