"""Which trials an Experiment has, and the names of what is made for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modelyard.api.experiment import Experiment, Goal
from modelyard.api.experiment_status import ExecutionTrigger, Trigger
from modelyard.api.names import object_name
from modelyard.decide import sweep
from modelyard.decide.experiment_model import PARAMETERS_TAG, Run, Trial
from modelyard.decide.sweep import Told

_NAME_LIMIT = 250
_JOB_PREFIX_LIMIT = 45
"""With the execution, an index of five digits and an attempt a Job's name is a label of its pods: 63 characters."""

_SEARCHED = ("algorithm", "parameters", "seed")
"""The fields of a sweep that say what is tried. How many trials there are, and how many at a time, changes nothing in
what each of them is: a sweep whose budget is raised goes on."""


def execution_id(experiment: Experiment, content: str, trigger: ExecutionTrigger) -> str:
    """Return the name of what is run: 8 hex digits of a hash.

    `content` is the commit or the digest of the project's files. The object's uid is part of it, so that an Experiment
    which is deleted and created again runs again. A default that a later operator brings is not.
    """
    spec = experiment.spec
    said = spec.model_dump(by_alias=True, mode="json", exclude_defaults=True, exclude_none=True)
    project = said.get("project", {})
    project.get("git", {}).pop("secretRef", None)
    what: dict[str, Any] = {
        "uid": experiment.metadata.uid,
        "content": content,
        "project": project,
        "entryPoint": spec.entry_point,
        "parameters": spec.parameters,
        "environment": spec.environment,
        "sweep": {key: value for key, value in said.get("sweep", {}).items() if key in _SEARCHED},
        "template": said.get("template", {}),
    }
    if trigger.kind is not Trigger.SPEC:
        what["trigger"] = [trigger.kind, trigger.value]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Search:
    """The trials of an execution: one, or those of a sweep. `types` are the entry point's types by parameter."""

    experiment: Experiment
    execution: str
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many trials there are at most."""
        spec = self.experiment.spec
        return sweep.size(spec.sweep, self.types) if spec.sweep else 1

    def check(self) -> str | None:
        """Say what is wrong with the sweep, naming the field and the fix."""
        spec = self.experiment.spec
        return sweep.check(spec.sweep, self.types, self._goal) if spec.sweep else None

    def next(self, index: int, history: Sequence[Told]) -> Trial | None:
        """Return the trial of this index, chosen by what came of others; None where nothing is left to try."""
        spec = self.experiment.spec
        if spec.sweep is None:
            return self.trial(index, {}) if index == 0 else None
        if index >= self.size:
            return None
        chosen = sweep.propose(spec.sweep, self._goal, self.types, index, history)
        return None if chosen is None else self.trial(index, chosen)

    def recall(self, index: int, run: Run) -> Trial:
        """Return the trial that a run was made for: its parameters were chosen then."""
        swept: dict[str, str] = json.loads(run.tags.get(PARAMETERS_TAG, "{}"))
        return self.trial(index, swept)

    def trial(self, index: int, swept: Mapping[str, str]) -> Trial:
        """Return a trial with these swept parameters."""
        spec = self.experiment.spec
        if spec.sweep is None:
            return Trial(0, execution_name(self.experiment, self.execution), dict(spec.parameters))
        pairs = (f"{key}={value}" for key, value in swept.items())
        alone = len(spec.sweep.parameters) == 1
        name = ",".join(swept.values() if alone else pairs)
        if len(name) > _NAME_LIMIT:
            name = name[: _NAME_LIMIT - 1] + "…"
        return Trial(index, name or str(index), {**spec.parameters, **swept}, dict(swept))

    @property
    def _goal(self) -> Goal:
        objective = self.experiment.spec.objective
        return objective.goal if objective else Goal.MAXIMIZE


def execution_name(experiment: Experiment, execution: str) -> str:
    """Return the name of the parent run, or of the only one."""
    return f"{experiment.metadata.name}-{execution}"


def job_name(experiment: Experiment, execution: str, index: int, attempt: int = 1) -> str:
    """Return the name of a trial's Job."""
    again = f"-r{attempt}" if attempt > 1 else ""
    return f"{object_name(experiment.metadata.name, _JOB_PREFIX_LIMIT)}-{execution}-{index}{again}"
