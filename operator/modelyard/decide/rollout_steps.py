"""One rollout that is under way: which step it is at, what keeps it there, what comes next."""

from __future__ import annotations

from datetime import timedelta

from modelyard.api.modeldeployment import ModelDeployment
from modelyard.api.names import PROMOTE_ANNOTATION
from modelyard.api.reasons import Reason
from modelyard.api.rollout import (
    CanaryStep,
    FigureVerdict,
    RolloutPhase,
    RolloutSpec,
    RolloutStatus,
    Strategy,
    TrafficMethod,
    parse_duration,
)
from modelyard.api.serving import ServedModel
from modelyard.decide.conditions import timestamp
from modelyard.decide.modeldeployment import Revision, parse_time
from modelyard.decide.pod_counts import PodCounts, by_counts, by_route, full_replicas, rolling, share, surge
from modelyard.decide.pods import Diagnosis
from modelyard.decide.rollout_plan import Observed, Plan, Waiting, analysed, annotation, refusal

ANALYSIS_SECONDS = 3.0
"""How often a candidate is measured while it is judged, at first; after half a minute that grows."""

LONGEST_ANALYSIS_SECONDS = 10.0

_OF_THE_MODEL = (Reason.CANDIDATE_FAILED, Reason.CANDIDATE_NOT_READY, Reason.PROBE_FAILING, Reason.OUT_OF_MEMORY)
"""Faults that may mend in time, but not because something around the model does."""


