"""A tracking server in memory, for what Experiments and gates ask of one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from modelyard.decide.experiment_model import Run, RunStatus
from modelyard.tracking.artifacts import artifacts_path, model_path
from modelyard.tracking.client import LoggedModel, TrackingError


class FakeTracking:
    """Has the methods of `TrackingClient`. `writes` names every write that was asked for.

    `runs`, `deleted` (runs), `models` and `artifacts` (path → bytes) go by run id, `histories` by run id and metric.
    `registered` names versions by run id, as MLflow's own registry would.
    `on_request`, if given, is called with (method, what) before a request does anything; what it raises is passed on.
    """

    def __init__(self, on_request: Callable[[str, str], None] | None = None) -> None:
        self.runs: dict[str, Run] = {}
        self.experiments: dict[str, dict[str, str]] = {}
        self.models: dict[str, list[LoggedModel]] = {}
        self.deleted: dict[str, Run] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.deleted_models: list[str] = []
        self.registered: dict[str, str] = {}
        self.histories: dict[tuple[str, str], list[tuple[int, float]]] = {}
        self.writes: list[str] = []
        self._on_request = on_request
        self._numbers = itertools.count(1)

    def ensure_experiment(self, name: str, tags: Mapping[str, str]) -> str:
        self._note("GET", "experiments/get-by-name")
        if self.experiments.get(name) != tags:
            self._note("POST", "experiments")
            self.experiments[name] = dict(tags)
        return "1"

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str], start_time: int) -> Run:
        self._note("POST", "runs/create")
        run_id = f"run-{next(self._numbers)}"
        uri = f"mlflow-artifacts:/{experiment_id}/{run_id}/artifacts"
        self.runs[run_id] = Run(run_id, name, RunStatus.RUNNING, start_time, artifact_uri=uri, tags=dict(tags))
        return self.runs[run_id]

    def get_run(self, run_id: str) -> Run | None:
        self._note("GET", "runs/get")
        return self.runs.get(run_id)

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        self._note("POST", "runs/log-batch")
        run = self.runs[run_id]
        self.change(run_id, parameters={**run.parameters, **parameters})

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        self._note("POST", "runs/log-batch")
        if run_id not in self.runs:
            raise TrackingError("INVALID_PARAMETER_VALUE", f"The run {run_id} must be in the 'active' state.")
        self.change(run_id, tags={**self.runs[run_id].tags, **tags})

    def search_runs(
        self,
        experiment_id: str,  # noqa: ARG002
        tags: Mapping[str, str],
        *,
        without: Mapping[str, str] | None = None,
        running: bool = False,
    ) -> list[Run]:
        self._note("GET", "runs/search")
        return [
            run
            for run in self.runs.values()
            if tags.items() <= run.tags.items()
            and all(key in run.tags and run.tags[key] != value for key, value in (without or {}).items())
            and not (running and run.status is not RunStatus.RUNNING)
        ]

    def end_run(self, run_id: str, status: RunStatus, end_time: int) -> None:
        self._note("POST", "runs/update")
        self.change(run_id, status=status, end_time=end_time)

    def delete_run(self, run_id: str) -> None:
        self._note("POST", "runs/delete")
        if run_id in self.runs:
            self.deleted[run_id] = self.runs.pop(run_id)

    def metrics(self, run_id: str) -> dict[str, float]:
        self._note("GET", "runs/get")
        if run_id not in self.runs:
            raise TrackingError("RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found")
        return dict(self.runs[run_id].metrics)

    def logged_models(self, run_id: str) -> list[LoggedModel]:
        self._note("GET", "runs/get")
        return self.models.get(run_id, [])

    def metric_history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        self._note("GET", "metrics/get-history")
        return list(self.histories.get((run_id, metric), []))

    def put_artifact(self, run: Run, path: str, data: bytes) -> None:
        artifacts_path(run)
        self._note("PUT", "mlflow-artifacts/artifacts")
        self.artifacts.setdefault(run.run_id, {})[path] = data

    def delete_artifacts(self, run: Run, models: Iterable[LoggedModel] = ()) -> None:
        artifacts_path(run)
        paths = list(map(model_path, models))
        self._note("DELETE", "mlflow-artifacts/artifacts")
        self.artifacts.pop(run.run_id, None)
        self.deleted_models += paths

    def registered_versions(self, run_ids: Collection[str]) -> dict[str, str]:
        self._note("GET", "model-versions/search")
        return {run_id: name for run_id, name in self.registered.items() if run_id in run_ids}

    def change(self, run_id: str, **fields: object) -> None:
        """Change a run, as the entry point does."""
        self.runs[run_id] = replace(self.runs[run_id], **fields)  # type: ignore[arg-type]

    def _note(self, method: str, what: str) -> None:
        if self._on_request:
            self._on_request(method, what)
        if method != "GET":
            self.writes.append(what)
