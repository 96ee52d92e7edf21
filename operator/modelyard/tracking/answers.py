"""What the tracking server answers: runs, logged models, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from modelyard.api.experiment_status import Dataset
from modelyard.decide.experiment_model import Run, RunStatus

Json = dict[str, Any]

_CONTEXT_TAG = "mlflow.data.context"
_SOURCE_LIMIT = 1024
_PLACES = ("uri", "url", "path")
"""Where a dataset's source says where it is; https://mlflow.org/docs/latest/ml/dataset/."""


class TrackingError(Exception):
    """The tracking server refused a request; `code` is MLflow's error code (`RESOURCE_DOES_NOT_EXIST`, …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class TrackingUnreachable(TrackingError):
    """The tracking server does not answer, or cannot at the moment (429, 5xx)."""


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run logged; `artifact_location` is the URI of its directory."""

    model_id: str
    name: str
    artifact_location: str


def refusal(response: httpx.Response) -> TrackingError:
    """Return the error that an answer stands for."""
    try:
        body = response.json()
        code, message = str(body.get("error_code", "")), str(body.get("message", ""))
    except (json.JSONDecodeError, AttributeError):
        code, message = "", response.text[:500]
    text = f"the tracking server answers {response.status_code}: {message or response.reason_phrase}"
    kind = TrackingUnreachable if response.status_code >= 500 or response.status_code == 429 else TrackingError
    return kind(code or str(response.status_code), text)


def read_run(body: Json) -> Run:
    """Return a run of `runs/create`, `runs/get` or `runs/search`."""
    info, data = body["info"], body.get("data", {})
    return Run(
        run_id=info["run_id"],
        name=info.get("run_name", ""),
        status=RunStatus(info["status"]),
        start_time=int(info.get("start_time", 0)),
        end_time=int(info.get("end_time", 0)),
        artifact_uri=info.get("artifact_uri", ""),
        tags={tag["key"]: tag["value"] for tag in data.get("tags", [])},
        parameters={item["key"]: item["value"] for item in data.get("params", [])},
        metrics={item["key"]: float(item["value"]) for item in data.get("metrics", [])},
        datasets=_datasets(body.get("inputs", {}).get("dataset_inputs", [])),
    )


def _datasets(inputs: Iterable[Json]) -> tuple[Dataset, ...]:
    return tuple(
        Dataset(
            name=item["dataset"].get("name", "")[:500],
            digest=item["dataset"].get("digest", "")[:64],
            context=next((tag["value"] for tag in item.get("tags", []) if tag["key"] == _CONTEXT_TAG), "")[:250],
            source=_place(item["dataset"].get("source", "")),
        )
        for item in inputs
    )


def _place(source: str) -> str:
    """Return where a dataset is; one that was made by code has no place, and its source stays as it was logged."""
    try:
        found = json.loads(source)
    except ValueError:
        found = None
    places = [found[key] for key in _PLACES if isinstance(found.get(key), str)] if isinstance(found, dict) else []
    return (places[0] if places else source)[:_SOURCE_LIMIT]
