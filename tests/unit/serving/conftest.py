from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.serving import models
from tests.unit.serving.harness import Pair


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Name → directory of the model of that name, saved by MLflow when it is first asked for."""
    root = tmp_path_factory.mktemp("models")
    builders = models.builders()

    def directory(name: str) -> Path:
        if not (root / name).exists():
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
