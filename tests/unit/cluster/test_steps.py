from __future__ import annotations

import threading

import pytest

from tests.cluster.steps import Step, run_steps


def test_a_step_runs_after_those_it_waits_for() -> None:
    done: list[str] = []
    steps = [
        Step("roof", lambda: done.append("roof"), after=("walls",)),
        Step("walls", lambda: done.append("walls"), after=("floor",)),
        Step("floor", lambda: done.append("floor")),
    ]
    run_steps(steps)
    assert done == ["floor", "walls", "roof"]


def test_steps_that_do_not_wait_for_each_other_run_at_the_same_time() -> None:
    meeting = threading.Barrier(2)
    run_steps([Step("one", lambda: wait(meeting)), Step("other", lambda: wait(meeting))])
    assert not meeting.broken


def wait(barrier: threading.Barrier) -> None:
    barrier.wait(timeout=10)


def test_after_a_failure_nothing_more_begins_and_the_failure_is_raised() -> None:
    done: list[str] = []

    def fail() -> None:
        raise OSError("no etcd")

    with pytest.raises(OSError, match="no etcd"):
        run_steps([Step("etcd", fail), Step("apiserver", lambda: done.append("apiserver"), after=("etcd",))])
    assert done == []


def test_a_step_that_waits_for_what_there_is_not_is_refused_before_anything_runs() -> None:
    done: list[str] = []
    with pytest.raises(ValueError, match="a waits for b, which is no step"):
        run_steps([Step("c", lambda: done.append("c")), Step("a", lambda: None, after=("b",))])
    assert done == []


def test_steps_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="wait for each other: a, b"):
        run_steps([Step("a", lambda: None, after=("b",)), Step("b", lambda: None, after=("a",))])
