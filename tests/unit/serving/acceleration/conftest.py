from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from modelyard_serving.acceleration.accelerate import Acceleration, Limits, Outcome, verify
from modelyard_serving.acceleration.errors import NotConvertible
from modelyard_serving.acceleration.original import Original
from modelyard_serving.call import Predictor
from modelyard_serving.flavors.accelerated import METADATA_KEY, Contract, predictor
from modelyard_serving.flavors.onnx import open_session
from tests.unit.serving.acceleration import zoo

LIMITS = Limits(seconds=60, rows=1200)


@dataclass(frozen=True)
class Tamed:
    """An animal of the zoo after its acceleration."""

    name: str
    original: Original
    result: Acceleration

    @property
    def contract(self) -> Contract:
        return Contract.from_json(self.session().get_modelmeta().custom_metadata_map[METADATA_KEY])

    def session(self) -> Any:
        assert self.result.content is not None
        return open_session(self.result.content)

    def predictor(self) -> Predictor:
        return predictor(self.session(), self.contract)


def tame(name: str) -> Tamed:
    animal = zoo.ZOO[name]
    original = zoo.original(animal.fitted(), animal.data)
    evidence: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = verify(original, zoo.columns(animal.data), [], LIMITS, lambda _: None, evidence)
        except NotConvertible as error:
            result = Acceleration(Outcome.NOT_CONVERTIBLE, str(error), evidence)
    return Tamed(name, original, result)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the Job, whose process has OMP_NUM_THREADS=1."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def tamed() -> Callable[[str], Tamed]:
    """Name → that animal, accelerated when it is first asked for."""
    return cache(tame)
