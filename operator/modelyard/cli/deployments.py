"""The ModelDeployments of a namespace as the commands see them, and edits of them, which leave to Git what is Git's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelyard.api.common import Resource
from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import KUBECTL_FIELD_MANAGER
from modelyard.cli.errors import CliError
from modelyard.cluster.client import Client, Conflict
from modelyard.cluster.resources import of_kind
from modelyard.decide.managers import owners_of
from modelyard.registry.objects import TRIES

Json = dict[str, Any]
Path = tuple[str, ...]

MODEL_DEPLOYMENTS = of_kind(ModelDeployment)

_PREFIXES = ("modeldeployment/", "modeldeployments/", "md/")


@dataclass(frozen=True)
class Change:
    """What an edit sets: values by the path of their field, None where it is to be removed."""

    fields: dict[Path, Any]

    @classmethod
    def of_annotations(cls, annotations: dict[str, str | None]) -> Change:
        """Set or remove annotations."""
        return cls({("metadata", "annotations", name): value for name, value in annotations.items()})

    def patch(self) -> Json:
        """Return the JSON merge patch."""
        patch: Json = {}
        for path, value in self.fields.items():
            node = patch
            for step in path[:-1]:
                node = node.setdefault(step, {})
            node[path[-1]] = value
        return patch

    def missing_in(self, body: Json) -> list[Path]:
        """Return the paths whose fields have other values in `body`."""
        return [path for path, value in self.fields.items() if _at(body, path) != value]


@dataclass(frozen=True)
class Deployments:
    """The ModelDeployments of one namespace. `clock` gives the time, with its zone."""

    client: Client
    namespace: str
    git_managers: Sequence[str] = ()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @staticmethod
    def object_name(given: str) -> str:
        """Return the object's name for what a person typed: the name, `modeldeployment/<name>`, `md/<name>`."""
        for prefix in _PREFIXES:
            given = given.removeprefix(prefix)
        return given

    @staticmethod
    def is_named(given: str) -> bool:
        """Whether what a person typed says that it is a ModelDeployment."""
        return given.startswith(_PREFIXES)

    def find(self, given: str) -> ModelDeployment | None:
        """Return the object, or None."""
        body = self.client.find(MODEL_DEPLOYMENTS, self.namespace, self.object_name(given))
        return ModelDeployment.parse(body) if body else None

    def body(self, given: str) -> Json:
        """Return the object as the API server has it. Raises `CliError` where there is none."""
        body = self.client.find(MODEL_DEPLOYMENTS, self.namespace, self.object_name(given))
        if body is None:
            raise CliError(f"there is no model deployment {given!r} in namespace {self.namespace}")
        return body

    def get(self, given: str) -> ModelDeployment:
        """Return the object. Raises `CliError`."""
        return ModelDeployment.parse(self.body(given))

    def edit(
        self, given: str, decide: Callable[[ModelDeployment], Change | None], advice: str = "change it there"
    ) -> ModelDeployment:
        """Make the change that `decide` wants of the object as it is; None, or what is so already, needs no request.

        What `decide` raises is passed on. Raises `CliError` where a field is Git's (with `advice`), or where others
        changed the object every time.
        """
        for _ in range(TRIES):
            body = self.body(given)
            deployment = ModelDeployment.parse(body)
            change = decide(deployment)
            missing = change.missing_in(body) if change else []
            if change is None or not missing:
                return deployment
            refuse_git(deployment, missing, self.git_managers, advice)
            patch = change.patch()
            metadata = {**patch.get("metadata", {}), "resourceVersion": deployment.metadata.resource_version}
            try:
                return ModelDeployment.parse(
                    self.client.merge_patch(
                        MODEL_DEPLOYMENTS,
                        self.namespace,
                        deployment.metadata.name,
                        {**patch, "metadata": metadata},
                        KUBECTL_FIELD_MANAGER,
                    )
                )
            except Conflict:
                continue
        raise CliError(f"others changed {given} every time")


def refuse_git(owned: Resource, paths: Iterable[Path], git_managers: Iterable[str], advice: str) -> None:
    """Raise `CliError` where a field manager that works for a Git repository owns one of the fields."""
    managers = set(git_managers)
    for path in paths:
        owner = next((each for each in owners_of(owned.metadata.managed_fields, path) if each in managers), None)
        if owner is not None:
            what = f"the annotation {path[-1]}" if path[0] == "metadata" else ".".join(path)
            raise CliError(f"{what} of {owned.metadata.name} is managed by {owner}: {advice}")


def _at(body: Json, path: Path) -> Any:
    node: Any = body
    for step in path:
        node = (node or {}).get(step)
    return node
