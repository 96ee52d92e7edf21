"""A client of the MLflow tracking server, for what Experiments and gates need of it.

REST API: https://mlflow.org/docs/latest/api_reference/rest-api.html, as MLflow 3.17 serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from modelyard.decide.experiment_model import Run, RunStatus
from modelyard.tracking.answers import LoggedModel, TrackingError, TrackingUnreachable, read_run, refusal
from modelyard.tracking.artifacts import artifacts_path, model_path

__all__ = ["LoggedModel", "TrackingClient", "TrackingError", "TrackingUnreachable"]

Json = dict[str, Any]

_TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_ARTIFACTS_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_PAGE = 1000
"""Runs in one answer: MLflow gives up to 50,000, which would be much to hold for both."""

_HISTORY_PAGE = 10_000
_BATCH = 100
"""How many parameters or tags MLflow takes in one request."""

_GONE = "RESOURCE_DOES_NOT_EXIST"


class TrackingClient:
    """Every method may raise `TrackingError`.

    `on_request`, if given, is called with (method, path) before each request; `transport` brings requests there by
    another way than directly.
    """

    def __init__(
        self,
        uri: str,
        on_request: Callable[[str, str], None] | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._root = f"{uri.rstrip('/')}/api/2.0"
        self._http = httpx.Client(base_url=f"{self._root}/mlflow/", timeout=_TIMEOUT, transport=transport)
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
        return read_run(answer["run"])

    def get_run(self, run_id: str) -> Run | None:
        """Return the run, or None where there is none, or it was deleted."""
        try:
            body = self._call("GET", "runs/get", params={"run_id": run_id})["run"]
        except TrackingError as error:
            if error.code == _GONE:
                return None
            raise
        return None if body["info"].get("lifecycle_stage") == "deleted" else read_run(body)

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters; one that has the same value already is no error."""
        pairs = _pairs(parameters)
        for start in range(0, len(pairs), _BATCH):
            self._post("runs/log-batch", run_id=run_id, params=pairs[start : start + _BATCH])

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, whatever they were; MLflow cuts a value after 8,000 characters."""
        pairs = _pairs(tags)
        for start in range(0, len(pairs), _BATCH):
            self._post("runs/log-batch", run_id=run_id, tags=pairs[start : start + _BATCH])

    def search_runs(
        self,
        experiment_id: str,
        tags: Mapping[str, str],
        *,
        without: Mapping[str, str] | None = None,
        running: bool = False,
    ) -> list[Run]:
        """Return the runs with these tags, and with the tags `without` of other values; `running`: only those.

        The oldest is first: a run that is made meanwhile moves none to another page.
        """
        parts = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        parts += [f"tags.`{key}` != {_quoted(value)}" for key, value in (without or {}).items()]
        if running:
            parts.append("attributes.status = 'RUNNING'")
        return [read_run(body) for body in self._pages("runs/search", [experiment_id], " AND ".join(parts))]

    def end_run(self, run_id: str, status: RunStatus, end_time: int) -> None:
        """Mark a run as ended; `end_time` is in milliseconds since the epoch."""
        self._post("runs/update", run_id=run_id, status=status.value, end_time=end_time)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Return the newest value of each of a run's metrics."""
        return dict(read_run(self._call("GET", "runs/get", params={"run_id": run_id})["run"]).metrics)

    def metric_history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) of everything that was logged of a metric, in the order of time."""
        history: list[tuple[int, float]] = []
        token: str | None = None
        while True:
            params: dict[str, str | int] = {"run_id": run_id, "metric_key": metric, "max_results": _HISTORY_PAGE}
            answer = self._call(
                "GET", "metrics/get-history", params={**params, **({"page_token": token} if token else {})}
            )
            history += [(int(item.get("step", 0)), float(item["value"])) for item in answer.get("metrics", [])]
            token = answer.get("next_page_token")
            if not token:
                return history

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

    def delete_run(self, run_id: str) -> None:
        """Delete a run, as MLflow does it: it can be restored until `mlflow gc`. One that is gone is no error."""
        try:
            self._post("runs/delete", run_id=run_id)
        except TrackingError as error:
            if error.code != _GONE:
                raise

    def put_artifact(self, run: Run, path: str, data: bytes) -> None:
        """Write an artifact, whatever was there, e.g. `modelyard/log.txt`. Raises `ArtifactsNotServed`."""
        self._artifacts("PUT", f"{artifacts_path(run)}/{path}", content=data)

    def delete_artifacts(self, run: Run, models: Iterable[LoggedModel] = ()) -> None:
        """Delete all artifacts of a run and of these models, its own; nothing there is no error.

        Raises `ArtifactsNotServed` where they are not behind the tracking server; then nothing was deleted.
        """
        for path in [artifacts_path(run), *map(model_path, models)]:
            self._artifacts("DELETE", path)

    def registered_versions(self, run_ids: Collection[str]) -> dict[str, str]:
        """Return which of these runs the server's model registry has versions of, by id, each with one of them."""
        found: dict[str, str] = {}
        params: dict[str, str | int] = {
            "filter": f"run_id IN ({', '.join(map(_quoted, run_ids))})",
            "max_results": 1000,
        }
        while run_ids:
            answer = self._call("GET", "model-versions/search", params=params)
            for version in answer.get("model_versions", []):
                found[version["run_id"]] = f"version {version['version']} of {version['name']}"
            token = answer.get("next_page_token")
            if not token:
                break
            params["page_token"] = token
        return found

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
            body["order_by"] = ["attributes.start_time ASC"]
            answer = self._post(path, **body, **({"page_token": token} if token else {}))
            yield from answer.get("runs", [])
            token = answer.get("next_page_token")
            if not token:
                return

    def _post(self, path: str, **body: Any) -> Json:
        return self._call("POST", path, json=body)

    def _artifacts(self, method: str, path: str, **arguments: Any) -> None:
        """Ask the artifact proxy, https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/."""
        url = f"{self._root}/mlflow-artifacts/artifacts/{quote(path)}"
        self._call(method, url, timeout=_ARTIFACTS_TIMEOUT, **arguments)

    def _call(self, method: str, path: str, **arguments: Any) -> Json:
        if self._on_request:
            self._on_request(method, path.removeprefix(f"{self._root}/"))
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.HTTPError as error:
            message = f"the tracking server at {self._http.base_url} does not answer: {error or type(error).__name__}"
            raise TrackingUnreachable("UNREACHABLE", message) from error
        if response.is_success:
            answer: Json = response.json() if response.content else {}
            return answer
        raise refusal(response)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def _quoted(value: str) -> str:
    """Quote for MLflow's filters, which know no escapes: names of Kubernetes objects and hashes need none."""
    assert "'" not in value
    return f"'{value}'"
