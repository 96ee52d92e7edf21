"""Operations on a registry store, as data: they can be generated, printed, run on any store, and run again."""

# mypy: allow-untyped-calls

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.abstract_store import AbstractStore

PAGES_LIMIT = 200


@dataclass(frozen=True)
class Operation:
    """One call of a store's method. Arguments are plain data: a tag is a pair, tags are a list of pairs.

    `wrong_type` says that an argument has a type that no client of the server can send.
    """

    method: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    wrong_type: bool = False

    def __str__(self) -> str:
        flag = ", wrong_type=True" if self.wrong_type else ""
        return f"Operation({self.method!r}, {dict(self.arguments)!r}{flag})"

    def __getitem__(self, name: str) -> Any:
        return self.arguments.get(name)

    def with_arguments(self, **changed: Any) -> Operation:
        """Return the operation with other arguments."""
        return Operation(self.method, {**self.arguments, **changed}, self.wrong_type)


@dataclass(frozen=True)
class Environment:
    """What both registries find around them; an operation's text names it with `$RUN`, `$MODEL` and `$STORE`."""

    run_id: str
    model_id: str
    artifacts: str
    """An s3:// directory with the models `one`, `two` and `three` in it."""

    def fill(self, value: Any) -> Any:
        """Put the real names in."""
        if not isinstance(value, str):
            return value
        return value.replace("$RUN", self.run_id).replace("$MODEL", self.model_id).replace("$STORE", self.artifacts)


def perform(store: AbstractStore, operation: Operation, environment: Environment) -> Any:
    """Run an operation on a store; return what it gives. A search with `page_token` None goes through all pages."""
    arguments = {name: environment.fill(value) for name, value in operation.arguments.items()}
    method = operation.method
    if method == "copy_model_version":
        source = store.get_model_version(arguments["name"], arguments["version"])
        return store.copy_model_version(source, arguments["dst_name"])
    if "tag" in arguments:
        kind = ModelVersionTag if "version" in arguments else RegisteredModelTag
        arguments["tag"] = kind(*arguments["tag"])
    if isinstance(arguments.get("tags"), list):
        kind = ModelVersionTag if method == "create_model_version" else RegisteredModelTag
        arguments["tags"] = [kind(*tag) for tag in arguments["tags"]]
    if method.startswith("search_") and arguments.get("page_token", "") is None:
        return _all_pages(store, method, arguments)
    return getattr(store, method)(**arguments)


def _all_pages(store: AbstractStore, method: str, arguments: dict[str, Any]) -> list[Any]:
    pages, token = [], None
    for _ in range(PAGES_LIMIT):
        page: PagedList[Any] = getattr(store, method)(**{**arguments, "page_token": token})
        pages.append(page)
        token = page.token
        if not token:
            return pages
    raise AssertionError(f"{method} gives pages without an end")
