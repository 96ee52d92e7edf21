"""Compares what a run gave with what it gave again: metrics, parameters, and the packages it ran with. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modelyard.decide.experiment_model import Run

_SYSTEM = "system/"
"""Metrics of the machine, https://mlflow.org/docs/latest/ml/tracking/system-metrics/."""

_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:==|@)\s*(\S+)")
_COMMENTS = {"# python: ": "python", "# conda: ": ""}
_NORMAL = re.compile(r"[-_.]+")


class Verdict(StrEnum):
    """How a value compares."""

    SAME = "Same"
    WITHIN = "Within"
    DIFFERS = "Differs"
    GONE = "Gone"
    NEW = "New"


@dataclass(frozen=True)
class Difference:
    """A metric of then and of now; `run` names the run that the program made by itself, empty for the trial's own."""

    run: str
    metric: str
    old: float | None
    new: float | None
    verdict: Verdict

    @property
    def difference(self) -> float | None:
        """Now less then."""
        return None if self.old is None or self.new is None else self.new - self.old


def metrics(old: Sequence[Run], new: Sequence[Run], tolerance: float, only: Collection[str] = ()) -> list[Difference]:
    """Compare the newest values of every metric, or of `only` these.

    The first run of each is the trial's, the others are those that its program made, matched by their names; where
    those are not the same, by their order. A difference up to `tolerance` is none to speak of.
    """
    found = []
    for label, before, after in _pairs(old, new):
        was, now = (run.metrics if run else {} for run in (before, after))
        for metric in sorted({*was, *now}):
            if metric in only or (not only and not metric.startswith(_SYSTEM)):
                values = was.get(metric), now.get(metric)
                found.append(Difference(label, metric, *values, _verdict(*values, tolerance)))
    return found


def _pairs(old: Sequence[Run], new: Sequence[Run]) -> list[tuple[str, Run | None, Run | None]]:
    nested, again = old[1:], new[1:]
    if Counter(run.name for run in nested) == Counter(run.name for run in again):
        nested, again = sorted(nested, key=_by_name), sorted(again, key=_by_name)
    count = max(len(nested), len(again))
    rest: list[tuple[str, Run | None, Run | None]] = []
    for place in range(count):
        before, after = (runs[place] if place < len(runs) else None for runs in (nested, again))
        named = before or after
        rest.append((named.name or named.run_id if named else "", before, after))
    return [("", old[0] if old else None, new[0] if new else None), *rest]


def _by_name(run: Run) -> tuple[str, int]:
    return run.name, run.start_time


def _verdict(old: float | None, new: float | None, tolerance: float) -> Verdict:
    if old is None or new is None:
        return Verdict.NEW if old is None else Verdict.GONE
    if old == new or (math.isnan(old) and math.isnan(new)):
        return Verdict.SAME
    return Verdict.WITHIN if abs(new - old) <= tolerance else Verdict.DIFFERS


@dataclass(frozen=True)
class Changed:
    """Something that has another value now; None where there is none."""

    name: str
    old: str | None
    new: str | None


def parameters(old: Run, new: Run) -> list[Changed]:
    """Return the parameters that the runs do not have in common."""
    return _changed(dict(old.parameters), dict(new.parameters))


def packages(old: str, new: str) -> list[Changed]:
    """Return what two environments' locks do not have in common."""
    return _changed(_read(old), _read(new))


def _changed(old: dict[str, str], new: dict[str, str]) -> list[Changed]:
    names = sorted({*old, *new})
    return [Changed(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _read(lock: str) -> dict[str, str]:
    """Return the versions by package: lines of a requirements file, and comments that name Python and conda's."""
    found: dict[str, str] = {}
    for line in lock.splitlines():
        for beginning, name in _COMMENTS.items():
            if line.startswith(beginning):
                value = line.removeprefix(beginning).strip()
                found |= {name: value} if name else _conda(value)
        if match := _PACKAGE.match(line):
            found[_NORMAL.sub("-", match[1]).lower()] = match[2]
    return found


def _conda(url: str) -> dict[str, str]:
    """Return the package of `https://…/<name>-<version>-<build>.conda#sha256:…`."""
    file = url.partition("#")[0].rpartition("/")[2].removesuffix(".conda").removesuffix(".tar.bz2")
    name, _, rest = file.rpartition("-")
    name, _, version = name.rpartition("-")
    return {f"{name} (conda)": f"{version} {rest}"} if name else {}
