"""MLflow's own webhooks, which are not kept: they do not cover stages, and `spec.webhooks` does."""

# mypy: allow-untyped-calls, allow-any-generics
# ruff: noqa: ARG002 - the parameters are those of MLflow's class

from __future__ import annotations

from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore

from modelyard.registry.mlflow_errors import not_implemented


class WithoutWebhooks(AbstractStore):
    """A store in which there are none, and which takes none."""

    def list_webhooks(self, max_results: int | None = None, page_token: str | None = None) -> PagedList:
        """There are none."""
        return PagedList([], None)

    def list_webhooks_by_event(
        self, event: Any, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList:
        """There are none."""
        return PagedList([], None)

    def get_webhook(self, webhook_id: str) -> Any:
        """There are none."""
        raise MlflowException(f"Webhook with ID {webhook_id} not found.", RESOURCE_DOES_NOT_EXIST)

    def create_webhook(self, *_: Any, **__: Any) -> Any:
        """Not to be had."""
        not_implemented(
            "MLflow's webhooks, which do not cover stages, are not kept here: spec.webhooks of a RegisteredModel sends "
            "every transition, signed, and is edited like the rest of the object"
        )

    def update_webhook(self, webhook_id: str, *_: Any, **__: Any) -> Any:
        """There are none."""
        return self.get_webhook(webhook_id)

    def delete_webhook(self, webhook_id: str) -> None:
        """There are none."""
        self.get_webhook(webhook_id)

    def test_webhook(self, webhook_id: str, event: Any = None) -> Any:
        """There are none."""
        return self.get_webhook(webhook_id)
