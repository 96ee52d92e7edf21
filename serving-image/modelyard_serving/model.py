"""A loaded model, and the protocols that it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from modelyard_serving.call import Predictor
from modelyard_serving.engine.engine import Engine, Limits, Observer
from modelyard_serving.mlmodel import PYFUNC, MLmodel
from modelyard_serving.protocol.dialect import Dialect, HttpRequest
from modelyard_serving.protocol.mlflow import MlflowDialect
from modelyard_serving.protocol.v1 import V1Dialect
from modelyard_serving.protocol.v2.dialect import V2Dialect

FOREIGN_CODE = (PYFUNC,)
"""Flavors whose predictions may do anything, such as wait for another server: none runs in the event loop."""


class Answer(NamedTuple):
    """What a request is answered with."""

    body: bytes
    seconds: float
    """What the model took to predict: neither reading the request nor writing the answer."""


class Loaded(NamedTuple):
    """What comes out of a model directory."""

    mlmodel: MLmodel
    flavor: str
    predictor: Predictor
    note: str = ""
    """Why the runtime is not the one that was wanted, if it is not."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict; safe to use from several threads."""

    mlmodel: MLmodel
    flavor: str
    predictor: Predictor
    engine: Engine
    dialects: Mapping[str, Dialect]
    """By name."""
    note: str = ""

    @classmethod
    def of(cls, loaded: Loaded, limits: Limits, observer: Observer, names: tuple[str, str] = ("", "")) -> Model:
        """Make a loaded model ready for requests; `names` are its name and version in answers."""
        mlmodel, flavor, predictor, note = loaded
        engine = Engine(predictor, limits, observer, inline=flavor not in FOREIGN_CODE)
        methods = tuple(predictor.methods)
        dialects: list[Dialect] = [
            MlflowDialect(mlmodel, methods),
            V1Dialect(mlmodel, methods),
            V2Dialect(mlmodel, methods, *names),
        ]
        return cls(mlmodel, flavor, predictor, engine, {dialect.name: dialect for dialect in dialects}, note)

    def answer(self, dialect: str, request: HttpRequest) -> Answer:
        """The answer to one request, in the calling thread. Raises RequestError; KeyError for an unknown dialect."""
        speaks = self.dialects[dialect]
        call = speaks.quick(request) or speaks.read(request)
        result = self.engine.run_here(call)
        return Answer(speaks.write(call, result).body, result.seconds)
