"""What begins an execution, and when nothing does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExecutionTrigger, Trigger
from modelyard.decide.experiment_trials import execution_id
from modelyard.decide.experiment_trigger import Choice, choose, fixed_content, next_time, renewed
from tests.unit.decide.experiments import SWEEP, experiment

Json = dict[str, Any]
NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
GIT = {**SWEEP, "project": {"git": {"url": "https://git.example/churn.git"}}}
HOURLY = {**GIT, "schedule": "0 * * * *"}
MADE = "2026-05-01T09:30:00Z"
DONE: Json = {"finishedAt": "2026-05-01T12:10:00Z"}


def subject(
    spec: Json = GIT, run: str | None = None, trigger: ExecutionTrigger | None = None, **status: Any
) -> Experiment:
    annotations = {"modelyard.dev/run": run} if run else {}
    told = {"trigger": trigger.to_dict(), "execution": "e1", **status} if trigger else status
    return experiment(spec, told, annotations=annotations, creationTimestamp=MADE)


SPEC = ExecutionTrigger()
ASKED = ExecutionTrigger(kind=Trigger.ANNOTATION, value="now")
NOON = ExecutionTrigger(kind=Trigger.SCHEDULE, value="2026-05-01T12:00:00Z")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(subject(), Choice(SPEC, False), id="a new object runs"),
        pytest.param(subject(trigger=SPEC, **DONE), Choice(SPEC, False), id="what is done stays as it is"),
        pytest.param(subject(run="now"), Choice(ASKED, True), id="a new object with the annotation"),
        pytest.param(subject(run="now", trigger=SPEC, **DONE), Choice(ASKED, True), id="once more, by annotation"),
        pytest.param(subject(run="now", trigger=SPEC), Choice(SPEC, False), id="not while it runs"),
        pytest.param(
            subject(run="now", trigger=ASKED, runAnnotation="now", **DONE), Choice(ASKED, False), id="once, not again"
        ),
        pytest.param(subject(HOURLY), Choice(NOON, True), id="the newest time that was due, not those before"),
        pytest.param(subject(HOURLY, trigger=NOON), Choice(NOON, False), id="a scheduled one runs on"),
        pytest.param(
            subject(HOURLY, trigger=NOON, lastScheduleAt=NOON.value, **DONE),
            Choice(NOON, False),
            id="not due again",
        ),
        pytest.param(
            subject(HOURLY, run="now", trigger=NOON, lastScheduleAt=NOON.value, **DONE),
            Choice(ASKED, True),
            id="by annotation beside the schedule",
        ),
        pytest.param(subject({**HOURLY, "schedule": "0 0 1 1 *"}), None, id="the first one waits for the schedule"),
        pytest.param(subject({**HOURLY, "suspend": True}), None, id="no schedule while it is suspended"),
    ],
)
def test_an_execution_begins_when_it_is_asked_for(found: Experiment, expected: Choice | None) -> None:
    assert choose(found, NOW) == expected


def test_a_time_that_came_while_another_execution_ran_begins_one_after_it() -> None:
    late = subject(HOURLY, trigger=NOON, lastScheduleAt="2026-05-01T11:00:00Z", **DONE)
    assert choose(late, NOW) == Choice(NOON, True)


def status_of(spec: Json, content: str, trigger: ExecutionTrigger, **status: Any) -> Experiment:
    name = execution_id(experiment(spec), content, trigger)
    return subject(spec, trigger=trigger, **{"execution": name, "content": content, **status})


@pytest.mark.parametrize(
    ("found", "choice", "expected"),
    [
        (status_of(GIT, "c0ffee", SPEC), Choice(SPEC, False), "c0ffee"),
        (status_of(GIT, "c0ffee", SPEC, **DONE), Choice(SPEC, False), "c0ffee"),
        (status_of(GIT, "c0ffee", SPEC), Choice(ASKED, True), None),
        (status_of(GIT, "c0ffee", SPEC, execution="of another spec"), Choice(SPEC, False), None),
        (status_of(SWEEP, "ab", SPEC), Choice(SPEC, False), "ab"),
        (status_of(SWEEP, "ab", SPEC, **DONE), Choice(SPEC, False), None),
        (subject(), Choice(SPEC, False), None),
    ],
)
def test_what_was_fixed_stays_for_the_execution(found: Experiment, choice: Choice, expected: str | None) -> None:
    assert fixed_content(found, choice) == expected


@pytest.mark.parametrize(
    ("found", "choice", "content", "expected"),
    [
        (status_of(GIT, "a", SPEC, **DONE), Choice(SPEC, False), "a", Choice(SPEC, False)),
        (status_of(GIT, "a", ASKED, **DONE), Choice(ASKED, False), "a", Choice(ASKED, False)),
        # The spec or the files have changed since somebody asked.
        (status_of(GIT, "a", ASKED, **DONE), Choice(ASKED, False), "b", Choice(SPEC, False)),
        (status_of(GIT, "a", SPEC), Choice(ASKED, True), "b", Choice(ASKED, True)),
        # With a schedule what is done waits for the next time, and what runs is replaced.
        (status_of(HOURLY, "a", NOON, **DONE), Choice(NOON, False), "b", None),
        (status_of(HOURLY, "a", NOON), Choice(NOON, False), "b", Choice(NOON, False)),
    ],
)
def test_a_change_begins_a_new_execution(
    found: Experiment, choice: Choice, content: str, expected: Choice | None
) -> None:
    assert renewed(found, choice, content) == expected


def test_the_next_time_is_the_schedules() -> None:
    assert next_time(subject(HOURLY), NOW) == datetime(2026, 5, 1, 13, tzinfo=UTC)
    assert next_time(subject(), NOW) is None
