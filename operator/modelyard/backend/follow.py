"""Waits for an Experiment: what its status says is said on, with its trials' logs, until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.api.common import Condition, ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.names import EXPERIMENT_LABEL
from modelyard.api.reasons import ConditionType, Reason
from modelyard.backend.errors import BackendError
from modelyard.backend.logs import Logs
from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import JOBS, of_kind

EXPERIMENTS = of_kind(Experiment)
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 300.0
"""How long the API server may be away."""

Say = Callable[[str], None]


def pause(seconds: float) -> None:
    """Let time pass between two looks."""
    time.sleep(seconds)


@dataclass(frozen=True)
class Before:
    """What an Experiment's status said before it was asked to run once more: by it, the new execution is known."""

    generation: int = 0
    execution: str | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Asked:
    """An Experiment that was asked to run, at the generation that this made."""

    namespace: str
    name: str
    uid: str
    generation: int
    before: Before = Before()

    def __str__(self) -> str:  # noqa: D105 - what a person reads
        return f"Experiment {self.namespace}/{self.name}"


def verdict(asked: Asked, experiment: Experiment) -> Condition | None:
    """Return the condition `Succeeded` of what was asked for; None until the operator has taken it up."""
    status, before = experiment.status, asked.before
    if (status.observed_generation or 0) < asked.generation:
        return None
    known = (before.generation, before.execution, before.conditions)
    if known == (asked.generation, status.execution, status.conditions):
        return None
    return next((each for each in status.conditions if each.type == ConditionType.SUCCEEDED), None)


def has_ended(condition: Condition | None) -> bool:
    """Whether nothing goes on any more by itself: it is done, or a person has to correct something."""
    return condition is not None and condition.status is not ConditionStatus.UNKNOWN


class Follower:
    """Looks at an Experiment again and again. Not for several threads."""

    def __init__(
        self,
        client: Client,
        asked: Asked,
        *,
        say: Say,
        show: Say | None,
    ) -> None:
        """`say` is told what becomes of it, `show` the logs' lines; None where they are not wanted."""
        self._client = client
        self.asked = asked
        self._say = say
        self._show = show
        self._logs = Logs(client, asked.namespace, asked.name)
        self._said = ""
        self._away_since: float | None = None

    def look(self) -> Experiment:
        """Return the Experiment as it is now.

        Raises `BackendError` where it was deleted or the user may not see it, `ApiError` where nobody answers.
        """
        try:
            body: dict[str, Any] = self._client.get(EXPERIMENTS, self.asked.namespace, self.asked.name)
        except NotFound as error:
            raise BackendError(f"{self.asked} was deleted") from error
        if body["metadata"]["uid"] != self.asked.uid:
            raise BackendError(f"{self.asked} was deleted and made anew by somebody else")
        return Experiment.parse(body)

    def until(self, reached: Callable[[Experiment, Condition | None], bool]) -> tuple[Experiment, Condition | None]:
        """Wait until it is as asked for, saying and showing what is new. Raises `BackendError`."""
        while True:
            try:
                experiment = self.look()
                condition = verdict(self.asked, experiment)
                self._tell(experiment, condition)
                if reached(experiment, condition):
                    return experiment, condition
                self._away_since = None
            except ApiError as error:
                self._bear(error)
            pause(POLL_SECONDS)

    def until_jobs_are_gone(self) -> None:
        """Wait until a deleted Experiment's Jobs are deleted, too. Raises `BackendError` where that takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._client.list_all(JOBS, self.asked.namespace, f"{EXPERIMENT_LABEL}={self.asked.name}"):
            if time.monotonic() > deadline:
                raise BackendError(f"{self.asked} was deleted, but its Jobs are still there")
            pause(POLL_SECONDS)

    def _tell(self, experiment: Experiment, condition: Condition | None) -> None:
        said = f"{condition.reason}: {condition.message}" if condition else ""
        if said and said != self._said:
            self._said = said
            # While trials run their logs say more.
            if (
                self._show is None
                or condition is None
                or condition.reason != Reason.TRIALS_RUNNING
                or _many(experiment)
            ):
                self._say(f"{self.asked}: {said}")
        if self._show and condition and experiment.status.execution:
            for line in self._logs.new(experiment.status.execution, several=_many(experiment)):
                self._show(line)

    def _bear(self, error: ApiError) -> None:
        """Wait on where the API server is away for a while; say so once."""
        if error.code and error.code < 500 and error.code != 429:
            raise BackendError(f"{self.asked} cannot be followed: {error}") from error
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self._say(f"{self.asked}: {error}; trying again")
        elif now - self._away_since > PATIENCE_SECONDS:
            raise BackendError(f"{self.asked} goes on, but cannot be followed: {error}") from error


def _many(experiment: Experiment) -> bool:
    return experiment.spec.sweep is not None
