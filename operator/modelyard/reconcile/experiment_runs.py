"""What an Experiment's runs say, without asking for all of them every time.

What ended stays as it was read, for as long as the operator's process knows it. Only the runs that are open are asked
for again, and everything once more before an execution is called done: what a program makes and ends in between two
looks is not lost.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from modelyard.decide.experiment_model import EXECUTION_TAG, EXPERIMENT_TAG, Run, RunStatus
from modelyard.reconcile.experiment_ports import Tracking

_KNOWN = 256
_HISTORY_SECONDS = 3.0
"""How far apart two looks at a running trial's metric are."""

Steps = dict[int, float]


@dataclass
class _Known:
    runs: dict[str, Run] = field(default_factory=dict)
    steps: dict[str, tuple[float, bool, Steps]] = field(default_factory=dict)
    """By run: when it was asked for (monotonic), whether the run had ended by then, and the values by step."""


class Runs:
    """The runs of one execution. Not safe to use from several threads at a time."""

    def __init__(self, tracking: Tracking, experiment: str, experiment_id: str, execution: str) -> None:
        self._tracking = tracking
        self._tags = {EXPERIMENT_TAG: experiment}
        self._mine = {EXECUTION_TAG: execution}
        self._experiment_id = experiment_id
        self._known: _Known | None = None

    @property
    def cold(self) -> bool:
        """Whether nothing was read yet."""
        return self._known is None

    def look(self, *, whole: bool = False) -> tuple[Run, ...]:
        """Return the runs as they are now; `whole` asks for all of them again. Raises `TrackingError`."""
        tags = {**self._tags, **self._mine}
        known = self._known
        if known is None or whole:
            found = {run.run_id: run for run in self._tracking.search_runs(self._experiment_id, tags)}
            self._known = _Known(found, known.steps if known else {})
            return tuple(found.values())
        running = {run.run_id: run for run in self._tracking.search_runs(self._experiment_id, tags, running=True)}
        for run_id, run in tuple(known.runs.items()):
            if run.ended or run_id in running:
                continue
            now = self._tracking.get_run(run_id)
            if now is None:
                del known.runs[run_id]
            else:
                known.runs[run_id] = now
        known.runs.update(running)
        return tuple(known.runs.values())

    def stale(self) -> tuple[Run, ...]:
        """Return the running runs of other executions."""
        found = self._tracking.search_runs(self._experiment_id, self._tags, without=self._mine, running=True)
        return tuple(found)

    def note(self, run: Run) -> None:
        """Take in a run that was made or changed by ourselves."""
        if self._known is not None:
            self._known.runs[run.run_id] = run

    def tag(self, run: Run, tags: Mapping[str, str]) -> Run:
        """Set tags of a run. Raises `TrackingError`."""
        self._tracking.set_tags(run.run_id, tags)
        changed = replace(run, tags={**run.tags, **tags})
        self.note(changed)
        return changed

    def ended(self, run_id: str, status: RunStatus, end_time: int) -> None:
        """Take in that a run was marked as ended."""
        known = self._known.runs.get(run_id) if self._known else None
        if known is not None:
            self.note(replace(known, status=status, end_time=end_time))

    def steps(self, runs: Iterable[Run], metric: str) -> dict[str, Steps]:
        """Return the metric's values by step, by run. Raises `TrackingError`."""
        assert self._known is not None
        known, found = self._known.steps, {}
        for run in runs:
            asked, ended, steps = known.get(run.run_id, (-_HISTORY_SECONDS, False, {}))
            if not ended and (run.ended or time.monotonic() - asked >= _HISTORY_SECONDS):
                steps = dict(self._tracking.metric_history(run.run_id, metric))
                known[run.run_id] = (time.monotonic(), run.ended, steps)
            found[run.run_id] = steps
        return found


class RunsOfExecutions:
    """Keeps what was read of the executions that are under way, within bounds."""

    def __init__(self, make: Callable[[str, str, str], Runs]) -> None:
        self._make = make
        self._known: OrderedDict[tuple[str, str, str], Runs] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, experiment: str, experiment_id: str, execution: str) -> Runs:
        """Return the runs of an execution."""
        key = experiment, experiment_id, execution
        with self._lock:
            if key not in self._known:
                self._known[key] = self._make(*key)
                while len(self._known) > _KNOWN:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return self._known[key]

    def known(self, experiment: str) -> list[Runs]:
        """Return what is known of an Experiment's executions."""
        with self._lock:
            return [runs for key, runs in self._known.items() if key[0] == experiment]

    def forget(self, experiment: str) -> None:
        """Drop what is known of an Experiment: it is done, or gone."""
        with self._lock:
            for key in [key for key in self._known if key[0] == experiment]:
                del self._known[key]
