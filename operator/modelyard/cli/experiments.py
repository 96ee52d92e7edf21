"""The Experiments of a namespace as the commands see them, their runs, and edits, which leave to Git what is Git's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.names import KUBECTL_FIELD_MANAGER
from modelyard.api.reasons import ConditionType, Reason
from modelyard.cli.deployments import Change, refuse_git
from modelyard.cli.errors import CliError
from modelyard.cli.tracking import Tracking
from modelyard.cluster.client import Client, Conflict
from modelyard.cluster.resources import of_kind
from modelyard.registry.objects import TRIES

EXPERIMENTS = of_kind(Experiment)

_PREFIXES = ("experiment/", "experiments/", "exp/")
_WAITING = {
    Reason.SUSPENDED: "Suspended",
    Reason.SCHEDULED: "Scheduled",
    Reason.FOLLOWING: "Following",
    Reason.ENVIRONMENT_BUILDING: "Building",
    Reason.TRIALS_RUNNING: "Running",
}


@dataclass(frozen=True)
class Experiments:
    """The Experiments of one namespace.

    `reach` finds the tracking server, and raises `CliError` where it cannot; `clock` gives the time, with its zone.
    """

    client: Client
    namespace: str
    reach: Callable[[], Tracking]
    git_managers: Sequence[str] = ()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @staticmethod
    def is_named(given: str) -> bool:
        """Whether what a person typed says that it is an Experiment."""
        return given.startswith(_PREFIXES)

    @staticmethod
    def object_name(given: str) -> str:
        """Return the object's name for what a person typed: the name, `experiment/<name>`, `exp/<name>`."""
        for prefix in _PREFIXES:
            given = given.removeprefix(prefix)
        return given

    def find(self, given: str) -> Experiment | None:
        """Return the object, or None."""
        body = self.client.find(EXPERIMENTS, self.namespace, self.object_name(given))
        return Experiment.parse(body) if body else None

    def get(self, given: str) -> Experiment:
        """Return the object. Raises `CliError`, which names those that there are."""
        found = self.find(given)
        if found is not None:
            return found
        names = sorted(body["metadata"]["name"] for body in self.client.list_all(EXPERIMENTS, self.namespace))
        there = f"there are {', '.join(names[:5])}{', …' if len(names) > 5 else ''}" if names else "there is none"
        raise CliError(
            f"there is no experiment {given!r} in namespace {self.namespace} ({there}; -n names another one)"
        )

    def edit(self, given: str, decide: Callable[[Experiment], Change | None], advice: str) -> Experiment:
        """Make the change that `decide` wants of the object as it is; None needs no request.

        What `decide` raises is passed on. Raises `CliError` where a field is Git's (with `advice`), or where others
        changed the object every time.
        """
        for _ in range(TRIES):
            experiment = self.get(given)
            change = decide(experiment)
            if change is None:
                return experiment
            refuse_git(experiment, list(change.fields), self.git_managers, advice)
            patch = change.patch()
            metadata = {**patch.get("metadata", {}), "resourceVersion": experiment.metadata.resource_version}
            name = experiment.metadata.name
            try:
                body = self.client.merge_patch(
                    EXPERIMENTS, self.namespace, name, {**patch, "metadata": metadata}, KUBECTL_FIELD_MANAGER
                )
            except Conflict:
                continue
            return Experiment.parse(body)
        raise CliError(f"others changed {given} every time")


def succeeded(experiment: Experiment) -> Condition | None:
    """Return the condition Succeeded."""
    return next((each for each in experiment.status.conditions if each.type == ConditionType.SUCCEEDED), None)


def state(experiment: Experiment) -> str:
    """Return how the Experiment stands, in one word."""
    condition = succeeded(experiment)
    if condition is None:
        return "Pending"
    if condition.status == ConditionStatus.TRUE:
        return "Succeeded"
    if condition.status == ConditionStatus.FALSE:
        return "Failed"
    return next((word for reason, word in _WAITING.items() if reason == condition.reason), "Waiting")


def is_over(experiment: Experiment) -> bool:
    """Whether nothing more happens by itself: all has ended, or somebody has to do something first."""
    if (experiment.status.observed_generation or 0) < experiment.metadata.generation:
        return False
    return state(experiment) in ("Succeeded", "Failed")
