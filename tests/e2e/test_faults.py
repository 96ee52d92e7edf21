"""Faults in the real cluster: each is told of in time by its documented reason, nothing claims to be ready, and what
is deleted goes.

The faults come about in namespaces of their own, several at a time; a test reads what came of its fault.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from examples.demo.kubectl import condition
from examples.demo.steps import Demo
from modelyard.api.reasons import EXPLANATIONS
from modelyard.cluster.client import Client, connect
from tests.e2e.faults.catalogue import FAULTS, Fault
from tests.e2e.faults.place import NAME, History, Place, Seen
from tests.e2e.store import ArtifactAccess
from tests.unit.chart.kstatus import kstatus

pytestmark = pytest.mark.timeout(1800)

AT_ONCE = 6
GONE_SECONDS = 120.0
"""A pod that hangs takes its grace period of 25 s, on an idle machine."""

SETTLED_SECONDS = 240.0
WATCHED_SECONDS = 3.0
"""How long a fault is watched after it has been told of: its verdict has to stay."""


@dataclass(frozen=True)
class Outcome:
    """What came of a fault."""

    told: Seen
    told_after: float
    """Seconds from the fault to its reason."""
    states: list[Seen]
    """All states with the fault in force."""
    answered: tuple[int, str] | None
    """Status and version of a request's answer, where something was served before."""
    gone_after: float
    left: list[str]
    """What the ModelDeployment left behind."""
    lost: list[str]
    """What went although it was not the ModelDeployment's."""


@pytest.fixture(scope="module")
def outcomes(
    installation: Demo, artifacts: ArtifactAccess, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Outcome]]]:
    """The faults that this run has selected, under way."""
    client = Client(connect())
    selected: list[Fault] = [
        item.callspec.params["fault"]  # type: ignore[misc]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    ]
    # What takes longest comes first.
    selected.sort(key=lambda fault: (-fault.within, not fault.served))
    with History().recording() as history, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            fault.name: pool.submit(_bring_about, fault, Place(_namespace(fault), client, artifacts, history))
            for fault in selected
        }
        pool.shutdown(cancel_futures=True)


def _namespace(fault: Fault) -> str:
    words = re.sub("[^a-z0-9]+", "-", fault.name.lower()).strip("-")
    return f"f-{words[:48].strip('-')}-{time.time_ns() % 100_000}"


def _bring_about(fault: Fault, place: Place) -> Outcome:
    place.create(fault.labels)
    try:
        place.register(*fault.models)
        if not fault.served and fault.prepare:
            fault.prepare(place)
        before = place.objects()
        start = _start(fault, place)
        in_force = time.monotonic()
        told = place.history.wait(place.name, lambda seen: _tells(seen, fault), fault.within, start)
        time.sleep(WATCHED_SECONDS)
        if fault.leaves:
            # Where it asked them in turn, not so many would be answered one after the other.
            place.until("the proxy leaves the pod alone", lambda: all(_answer(place) == (200, "1") for _ in range(5)))
        answered = _answer(place) if fault.served and fault.answers else None
        place.kubectl("delete", "modeldeployment", NAME, "--wait=false")
        deleted = time.monotonic()
        left = _left_over(place, before)
        gone_after = time.monotonic() - deleted
        states = [seen for seen in place.history.of(place.name) if seen.at >= start]
        after = place.objects()
        lost = [name for uid, name in before.items() if uid not in after]
        return Outcome(told, max(0.0, told.at - in_force), states, answered, gone_after, left, lost)
    finally:
        place.remove()


def _start(fault: Fault, place: Place) -> float:
    """Have the fault in force; return when it was."""
    if not fault.served:
        start = time.monotonic()
        place.deploy(fault.rest, fault.model)
        return start
    place.deploy({**fault.rest, "ingress": {"host": place.host}}, fault.model)
    place.history.wait(place.name, lambda seen: seen.ready.get("status") == "True", SETTLED_SECONDS)
    place.until("the Ingress leads to the model", lambda: _answer(place) == (200, "1"), SETTLED_SECONDS)
    assert fault.inject
    start = time.monotonic()
    fault.inject(place)
    return start


def _tells(seen: Seen, fault: Fault) -> bool:
    current = seen.body.get("status", {}).get("observedGeneration") == seen.body["metadata"]["generation"]
    return current and condition(seen.body, fault.condition).get("reason") == fault.reason


def _answer(place: Place) -> tuple[int, str] | None:
    try:
        answer = place.ask(0.0)
    except OSError:
        return None
    return answer.status, answer.version


def _left_over(place: Place, before: dict[str, str]) -> list[str]:
    """Wait until nothing is left that came with the ModelDeployment; return what is left in the end."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        # Pods take longest; the other kinds are looked at when they have gone.
        pods = [name for uid, name in place.pods().items() if uid not in before]
        left = pods or [name for uid, name in place.objects().items() if uid not in before]
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(1.0)


def _noticed(fault: Fault, outcome: Outcome) -> float:
    """Return since when a claim would be a lie: from the first word of the fault; always, where nothing was served."""
    if not fault.served:
        return 0.0
    return min(seen.at for seen in outcome.states if seen.ready.get("status") != "True")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_told_of_and_what_is_deleted_goes(outcomes: dict[str, Future[Outcome]], fault: Fault) -> None:
    outcome = outcomes[fault.name].result()
    print(f"{fault.name}: {fault.reason} after {outcome.told_after:.1f} s, gone after {outcome.gone_after:.1f} s")

    # The reason is the documented one, and the message names what is at fault.
    told = condition(outcome.told.body, fault.condition)
    assert told["status"] == "False"
    assert fault.says in told["message"]
    assert EXPLANATIONS[fault.reason].remedy
    assert kstatus(outcome.told.body) == fault.kstatus

    # Nothing claims to be ready, or whatever the fault takes away.
    claims = [condition(seen.body, fault.condition) for seen in outcome.states if seen.at >= _noticed(fault, outcome)]
    assert [claim for claim in claims if claim.get("status") == "True"] == []

    # What was served goes on answering.
    if fault.served:
        assert condition(outcome.told.body, "Serving")["status"] == ("True" if fault.answers else "False")
    if fault.served and fault.answers:
        assert outcome.answered == (200, "1")

    # Nothing is left over, and nothing is taken that was somebody else's.
    assert outcome.left == [], f"after {outcome.gone_after:.0f} s"
    assert outcome.lost == []
