"""What ends `mlflow run` before or while it runs."""

from __future__ import annotations


class BackendError(Exception):
    """It cannot be run so; the message says what is wrong and what would help. `plugin` gives it to MLflow."""
