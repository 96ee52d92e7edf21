"""A loaded model, and the protocols that it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
    directory: Path | None = None
    note: str = ""
    """Why the original answers, where it does."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict; safe to use from several threads."""

    mlmodel: MLmodel
    flavor: str
    predictor: Predictor
    engine: Engine
    dialects: Mapping[str, Dialect]
    """By name."""
    directory: Path | None = None
    note: str = ""
    """As in `Loaded`."""

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        limits: Limits,
        observer: Observer,
        names: tuple[str, str] = ("", ""),
        *,
        grpc: bool = False,
    ) -> Model:
        """Make a loaded model ready for requests; `names` are its name and version in answers."""
        mlmodel, flavor, predictor, directory, note = loaded
        engine = Engine(predictor, limits, observer, inline=flavor not in FOREIGN_CODE)
        methods = tuple(predictor.methods)
        dialects: list[Dialect] = [
            MlflowDialect(mlmodel, methods),
            V1Dialect(mlmodel, methods),
            V2Dialect(mlmodel, methods, *names),
        ]
        if grpc:
            # What nobody asks for is not imported.
            from modelyard_serving.protocol.grpc.dialect import GrpcDialect  # noqa: PLC0415

            dialects.append(GrpcDialect(mlmodel, methods, *names))
        return cls(mlmodel, flavor, predictor, engine, {each.name: each for each in dialects}, directory, note)

    def answer(self, dialect: str, request: HttpRequest) -> Answer:
        """The answer to one request, in the calling thread. Raises RequestError; KeyError for an unknown dialect."""
        speaks = self.dialects[dialect]
        call = speaks.quick(request) or speaks.read(request)
        result = self.engine.run_here(call)
        return Answer(speaks.write(call, result).body, result.seconds)
