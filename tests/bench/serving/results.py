"""What the measurements of one run say: medians, ratios and whether what is to be reached was reached. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.serving.load import MANY_ROWS, ONE_ROW, Load, Measured
from tests.bench.serving.models import FOREST
from tests.bench.serving.processes import Memory
from tests.bench.serving.servers import BARE, MLFLOW, MLSERVER

Rounds = Mapping[str, Sequence[Measured]]
"""By server; one for each round, the same rounds for each server."""
TIMES = {
    (FOREST, MLFLOW): 120.0,
    (FOREST, MLSERVER): 80.0,
    ("boosting", MLFLOW): 15.0,
    ("boosting", MLSERVER): 8.0,
    ("logistic", MLFLOW): 15.0,
    ("logistic", MLSERVER): 8.0,
}
"""By model and peer: as many times its answers a second, with one row in a request."""
OF_BARE = 1 / 5
OF_MLFLOWS_MEMORY = 1 / 2
START_SECONDS = 1.0
"""Beyond the download."""


@dataclass(frozen=True)
class Spread:
    """The median of some rounds, between the least and the most."""

    median: float
    least: float
    most: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        """Raises StatisticsError for no values."""
        return Spread(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 1) -> str:
        """Write it for a table."""
        return f"{self.median:,.{digits}f} ({self.least:,.{digits}f}–{self.most:,.{digits}f})"  # noqa: RUF001


@dataclass(frozen=True)
class Target:
    """Something that is to be reached, and what was."""

    model: str
    what: str
    wanted: str
    measured: str
    met: bool


def rates(rounds: Sequence[Measured]) -> Spread:
    """Answers a second."""
    return Spread.of([each.rate for each in rounds])


def p99s(rounds: Sequence[Measured]) -> Spread:
    """Milliseconds."""
    return Spread.of([each.p99 for each in rounds])


def ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> Spread:
    """How many times their rate ours is, each round's compared with the same round's: noise mostly hits both.

    All of them are valid, so none is 0.
    """
    return Spread.of([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)])


def targets_of_load(model: str, load: Load, rounds: Rounds, ours: str) -> list[Target]:
    """Compare our server with all others that were measured under a load."""
    found = []
    for peer in (MLFLOW, MLSERVER):
        if peer not in rounds:
            continue
        wanted = 1.0 if load == MANY_ROWS else TIMES[model, peer]
        times = ratio(rounds[ours], rounds[peer])
        found.append(
            Target(model, f"{load.name}: times {peer}'s rate", f"≥ {wanted:g}", times.text(), times.median >= wanted)
        )
        if load in ONE_ROW:
            our, their = p99s(rounds[ours]), p99s(rounds[peer])
            text = f"{our.median:,.2f} ms, {their.median:,.2f} ms"
            found.append(Target(model, f"{load.name}: p99 beside {peer}'s", "lower", text, our.median < their.median))
    if load in ONE_ROW and BARE in rounds:
        share = ratio(rounds[ours], rounds[BARE])
        met = share.median >= OF_BARE
        found.append(Target(model, f"{load.name}: of bare uvicorn's rate", f"≥ {OF_BARE:g}", share.text(2), met))
    return found


def target_of_memory(model: str, ours: Memory, mlflows: Memory) -> Target:
    """Compare what the processes hold after the load."""
    share = ours.rss / mlflows.rss
    text = f"{share:.2f} ({ours.rss:.0f} of {mlflows.rss:.0f} MiB)"
    return Target(model, "memory (RSS) of mlflow's", f"≤ {OF_MLFLOWS_MEMORY:g}", text, share <= OF_MLFLOWS_MEMORY)


def target_of_start(model: str, start: float, fetch: float) -> Target:
    """Judge the time from the process's start to ready, without its download."""
    text = f"{start - fetch:.2f} s (and {fetch:.2f} s of download)"
    return Target(model, "start beyond the download", f"≤ {START_SECONDS:g} s", text, start - fetch <= START_SECONDS)
