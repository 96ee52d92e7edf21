from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.serving import models
from tests.unit.serving.harness import Pair


@contextmanager
def _mlflows_warnings_ignored() -> Iterator[None]:
    """As errors they would change what MLflow does: it infers another signature when inferring one fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name → directory of the model of that name, saved by MLflow when it is first asked for."""
    root = tmp_path_factory.mktemp("models")
    with _mlflows_warnings_ignored():
        builders = models.builders()

    def directory(name: str) -> Path:
        if not (root / name).exists():
            with _mlflows_warnings_ignored():
                builders[name](root / name)
        return root / name

    return directory


@pytest.fixture(scope="session")
def pair(saved_model: Callable[[str], Path]) -> Callable[[str], Pair]:
    """Name → MLflow's server and ours over the model of that name."""
    pairs: dict[str, Pair] = {}

    def get(name: str) -> Pair:
        if name not in pairs:
            pairs[name] = Pair(saved_model(name))
        return pairs[name]

    return get
