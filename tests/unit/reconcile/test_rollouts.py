"""Every strategy from beginning to end: what it writes, in which order, and that the operator may end at any write."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from modelyard.api.rollout import FigureVerdict
from modelyard.cluster.resources import DEPLOYMENTS, INGRESSES, SERVICES
from tests.unit.reconcile.deployment_world import CANDIDATE, GATEWAY, NAMESPACE, NGINX, Killed, World, serving

Json = dict[str, Any]
STEPS = [{"weight": 10, "pause": "8s"}, {"weight": 50, "pause": "8s"}]
TURNS = 40


@dataclass(frozen=True)
class Scenario:
    """Version 2 is promoted where version 1 is served; `says` is annotated at the turn of that number."""

    id: str
    writes: int
    """How many the operator needs for it, all together."""

    rest: Json
    verdict: FigureVerdict = FigureVerdict.PASSED
    says: dict[int, dict[str, str]] = field(default_factory=dict)
    ends_with: int = 2

    @property
    def analysed(self) -> bool:
        rollout = self.rest.get("rollout", {})
        return "analysis" in rollout or rollout.get("strategy") == "Shadow"


def canary(**rest: Any) -> Json:
    return {"replicas": 3, "rollout": {"strategy": "Canary", "steps": STEPS}, **rest}


def judged(rest: Json) -> Json:
    return {**rest, "rollout": {**rest.get("rollout", {}), "analysis": {}}}


HOLDS = [{"weight": 10, "hold": True}, {"weight": 50, "hold": True}]
ROUTED = canary(gateway=GATEWAY)
SCENARIOS = [
    Scenario("rolling update", 16, {"replicas": 3}),
    Scenario("rolling update of one pod", 6, {"replicas": 1}),
    Scenario("rolling update beside a Gateway", 16, {"replicas": 3, "gateway": GATEWAY}),
    Scenario("rolling update that is judged", 16, judged({"replicas": 3})),
    Scenario("canary by pod counts", 12, canary()),
    Scenario("canary by a route", 19, ROUTED),
    Scenario("canary by an Ingress", 18, canary(ingress=NGINX)),
    Scenario("canary that is judged", 19, judged(ROUTED)),
    Scenario(
        "canary with holds",
        19,
        {**ROUTED, "rollout": {"strategy": "Canary", "steps": HOLDS}},
        says={3: {"promote": "2/1"}, 6: {"promote": "2/2"}},
    ),
    Scenario("canary that a person lets through", 18, ROUTED, says={2: {"promote": "2"}}),
    Scenario("canary that a person takes back", 12, ROUTED, says={2: {"abort": "2"}}, ends_with=1),
    Scenario("blue and green", 10, {"replicas": 3, "rollout": {"strategy": "BlueGreen", "pause": "8s"}}),
    Scenario(
        "blue and green with a hold",
        10,
        {"replicas": 3, "rollout": {"strategy": "BlueGreen", "hold": True}},
        says={3: {"promote": "2/0"}},
    ),
    Scenario("shadow", 12, {"replicas": 3, "rollout": {"strategy": "Shadow", "pause": "8s"}}),
    Scenario("a candidate that fails its analysis", 10, judged(ROUTED), verdict=FigureVerdict.FAILED, ends_with=1),
]


def begin(scenario: Scenario) -> World:
    world = serving(scenario.rest)
    world.measured.verdicts["2"] = scenario.verdict
    world.promote(2)
    return world


def keeps_faith(world: World, scenario: Scenario) -> None:
    """Version 1 is left to somebody who is there, and version 2 gets nothing that it has not earned."""
    assert world.exposed <= {1, 2}
    if 2 in world.exposed:
        assert not scenario.analysed or "2" in world.measured.asked
        assert scenario.verdict != FigureVerdict.FAILED
        assert world.ready(2) or world.ready(1)
    assert any(world.ready(version) for version in world.exposed)


def run(world: World, scenario: Scenario) -> None:
    """Let turns pass until one writes nothing and nothing is due any more."""
    quiet = 0
    for number in range(TURNS):
        if number in scenario.says:
            world.annotate(**scenario.says[number])
        before = len(world.writes)
        try:
            world.turn(10)
        except Killed:
            quiet = -1
        keeps_faith(world, scenario)
        last = max(scenario.says, default=0)
        quiet = quiet + 1 if len(world.writes) == before and number > last else 0
        if quiet > 1:
            return
    pytest.fail(f"still busy: {world.status}")


def outcome(world: World) -> Json:
    refused = world.status.get("refused")
    return {
        "counts": world.counts,
        "selected": world.selected,
        "weight": world.weight,
        "preview": world.find(SERVICES, CANDIDATE),
        "ready": world.condition()["status"],
        "reason": world.reason(),
        "served": world.status["served"]["version"],
        "refused": refused and (refused["version"], refused["reason"]),
        "underway": [world.status.get(name) or None for name in ("rollout", "candidate", "weight", "draining")],
    }


def expected(scenario: Scenario) -> Json:
    reasons = {FigureVerdict.FAILED: "AnalysisFailed", FigureVerdict.PASSED: "Aborted"}
    back = scenario.ends_with == 1
    return {
        "counts": {scenario.ends_with: scenario.rest["replicas"]},
        "selected": [scenario.ends_with],
        "weight": None,
        "preview": None,
        "ready": "False" if back else "True",
        "reason": "RolledBack" if back else "Serving",
        "served": scenario.ends_with,
        "refused": (2, reasons[scenario.verdict]) if back else None,
        "underway": [None] * 4,
    }


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.id)
def test_a_rollout_ends_as_it_should_with_no_more_writes_than_it_needs(scenario: Scenario) -> None:
    world = begin(scenario)
    run(world, scenario)
    assert outcome(world) == expected(scenario)
    assert len(world.writes) == scenario.writes, world.writes


@pytest.mark.parametrize(
    ("scenario", "number"),
    [
        pytest.param(scenario, number, id=f"{scenario.id}, write {number}")
        for scenario in SCENARIOS
        for number in range(scenario.writes)
    ],
)
def test_an_operator_that_is_killed_before_any_write_changes_nothing_in_the_outcome(
    scenario: Scenario, number: int
) -> None:
    world = begin(scenario)

    def kill(_method: str, _path: str) -> None:
        keeps_faith(world, scenario)
        if len(world.writes) == number:
            world.writes.append(("KILLED", ""))
            raise Killed

    world.before_write = kill
    run(world, scenario)
    assert ("KILLED", "") in world.writes
    assert outcome(world) == expected(scenario)


def written(world: World) -> list[str]:
    """What the operator wrote, in short: `<plural>/<name>`, with a minus in front where it was deleted."""
    short = []
    for method, path in world.writes:
        plural, name = path.split("/")[-2:]
        short.append(f"{'-' if method == 'DELETE' else ''}{plural}/{name}")
    world.writes.clear()
    return short


def in_order(found: list[str], *wanted: str) -> bool:
    left = iter(found)
    return all(any(each.startswith(want) for each in left) for want in wanted)


def test_the_candidates_service_is_there_before_the_route_that_names_it() -> None:
    world = serving(ROUTED)
    world.promote(2)
    world.reconcile()
    assert in_order(written(world), "services/web-candidate", "deployments/web-v2", "web/status")
    world.make_ready(2)
    world.reconcile()
    assert world.weight == 10
    assert written(world) == ["httproutes/web", "web/status"]


def test_a_route_names_the_candidate_before_it_gets_a_share_and_until_its_service_goes() -> None:
    """A proxy that learns of a Service and its share at once answers 503 for a moment, and so when both go at once."""
    world = serving(ROUTED)
    world.promote(2)
    shares = []
    for number in range(20):
        # The first two passes see pods that are not ready yet.
        world.reconcile() if number < 2 else world.turn(10)
        shares.append(world.weight)
        assert world.weight is None or world.find(SERVICES, CANDIDATE)
    assert [share for share, _ in itertools.groupby(shares)] == [None, 0, 10, 50, 0, None]
    assert world.find(SERVICES, CANDIDATE) is None


def test_the_service_is_switched_before_the_pods_that_it_leaves_go() -> None:
    world = serving({"replicas": 2, "rollout": {"strategy": "BlueGreen"}})
    world.promote(2)
    world.turn()
    world.writes.clear()
    world.turn()
    found = written(world)
    assert in_order(found, "services/web", "web/status")
    assert world.counts == {1: 2, 2: 2}
    assert world.find(SERVICES, CANDIDATE), "a proxy may still send to it while the old version drains"
    world.turn()
    world.turn()
    assert in_order(written(world), "-services/web-candidate", "-deployments/web-v1")


def test_a_refusal_is_written_down_before_traffic_is_taken_away() -> None:
    world = serving(judged(ROUTED))
    world.promote(2)
    world.turn()
    world.turn()
    assert world.exposed == {1, 2}
    world.writes.clear()
    world.measured.verdicts["2"] = FigureVerdict.FAILED
    refused_at_first_write: list[int | None] = []
    world.before_write = lambda _method, path: refused_at_first_write.append(
        world.refused if not path.endswith("/status") else None
    )
    world.reconcile()
    assert in_order(written(world), "web/status", "httproutes/web", "web/status")
    assert refused_at_first_write[1] == 2
    assert (world.weight, world.exposed, world.deployed) == (0, {1}, [1, 2])


def test_a_refused_version_is_tried_again_when_the_spec_has_changed_and_only_then() -> None:
    world = serving(judged({"replicas": 2}))
    world.measured.verdicts["2"] = FigureVerdict.FAILED
    world.promote(2)
    for _ in range(5):
        world.turn()
    assert (world.reason(), world.deployed, world.refused) == ("RolledBack", [1], 2)
    world.measured.verdicts["2"] = FigureVerdict.PASSED
    world.now += world.now - world.now.replace(hour=0)
    world.reconcile()
    assert world.deployed == [1]
    world.edit({"recentRequests": 8})
    for _ in range(8):
        world.turn()
    assert (world.reason(), world.deployed, world.status.get("refused")) == ("Serving", [2], None)


def test_a_superseded_candidate_keeps_its_service_until_it_is_gone() -> None:
    """Else the share of the one that is replaced would go to pods that have shown nothing."""
    world = serving(ROUTED)
    world.promote(2)
    world.turn()
    world.turn()
    assert world.exposed == {1, 2}
    world.promote(3)
    world.before_write = lambda _method, _path: keeps_away(world, 3)
    world.reconcile()
    assert (world.weight, world.exposed, world.deployed) == (0, {1}, [1, 2, 3])
    preview = world.find(SERVICES, CANDIDATE)
    assert preview
    assert preview["spec"]["selector"]["modelyard.dev/revision"] == world.revision(2)
    for _ in range(2):
        world.turn(6)
    world.reconcile()
    preview = world.find(SERVICES, CANDIDATE)
    assert preview
    assert preview["spec"]["selector"]["modelyard.dev/revision"] == world.revision(3)
    assert world.deployed == [1, 3]


def keeps_away(world: World, version: int) -> None:
    assert version not in world.exposed


def test_a_candidate_is_not_shown_by_a_service_of_somebody_else() -> None:
    world = serving(ROUTED)
    theirs = {"kind": "Service", "metadata": {"name": CANDIDATE}, "spec": {"selector": {"a": "b"}}}
    world.client.create(SERVICES, NAMESPACE, theirs, "somebody")
    world.promote(2)
    for _ in range(4):
        world.turn()
    found = world.find(SERVICES, CANDIDATE)
    assert found
    assert found["spec"] == {"selector": {"a": "b"}}
    assert (world.weight, world.selected, world.reason()) == (None, [1], "NameTaken")


def test_a_half_replaced_version_gets_its_pods_back_when_the_model_is_gone() -> None:
    world = serving({"replicas": 4})
    world.promote(2)
    for _ in range(3):
        world.turn()
    assert world.counts[1] < 4
    world.set_model({"versions": [], "stages": {}})
    world.reconcile()
    assert (world.counts[1], world.selected) == (4, [1])
    for _ in range(4):
        world.turn()
    assert (world.counts, world.reason("Serving")) == ({1: 4}, "Serving")


def test_the_strategy_may_be_changed_in_the_middle() -> None:
    world = serving(canary(ingress=NGINX))
    world.promote(2)
    world.turn()
    world.turn()
    assert world.find(INGRESSES, CANDIDATE)
    world.edit({"rollout": {"strategy": "RollingUpdate", "steps": None}})
    world.reconcile()
    assert world.find(INGRESSES, CANDIDATE) is None
    for _ in range(12):
        world.turn()
    assert (world.counts, world.selected, world.reason()) == ({2: 3}, [2], "Serving")
    assert world.find(SERVICES, CANDIDATE) is None


def test_what_is_paused_is_not_written_but_its_status() -> None:
    world = serving(canary())
    world.promote(2)
    world.turn()
    world.turn()
    world.annotate(paused="true")
    before = (world.counts, world.selected)
    world.writes.clear()
    for _ in range(5):
        world.turn()
    assert (world.counts, world.selected, world.reason()) == (*before, "Paused")
    assert set(written(world)) == {"web/status"}
    world.annotate(paused=None)
    for _ in range(8):
        world.turn()
    assert (world.deployed, world.reason()) == ([2], "Serving")


def test_a_crash_of_the_candidate_with_traffic_takes_it_back() -> None:
    world = serving(ROUTED)
    world.promote(2)
    world.turn()
    world.turn()
    world.become(2, "Broken", restarts=1)
    world.become(2, "Ready")
    world.reconcile()
    assert (world.exposed, world.reason()) == ({1}, "RolledBack")
    assert world.status["refused"]["reason"] == "CandidateRestarted"


def lose(world: World, version: int) -> None:
    """Remove the Deployment of a version, as somebody might by hand."""
    for found, body in list(world.deployments()):
        if found == version:
            world.client.delete(DEPLOYMENTS, NAMESPACE, body["metadata"]["name"])


@pytest.mark.parametrize(
    ("loss", "back"),
    [
        pytest.param(lambda world: lose(world, 1), [1], id="the Deployment of what is served"),
        pytest.param(lambda world: world.client.delete(SERVICES, NAMESPACE, "web"), [1], id="the Service"),
    ],
)
def test_what_is_lost_while_a_version_is_refused_is_made_anew_and_never_replaced_by_it(
    loss: Callable[[World], None], back: list[int]
) -> None:
    world = serving(judged({"replicas": 2}))
    world.measured.verdicts["2"] = FigureVerdict.FAILED
    world.promote(2)
    for _ in range(6):
        world.turn()
    loss(world)
    for _ in range(3):
        world.turn()
        assert world.exposed <= {1}
    assert (world.deployed, world.selected, world.ready(1), world.reason()) == (back, back, 2, "RolledBack")
