"""A client of the MLflow tracking server, for what Experiments and gates need of it.

REST API: https://mlflow.org/docs/latest/api_reference/rest-api.html, as MLflow 3.17 serves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from modelyard.decide.experiment_model import Run, RunStatus

Json = dict[str, Any]

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_PAGE = 200
_BATCH = 100
"""How many parameters MLflow takes in one request."""


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


class TrackingClient:
    """Every method may raise `TrackingError`.

    `on_request`, if given, is called with (method, path) before each request.
    """

    def __init__(self, uri: str, on_request: Callable[[str, str], None] | None = None) -> None:
        self._http = httpx.Client(base_url=f"{uri.rstrip('/')}/api/2.0/mlflow/", timeout=_TIMEOUT)
        self._on_request = on_request

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ensure_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """Return the id of the experiment, which is created where it is missing; set those tags that differ."""
        found = self._experiment(name)
        if found is None:
            try:
                return str(self._post("experiments/create", name=name, tags=_pairs(tags))["experiment_id"])
            except TrackingError as error:
                # Somebody else, a notebook for one, created it in between.
                if error.code != "RESOURCE_ALREADY_EXISTS" or (found := self._experiment(name)) is None:
                    raise
        if found.get("lifecycle_stage") == "deleted":
            raise TrackingError(
                "INVALID_STATE", f"the MLflow experiment {name!r} was deleted; restore it or rename yours"
            )
        present = {tag["key"]: tag["value"] for tag in found.get("tags", [])}
        for key, value in tags.items():
            if present.get(key) != value:
                self._post("experiments/set-experiment-tag", experiment_id=found["experiment_id"], key=key, value=value)
        return str(found["experiment_id"])

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], start_time: int) -> Run:
        """Create a run in state RUNNING; `start_time` is in milliseconds since the epoch."""
        answer = self._post(
            "runs/create", experiment_id=experiment_id, run_name=name, start_time=start_time, tags=_pairs(tags)
        )
        return _run(answer["run"])

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters; one that has the same value already is no error."""
        pairs = _pairs(parameters)
        for start in range(0, len(pairs), _BATCH):
            self._post("runs/log-batch", run_id=run_id, params=pairs[start : start + _BATCH])

    def search_runs(
        self,
        experiment_id: str,
        tags: Mapping[str, str],
        *,
        without: Mapping[str, str] | None = None,
        running: bool = False,
    ) -> list[Run]:
        """Return the runs with these tags, and with the tags `without` of other values; `running`: only those."""
        parts = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        parts += [f"tags.`{key}` != {_quoted(value)}" for key, value in (without or {}).items()]
        if running:
            parts.append("attributes.status = 'RUNNING'")
        return [_run(body) for body in self._pages("runs/search", [experiment_id], " AND ".join(parts))]

    def end_run(self, run_id: str, status: RunStatus, end_time: int) -> None:
        """Mark a run as ended; `end_time` is in milliseconds since the epoch."""
        self._post("runs/update", run_id=run_id, status=status.value, end_time=end_time)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the newest value of each of a run's metrics."""
        return dict(_run(self._call("GET", "runs/get", params={"run_id": run_id})["run"]).metrics)

    def logged_models(self, run_id: str) -> list[LoggedModel]:
        """Return the models that a run logged, those logged last first."""
        run = self._call("GET", "runs/get", params={"run_id": run_id})["run"]
        outputs = run.get("outputs", {}).get("model_outputs", [])
        models = []
        for output in outputs:
            info = self._call("GET", f"logged-models/{output['model_id']}")["model"]["info"]
            made = int(info.get("creation_timestamp_ms", 0))
            models.append((made, LoggedModel(info["model_id"], info.get("name", ""), info.get("artifact_uri", ""))))
        return [model for _, model in sorted(models, key=lambda pair: pair[0], reverse=True)]

    def _experiment(self, name: str) -> Json | None:
        try:
            found: Json = self._call("GET", "experiments/get-by-name", params={"experiment_name": name})["experiment"]
        except TrackingError as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return found

    def _pages(self, path: str, experiment_ids: list[str], filter_string: str) -> Iterator[Json]:
        token: str | None = None
        while True:
            body: Json = {"experiment_ids": experiment_ids, "filter": filter_string, "max_results": _PAGE}
            answer = self._post(path, **body, **({"page_token": token} if token else {}))
            yield from answer.get("runs", [])
            token = answer.get("next_page_token")
            if not token:
                return

    def _post(self, path: str, **body: Any) -> Json:
        return self._call("POST", path, json=body)

    def _call(self, method: str, path: str, **arguments: Any) -> Json:
        if self._on_request:
            self._on_request(method, path)
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            message = f"the tracking server at {self._http.base_url} does not answer: {error or type(error).__name__}"
            raise TrackingUnreachable("UNREACHABLE", message) from error
        if response.is_success:
            answer: Json = response.json() if response.content else {}
            return answer
        raise _refusal(response)


def _refusal(response: httpx.Response) -> TrackingError:
    try:
        body = response.json()
        code, message = str(body.get("error_code", "")), str(body.get("message", ""))
    except (json.JSONDecodeError, AttributeError):
        code, message = "", response.text[:500]
    text = f"the tracking server answers {response.status_code}: {message or response.reason_phrase}"
    kind = TrackingUnreachable if response.status_code >= 500 or response.status_code == 429 else TrackingError
    return kind(code or str(response.status_code), text)


def _run(body: Json) -> Run:
    info, data = body["info"], body.get("data", {})
    return Run(
        run_id=info["run_id"],
        name=info.get("run_name", ""),
        status=RunStatus(info["status"]),
        start_time=int(info.get("start_time", 0)),
        artifact_uri=info.get("artifact_uri", ""),
        tags={tag["key"]: tag["value"] for tag in data.get("tags", [])},
        parameters={item["key"]: item["value"] for item in data.get("params", [])},
        metrics={item["key"]: float(item["value"]) for item in data.get("metrics", [])},
    )


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _quoted(value: str) -> str:
    """Quote for MLflow's filters, which know no escapes: names of Kubernetes objects and hashes need none."""
    assert "'" not in value
    return f"'{value}'"