class UnderWay:
    """One decision about one rollout that is under way."""

    def __init__(self, deployment: ModelDeployment, seen: Observed, wanted: ServedModel, stable: Revision) -> None:
        self._deployment = deployment
        self._rest = deployment.spec.rest
        self._spec = self._rest.rollout or RolloutSpec()
        self._seen = seen
        self._wanted = wanted
        self._stable = stable
        self._candidate = seen.revisions.get(wanted.revision)
        self._replicas = full_replicas(self._rest, self._stable_wanted())
        self._state = self._present()

    # Where it stands

    def _stable_wanted(self) -> int:
        """How many pods the stable version is to have where nothing rolls; a rolling update has taken some away."""
        return self._stable.desired if self._rest.autoscaling else self._rest.replicas

    def _present(self) -> RolloutStatus:
        """Return the state that the status has of this rollout, or that of one that begins."""
        known = self._deployment.status.rollout
        if known is not None and known.revision == self._wanted.revision and known.strategy == self._spec.strategy:
            return known.model_copy(update={"steps": self._steps, "step": min(known.step, self._steps)})
        return RolloutStatus(
            strategy=self._spec.strategy,
            version=self._wanted.version,
            revision=self._wanted.revision,
            started_at=timestamp(self._seen.now),
            phase=RolloutPhase.STARTING,
            steps=self._steps,
            traffic=self._method,
        )

    @property
    def _steps(self) -> int:
        by_strategy = {Strategy.CANARY: len(self._spec.steps), Strategy.ROLLING_UPDATE: 1}
        return by_strategy.get(self._spec.strategy, 0)

    @property
    def _method(self) -> TrafficMethod:
        by_strategy = {Strategy.CANARY: self._seen.method, Strategy.ROLLING_UPDATE: TrafficMethod.POD_COUNTS}
        return by_strategy.get(self._spec.strategy, TrafficMethod.SWITCH)

    @property
    def _ready(self) -> int:
        return self._candidate.ready if self._candidate else 0

    @property
    def _forced(self) -> bool:
        """Whether a person has said that this version gets everything."""
        return annotation(self._deployment, PROMOTE_ANNOTATION) == str(self._wanted.version)

    def _passed_hold(self) -> bool:
        """Whether a person let the version pass the hold of the present step, or of a later one."""
        version, _, step = annotation(self._deployment, PROMOTE_ANNOTATION).partition("/")
        return self._forced or (
            version == str(self._wanted.version) and step.isascii() and step.isdigit() and int(step) >= self._state.step
        )

    # What to do

    def plan(self) -> Plan:
        """Decide."""
        verdict = self._seen.judgement.verdict if self._seen.judgement else None
        if verdict == FigureVerdict.FAILED and not self._forced:
            assert self._seen.judgement
            return self._refuse(Reason.ANALYSIS_FAILED, self._seen.judgement.message)
        fault = self._fatal()
        if fault is not None:
            return self._refuse(fault.reason, fault.message)
        if self._state.step == 0:
            return self._before_traffic()
        if self._spec.strategy == Strategy.ROLLING_UPDATE:
            return self._roll()
        return self._canary()

    def _refuse(self, reason: Reason, message: str) -> Plan:
        refused = refusal(self._deployment, self._seen, reason, message)
        return Plan(self._stable.revision, {self._stable.revision: self._replicas}, refused=refused)

    def _fatal(self) -> Diagnosis | None:
        """Return what shows that the candidate will never do, if anything does."""
        fault = self._seen.fault
        if fault is not None and fault.permanent:
            return fault
        if self._state.weight and self._seen.restarts:
            text = f"its containers were restarted {self._seen.restarts} times while it had traffic"
            return Diagnosis(Reason.CANDIDATE_RESTARTED, text, permanent=True)
        late = self._deadline_in() <= 0 and self._ready < self._first_pods()
        if late and not self._was_ready() and (fault is None or fault.reason in _OF_THE_MODEL):
            limit = self._spec.progress_deadline_seconds
            text = f"no pod was ready within progressDeadlineSeconds ({limit} s)"
            return Diagnosis(Reason.CANDIDATE_NOT_READY, f"{text}: {fault.message}" if fault else text, permanent=True)
        return None

    def _was_ready(self) -> bool:
        """Whether the candidate has had all the pods that it needs at first: a pod lost later is not its fault."""
        return self._state.step > 0 or self._state.step_since is not None

    def _deadline_in(self) -> float:
        """Return in how many seconds the candidate must be ready."""
        elapsed = (self._seen.now - parse_time(self._state.started_at)).total_seconds()
        return self._spec.progress_deadline_seconds - elapsed

    def _renew_deadline(self) -> None:
        """Begin anew where the surroundings keep the pods from starting: that time is not the model's.

        Not at every look, each of which would be a write.
        """
        fault = self._seen.fault
        surroundings = fault is not None and fault.reason not in _OF_THE_MODEL
        if surroundings and self._deadline_in() < self._spec.progress_deadline_seconds / 2:
            self._state = self._state.model_copy(update={"started_at": timestamp(self._seen.now)})

    def _before_traffic(self) -> Plan:
        """Step 0: the candidate starts, is compared with the stable version, and waits where it is told to."""
        wanted = self._first_pods()
        counts = PodCounts(self._replicas, wanted)
        if self._ready < wanted:
            self._renew_deadline()
            left = self._deadline_in()
            again = left if left > 0 and not self._was_ready() else None
            return self._stay(RolloutPhase.STARTING, counts, since=self._state.step_since, again=again)
        since = self._since_ready()
        held = self._held(counts, since, self._spec.pause, hold=self._spec.hold)
        if held is not None:
            return held
        if any(name not in (self._stable.revision, self._wanted.revision) for name in self._seen.revisions):
            # A version that was superseded still drains; pods of three versions would share the traffic.
            return self._stay(RolloutPhase.STARTING, counts, since=since)
        if self._spec.strategy in (Strategy.BLUE_GREEN, Strategy.SHADOW):
            return self._finish(PodCounts(self._replicas, self._replicas), weight=0)
        self._state = self._state.model_copy(update={"step": 1, "step_since": None})
        return self._roll() if self._spec.strategy == Strategy.ROLLING_UPDATE else self._canary()

    def _first_pods(self) -> int:
        """Return how many pods the candidate needs before it is looked at."""
        if self._spec.strategy == Strategy.CANARY:
            return min(self._replicas, self._counts_at(self._spec.steps[0].weight).candidate)
        if self._spec.strategy == Strategy.ROLLING_UPDATE:
            return min(self._replicas, surge(self._replicas, self._spec.max_surge))
        return self._replicas if self._spec.strategy == Strategy.BLUE_GREEN else 1

    def _held(self, counts: PodCounts, since: str, pause: str | None, *, hold: bool) -> Plan | None:
        """Return the plan that stays at the present step, or None where nothing keeps it there."""
        if self._forced:
            return None
        passed, judgement = self._passed_hold(), self._seen.judgement
        weight = self._state.weight
        if self._analysed and not passed and (judgement is None or judgement.verdict != FigureVerdict.PASSED):
            waiting = None
            if judgement is not None:
                text = f"{judgement.message}; {self._how_to_go_on()}"
                waiting = Waiting(Reason.ANALYSIS_INCONCLUSIVE, text)
            return self._stay(RolloutPhase.ANALYSING, counts, weight, since, waiting=waiting, again=self._look_again)
        if hold and not passed:
            waiting = Waiting(Reason.AWAITING_PROMOTION, self._how_to_go_on())
            return self._stay(RolloutPhase.HELD, counts, weight, since, waiting=waiting, again=self._look_again)
        left = parse_duration(pause) - (self._seen.now - parse_time(since)) if pause else timedelta(0)
        if left > timedelta(0) and not passed:
            again = min(left.total_seconds(), self._look_again or LONGEST_ANALYSIS_SECONDS)
            return self._stay(RolloutPhase.PAUSING, counts, weight, since, again=again)
        return None

    def _how_to_go_on(self) -> str:
        name = self._deployment.metadata.name
        return f"to go on: kubectl modelyard promote {name}; to take it back: kubectl modelyard abort {name}"

    @property
    def _look_again(self) -> float | None:
        """Return when the candidate is to be measured again."""
        if not self._analysed:
            return None
        begun = parse_time(self._state.step_since or self._state.started_at)
        return min(max(ANALYSIS_SECONDS, (self._seen.now - begun).total_seconds() / 10), LONGEST_ANALYSIS_SECONDS)

    @property
    def _analysed(self) -> bool:
        return analysed(self._rest.rollout)

    def _since_ready(self) -> str:
        return self._state.step_since or timestamp(self._seen.now)

    def _roll(self) -> Plan:
        """Replace the pods bit by bit; requests go to the ready pods of both."""
        present = max(self._stable.total, self._stable.desired)
        counts = (
            PodCounts(self._replicas, self._replicas)
            if self._rest.autoscaling
            else rolling(self._replicas, surge(self._replicas, self._spec.max_surge), present, self._ready)
        )
        if self._ready < self._replicas:
            return self._shift(
                RolloutPhase.SHIFTING, counts, share(counts.stable, counts.candidate), self._state.step_since
            )
        # While it may still fail, there is something to go back to.
        whole = PodCounts(max(counts.stable, 1), self._replicas)
        weight = share(self._stable.ready, self._ready)
        self._state = self._state.model_copy(update={"weight": weight})
        held = self._held(whole, self._since_ready(), None, hold=False)
        return held if held is not None else self._finish(whole, weight)

    def _canary(self) -> Plan:
        """Stay at the present step, or take the next ones that nothing keeps it from."""
        while self._state.step <= self._steps:
            step = self._spec.steps[self._state.step - 1]
            counts = self._counts_at(step.weight)
            if self._ready < counts.candidate:
                # The share grows when the pods are there that bear it, and the stable version's go when they are.
                counts = PodCounts(max(counts.stable, self._replicas - self._ready), counts.candidate)
                return self._shift(RolloutPhase.SHIFTING, counts, self._state.weight, None)
            self._state = self._state.model_copy(update={"weight": step.weight})
            held = self._held_at(step, counts)
            if held is not None:
                return held
            if self._state.step == self._steps:
                break
            self._state = self._state.model_copy(update={"step": self._state.step + 1, "step_since": None})
        last = self._counts_at(self._spec.steps[-1].weight)
        return self._finish(PodCounts(last.stable, self._replicas), self._spec.steps[-1].weight)

    def _held_at(self, step: CanaryStep, counts: PodCounts) -> Plan | None:
        reached = self._state.step_since is not None
        if not reached and not self._forced:
            # The share begins now; whatever was measured before says nothing about it.
            again = parse_duration(step.pause).total_seconds() if step.pause else None
            phase = RolloutPhase.HELD if step.hold else RolloutPhase.PAUSING
            waiting = Waiting(Reason.AWAITING_PROMOTION, self._how_to_go_on()) if step.hold else None
            now = timestamp(self._seen.now)
            again = ANALYSIS_SECONDS if self._analysed else again
            return self._stay(phase, counts, step.weight, now, waiting=waiting, again=again)
        return self._held(counts, self._since_ready(), step.pause, hold=step.hold)

    def _counts_at(self, weight: int) -> PodCounts:
        if self._method == TrafficMethod.POD_COUNTS:
            return by_counts(self._replicas, weight, fixed=self._rest.autoscaling is not None)
        return by_route(self._replicas, weight)

    def _finish(self, counts: PodCounts, weight: int) -> Plan:
        """Give the candidate all pods, then all of the traffic."""
        if self._ready < self._replicas:
            return self._shift(RolloutPhase.FINISHING, counts, weight, self._state.step_since)
        return Plan(self._wanted.revision, {self._wanted.revision: self._replicas})

    def _shift(self, phase: RolloutPhase, counts: PodCounts, weight: int, since: str | None) -> Plan:
        return self._stay(phase, counts, weight, since, again=self._look_again)

    def _stay(
        self,
        phase: RolloutPhase,
        counts: PodCounts,
        weight: int = 0,
        since: str | None = None,
        *,
        waiting: Waiting | None = None,
        again: float | None = None,
    ) -> Plan:
        """Return the plan for the state that is reached; a weight without a ready pod is none yet."""
        stable, candidate = self._stable.revision, self._wanted.revision
        weight = weight if self._ready else 0
        split = weight > 0 and self._method == TrafficMethod.POD_COUNTS
        actual = share(self._stable.ready, self._ready) if split else weight
        figures = self._seen.judgement.figures if self._seen.judgement else self._state.figures
        state = self._state.model_copy(
            update={
                "phase": phase,
                "step_since": since,
                "weight": weight,
                "actual_weight": actual,
                "traffic": self._method,
                "figures": figures,
            }
        )
        return Plan(
            stable=stable,
            pods={stable: counts.stable, candidate: counts.candidate},
            split=split,
            candidate=candidate,
            weight=weight,
            rollout=state,
            waiting=waiting,
            again_after=again,
        )
