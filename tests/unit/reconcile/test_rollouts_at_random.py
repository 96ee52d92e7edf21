"""Whatever happens in whatever order: no request for what has shown nothing, and all is well when calm returns."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from modelyard.api.rollout import FigureVerdict
from modelyard.cluster.resources import SERVICES
from modelyard.decide.pod_counts import surge
from tests.unit.reconcile.deployment_world import CANDIDATE, GATEWAY, NGINX, Killed, World

Json = dict[str, Any]

STEPS = [{"weight": 20, "pause": "10s"}, {"weight": 80, "hold": True}]
ROLLOUTS: list[Json] = [
    {"strategy": "RollingUpdate"},
    {"strategy": "RollingUpdate", "maxSurge": 50},
    {"strategy": "Canary", "steps": STEPS},
    {"strategy": "BlueGreen", "pause": "10s"},
    {"strategy": "BlueGreen", "hold": True},
    {"strategy": "Shadow", "pause": "10s"},
]
WAYS: list[Json] = [{}, {"ingress": NGINX}, {"gateway": GATEWAY}]
VERSIONS = st.sampled_from([1, 2, 3])
CALM_TURNS = 80


class Rollouts(RuleBasedStateMachine):
    """A person, a cluster and an operator, each of which does something now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.earned: set[int] = set()
        """The versions that somebody has let through, or that were first."""

        self.wanted = 1
        self.bad: set[int] = set()
        """The versions that cannot be loaded."""

    @initialize(
        rollout=st.sampled_from(ROLLOUTS),
        way=st.sampled_from(WAYS),
        analysed=st.booleans(),
        replicas=st.sampled_from([1, 2, 3, 7]),
        bad=st.sets(st.sampled_from([2, 3]), max_size=1),
        verdicts=st.tuples(st.sampled_from(FigureVerdict), st.sampled_from(FigureVerdict)),
        turns=st.integers(0, 6),
    )
    def begin(  # noqa: PLR0917 - drawn by name
        self,
        rollout: Json,
        way: Json,
        analysed: bool,
        replicas: int,
        bad: set[int],
        verdicts: tuple[FigureVerdict, FigureVerdict],
        turns: int,
    ) -> None:
        rollout = {**rollout, **({"analysis": {}} if analysed else {})}
        self.world = World({"replicas": replicas, "rollout": rollout, **way})
        self.analysed = analysed or rollout["strategy"] == "Shadow"
        self.rollout = rollout
        self.replicas = replicas
        self.bad = bad
        self.earned = {1}
        self.wanted = 1
        self.world.measured.verdicts = dict(zip(("2", "3"), verdicts, strict=True))
        self.world.promote(1)
        for _ in range(3):
            self.world.turn()
        self.world.before_write = lambda _method, _path: self.nothing_for_the_unproven()
        self.get_going(2, turns)

    # What may happen

    @rule(version=VERSIONS)
    def promote(self, version: int) -> None:
        self.wanted = version
        self.world.promote(version)

    @rule(version=VERSIONS, number=st.integers(1, 4))
    def start_pods(self, version: int, number: int) -> None:
        self.world.become(version, "Broken" if version in self.bad else "Ready", number, restarts=version in self.bad)

    @rule(version=VERSIONS, number=st.integers(1, 2))
    def lose_pods(self, version: int, number: int) -> None:
        self.world.become(version, "Starting", number)

    @rule(version=VERSIONS)
    def wait_for_a_node(self, version: int) -> None:
        self.world.become(version, "Waiting", 1)

    @rule(version=st.sampled_from([2, 3]), verdict=st.sampled_from(FigureVerdict))
    def judge(self, version: int, verdict: FigureVerdict) -> None:
        self.world.measured.verdicts[str(version)] = verdict

    @rule(version=st.sampled_from([2, 3]), step=st.sampled_from(["", "/0", "/1", "/2"]))
    def let_through(self, version: int, step: str) -> None:
        self.earned.add(version)
        self.world.annotate(promote=f"{version}{step}")

    @rule(version=st.sampled_from(["2", "3", None]))
    def take_back(self, version: str | None) -> None:
        self.world.annotate(abort=version)

    @rule(yes=st.booleans())
    def pause(self, yes: bool) -> None:
        self.world.annotate(paused="true" if yes else None)

    @rule(replicas=st.sampled_from([1, 2, 3, 7]))
    def edit(self, replicas: int) -> None:
        self.replicas = replicas
        self.world.edit({"replicas": replicas})

    @rule(seconds=st.sampled_from([1, 5, 11, 120]))
    def time_passes(self, seconds: int) -> None:
        self.world.control()
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def service_is_lost(self) -> None:
        self.world.client.delete(SERVICES, "ml", "web")

    @rule(times=st.integers(1, 3))
    def operator_works(self, times: int) -> None:
        for _ in range(times):
            self.reconcile()

    @precondition(lambda self: bool(self.world.condition()["status"] == "True"))
    @rule(version=st.sampled_from([2, 3]), turns=st.integers(1, 6))
    def get_going(self, version: int, turns: int) -> None:
        self.promote(version)
        for _ in range(turns):
            self.reconcile()
            self.start_pods(version, 2)
            self.world.now += timedelta(seconds=4)

    @precondition(lambda self: bool((self.world.status.get("rollout") or {}).get("weight")))
    @rule(version=VERSIONS)
    def supersede(self, version: int) -> None:
        self.promote(version)
        self.reconcile()

    @rule(writes=st.integers(0, 4))
    def operator_is_killed(self, writes: int) -> None:
        left = [writes]

        def kill(_method: str, _path: str) -> None:
            self.nothing_for_the_unproven()
            if not left[0]:
                raise Killed
            left[0] -= 1

        before, self.world.before_write = self.world.before_write, kill
        try:
            self.world.reconcile()
        except Killed:
            pass
        finally:
            self.world.before_write = before

    # What must hold

    def reconcile(self) -> None:
        ready = {version: self.world.ready(version) for version in (1, 2, 3)}
        self.world.reconcile()
        self.nothing_for_the_unproven()
        if "modelyard.dev/paused" in self.world.owner["metadata"].get("annotations", {}):
            return
        self.nothing_for_the_refused()
        self.enough_and_not_too_many(ready)

    def nothing_for_the_unproven(self) -> None:
        """Before every write, too: a version that is judged is asked, and passes, before a request can reach it."""
        world = self.world
        known = self.earned | {int(version) for version in world.measured.asked}
        assert not self.analysed or world.exposed <= known, f"{world.exposed} but {known} have earned it"

    def nothing_for_the_refused(self) -> None:
        refused = self.world.refused
        assert refused is None or refused not in self.world.exposed

    def enough_and_not_too_many(self, ready: dict[int, int]) -> None:
        """Capacity as it is planned: what is ready of one side and wanted of the other."""
        rollout = self.world.status.get("rollout")
        counts, served = self.world.counts, self.world.status.get("served")
        if not rollout or not served:
            return
        stable, candidate = served["version"], rollout["version"]
        if self.world.selected == [stable]:
            assert counts[stable] >= self.replicas
        else:
            assert counts[stable] + min(ready[candidate], counts[candidate]) >= self.replicas
        if self.rollout["strategy"] == "RollingUpdate":
            most = self.replicas + surge(self.replicas, self.rollout.get("maxSurge", 25))
            assert counts[stable] + counts[candidate] <= most

    def teardown(self) -> None:
        """Calm returns: pods start if they can, nobody holds anything up, judgements are passed."""
        world = self.world
        if not hasattr(self, "replicas"):
            return
        for version in (2, 3):
            world.measured.verdicts[str(version)] = FigureVerdict.PASSED
        world.annotate(paused=None, abort=None, promote=f"{self.wanted}/2")
        self.earned.add(self.wanted)
        quiet = 0
        for _ in range(CALM_TURNS):
            before = len(world.writes)
            self.reconcile()
            for version in world.deployed:
                self.start_pods(version, 1000)
            world.now += timedelta(seconds=6)
            quiet = quiet + 1 if len(world.writes) == before else 0
            if quiet > 3:
                break
        self.all_is_well()
        super().teardown()

    def all_is_well(self) -> None:
        world = self.world
        refused = world.refused is not None or self.wanted in self.bad
        whole = world.status["served"]["version"]
        assert whole == self.wanted or refused, world.status
        assert whole not in self.bad
        assert world.counts == {whole: self.replicas}
        assert (world.selected, world.weight, world.find(SERVICES, CANDIDATE)) == ([whole], None, None)
        assert world.reason() == ("Serving" if whole == self.wanted else "RolledBack")
        world.writes.clear()
        world.reconcile()
        assert world.writes == []


Rollouts.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestWhateverHappens = Rollouts.TestCase
