"""What `sources` needs to know of MLflow's stores: logged models, runs and registered versions."""

# mypy: allow-untyped-calls

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.tracking._tracking_service.utils import _get_store

from modelyard.records.state import VersionState
from modelyard.registry.sources import InvalidSource, Origin

# The server's own name for it; importing it from there would import the server.
_SERVER_VARIABLE = "_MLFLOW_SERVER_FILE_STORE"


class MlflowLookup:
    """Reads the tracking store: in an MLflow server the server's own, elsewhere the one of `tracking_uri`."""

    def __init__(self, tracking_uri: str | None, version: Callable[[str, str], VersionState]) -> None:
        self._tracking_uri = tracking_uri
        self._version = version

    def logged_model(self, model_id: str) -> Origin:
        """Return where the logged model is. Raises `MlflowException` where there is none."""
        found = self._store().get_logged_model(model_id)
        return Origin(found.artifact_location, found.source_run_id or None, model_id)

    def run_artifact(self, run_id: str, path: str) -> Origin:
        """Return where the model that a run logged under `path` is; without such a model, the run's directory."""
        store = self._store()
        run = store.get_run(run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        for output in sorted(outputs, key=lambda output: output.step, reverse=True):
            model = store.get_logged_model(output.model_id)
            if model.name == path:
                return Origin(model.artifact_location, None, output.model_id)
        return Origin(f"{run.info.artifact_uri.rstrip('/')}/{path}".rstrip("/"))

    def model(self, uri: str) -> Origin:
        """Return where the logged model or registered version is. Raises `MlflowException` where there is none.

        A version that is named by a stage or alias is refused, as in MLflow: it could be another one tomorrow.
        """
        parsed = _parse_model_uri(uri)
        if parsed.model_id is not None:
            return self.logged_model(parsed.model_id)
        if parsed.name is None or parsed.version is None:
            raise InvalidSource(f"{uri} does not name a version by its number")
        found = self._version(parsed.name, parsed.version)
        # A version without files (a prompt's) may have been registered from some all the same.
        return Origin(found.artifact or found.source, None, found.model_id)

    def _store(self) -> Any:
        if os.environ.get(_SERVER_VARIABLE):
            from mlflow.server.handlers import _get_tracking_store  # noqa: PLC0415

            return _get_tracking_store()
        return _get_store(self._tracking_uri)
