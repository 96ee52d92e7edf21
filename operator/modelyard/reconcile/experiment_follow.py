"""Follows the runs that notebooks and others log, where an Experiment runs nothing itself."""

from __future__ import annotations

from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExperimentStatus, RegisteredVersion
from modelyard.api.reasons import Reason
from modelyard.cluster.client import Client, NotFound
from modelyard.cluster.ensure import ensure_status
from modelyard.decide.experiment_follow import best_of, followed, good_enough, troubled
from modelyard.decide.experiment_model import Problem, Run
from modelyard.reconcile.base import Clock, Outcome
from modelyard.reconcile.experiment_ports import Registers, Retains, Tracking
from modelyard.tracking.client import TrackingError, TrackingUnreachable

FOLLOW_SECONDS = 30.0
"""How often the runs are looked at: the tracking server tells nobody of them."""


class Follower:
    """Declares the MLflow experiment, tells what is in it, and registers what is good enough."""

    def __init__(
        self, client: Client, tracking: Tracking, registrar: Registers, retention: Retains, clock: Clock
    ) -> None:
        self._client = client
        self._tracking = tracking
        self._registrar = registrar
        self._retention = retention
        self._clock = clock

    def __call__(self, experiment: Experiment) -> Outcome:
        """Look once."""
        try:
            status = self._look(experiment)
        except TrackingError as error:
            unreachable = isinstance(error, TrackingUnreachable)
            reason = Reason.TRACKING_SERVER_UNREACHABLE if unreachable else Reason.TRACKING_SERVER_REFUSED
            status = troubled(experiment, Problem(reason, str(error), transient=unreachable), self._clock())
        told = experiment.model_copy(update={"status": status})
        if (done := self._retention.apply(told, self._clock())) is not None:
            status = status.model_copy(update={"clean_up": done})
        try:
            ensure_status(self._client, experiment, status, experiment.status)
        except NotFound:
            return Outcome()
        return Outcome(FOLLOW_SECONDS)

    def _look(self, experiment: Experiment) -> ExperimentStatus:
        spec = experiment.spec
        experiment_id = self._tracking.ensure_experiment(spec.experiment_name or experiment.metadata.name, spec.tags)
        runs = self._tracking.search_runs(experiment_id, {})
        best = good_enough(experiment, best_of(experiment, runs))
        registered = self._registered(experiment, best) if best else None
        return followed(experiment, experiment_id, runs, registered, self._clock())

    def _registered(self, experiment: Experiment, best: Run) -> RegisteredVersion | Problem:
        known = experiment.status.registered
        register = experiment.spec.register_
        if known and register and (known.run_id, known.model) == (best.run_id, register.model):
            return known
        return self._registrar(experiment, best)
