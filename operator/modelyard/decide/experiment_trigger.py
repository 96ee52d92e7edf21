"""What begins an execution: the spec itself, an annotation, or the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExecutionTrigger, Trigger
from modelyard.api.names import RUN_ANNOTATION
from modelyard.decide import schedule
from modelyard.decide.conditions import timestamp
from modelyard.decide.experiment_trials import execution_id


@dataclass(frozen=True)
class Choice:
    """What the present execution was, or is to be, begun by. `fresh`: nothing of it is fixed yet."""

    trigger: ExecutionTrigger
    fresh: bool


def choose(experiment: Experiment, now: datetime) -> Choice | None:
    """Return what begins the execution; None where the first one waits for the schedule.

    What is asked for while an execution runs begins when that has ended, and only the newest of it: no two run at a
    time.
    """
    status = experiment.status
    idle = status.execution is None or status.finished_at is not None
    if idle and (trigger := _asked_for(experiment, now)):
        return Choice(trigger, fresh=True)
    if status.trigger is not None:
        return Choice(status.trigger, fresh=False)
    return None if experiment.spec.schedule else Choice(ExecutionTrigger(), fresh=False)


def fixed_content(experiment: Experiment, choice: Choice) -> str | None:
    """Return the content that the present execution has fixed; None where the source is to be looked at.

    A ConfigMap is looked at again once all is done: an edit of it is a change of what is run.
    """
    project, status = experiment.spec.project, experiment.status
    if choice.fresh or status.content is None:
        return None
    if project and project.config_map and status.finished_at is not None:
        return None
    return status.content if execution_id(experiment, status.content, choice.trigger) == status.execution else None


def renewed(experiment: Experiment, choice: Choice, content: str) -> Choice | None:
    """Return what begins the execution of this content: the choice, or the spec where that or the content has changed.

    None where a change waits for the schedule.
    """
    status = experiment.status
    if choice.fresh or execution_id(experiment, content, choice.trigger) == status.execution:
        return choice
    if experiment.spec.schedule is None:
        return Choice(ExecutionTrigger(), fresh=False)
    return None if status.finished_at is not None else choice


def next_time(experiment: Experiment, now: datetime) -> datetime | None:
    """Return when the schedule is due next."""
    spec = experiment.spec
    return schedule.next_after(spec.schedule, spec.time_zone, now) if spec.schedule else None


def _asked_for(experiment: Experiment, now: datetime) -> ExecutionTrigger | None:
    spec, status = experiment.spec, experiment.status
    value = experiment.metadata.annotations.get(RUN_ANNOTATION, "")[:256]
    if value and value != status.run_annotation:
        return ExecutionTrigger(kind=Trigger.ANNOTATION, value=value)
    if spec.schedule is None or spec.suspend:
        return None
    since = status.last_schedule_at or experiment.metadata.creation_timestamp
    if since is None:
        return None
    due = schedule.due(spec.schedule, spec.time_zone, datetime.fromisoformat(since), now)
    return ExecutionTrigger(kind=Trigger.SCHEDULE, value=timestamp(due)) if due else None
