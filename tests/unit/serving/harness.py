"""The same request through MLflow's scoring server and through ours, over the same saved model."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from modelyard_serving.app import create_app
from modelyard_serving.call import PREDICT, Predictor
from modelyard_serving.config import Config, Source
from modelyard_serving.engine.engine import Limits
from modelyard_serving.errors import RequestError
from modelyard_serving.metrics import Metrics
from modelyard_serving.model import Loaded, Model
from modelyard_serving.protocol.dialect import HttpRequest
from modelyard_serving.startup import load
from modelyard_serving.state import State

with warnings.catch_warnings():
    # MLflow warns of its own type hints when it is imported.
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

JSON = "application/json"


def config(**fields: Any) -> Config:
    defaults: dict[str, Any] = {
        "model_name": "churn",
        "model_version": "3",
        "source": Source("models", "churn/3"),
        "digest": "sha256:" + "0" * 64,
        "model_uri": "models:/churn/3",
    }
    return Config(**{**defaults, **fields})


def model(directory: Path) -> Model:
    """The model in `directory`, as a server makes it ready."""
    return Model.of(load(directory), Limits(), Metrics())


def predicts(state: State, function: Callable[[], Any]) -> Model:
    """Put a model in the place of the one that is served, with the same signature."""
    loaded = Loaded(state.model.mlmodel, "sklearn", Predictor({PREDICT: lambda _data, _params: function()}))
    state.loaded = Model.of(loaded, Limits(), Metrics())
    return state.loaded


def request(body: bytes, content_type: str | None = JSON) -> HttpRequest:
    return HttpRequest(body, {} if content_type is None else {b"content-type": content_type.encode("latin-1")})


def client(app: Any) -> httpx.AsyncClient:
    """Speaks HTTP to an application in this process; what it raises is answered as a server would, with 500."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://model")


def our_app(directory: Path, **fields: Any) -> Any:
    """Our application, ready, over the model in `directory`."""
    state = State(config(**fields))
    state.ready(model(directory))
    return create_app(state)


def mlflow_app(directory: Path) -> Any:
    return scoring_server.init(mlflow.pyfunc.load_model(str(directory), suppress_warnings=True))


@dataclass(frozen=True)
class Answer:
    status: int
    code: str | None
    """`error_code` of an error in the dialect."""
    text: str
    """The message of an error, the whole body of anything else."""


class Pair:
    """Two servers of one model, called below HTTP: thousands of requests take seconds."""

    def __init__(self, directory: Path) -> None:
        self._theirs = mlflow.pyfunc.load_model(str(directory), suppress_warnings=True)
        self._ours = model(directory)

    def post(self, body: Any, content_type: str | None = JSON) -> tuple[Answer, Answer]:
        """(MLflow's answer, our answer) to a body: bytes or text as they are, anything else as JSON."""
        content = (
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        )
        return self._post_theirs(content, content_type), self._post_ours(content, content_type)

    def _post_theirs(self, content: bytes, content_type: str | None) -> Answer:
        try:
            answer = scoring_server.invocations(  # type: ignore[no-untyped-call]
                content, content_type, self._theirs, self._theirs.metadata.get_input_schema()
            )
        except MlflowException as error:
            status = error.get_http_status_code()  # type: ignore[no-untyped-call]
            return Answer(status, error.error_code, error.message)
        except Exception as error:  # What the ASGI server turns into a bare 500.
            return Answer(500, None, repr(error))
        return Answer(answer.status, None, answer.response)

    def _post_ours(self, content: bytes, content_type: str | None) -> Answer:
        try:
            return Answer(200, None, self._ours.answer("mlflow", request(content, content_type)).body.decode())
        except RequestError as error:
            return Answer(error.status, error.code, error.message)
