"""Runs operations on both registries, compares what comes back, and shrinks what does not agree."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from mlflow.store.model_registry.abstract_store import AbstractStore

from tests.differential import differences, rules
from tests.differential.differences import Difference
from tests.differential.operations import Environment, Operation
from tests.differential.outcomes import Outcome, outcome_of, without_times
from tests.differential.reference import Reference

_NO_FILES = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")
_TAKES_A_NUMBER_OR_NAME = ("create_", "copy_", "rename_")


class Subject(Protocol):
    """Modelyard's registry, with all that belongs to it."""

    shares_clock: bool
    """Whether both registries have the same time, so that times can be compared."""

    @property
    def store(self) -> AbstractStore:
        """The store."""

    def before(self) -> None:
        """Get ready for the next operation."""

    def after(self) -> None:
        """Let the operator do its part."""


class Mismatch(AssertionError):
    """The registries do not agree, and nothing says that they may."""

    def __init__(self, operation: Operation, reference: Outcome, ours: Outcome) -> None:
        super().__init__(f"{operation}\n  MLflow:    {reference}\n  Modelyard: {ours}")
        self.operation = operation


@dataclass
class Summary:
    """What was compared."""

    seen: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __iadd__(self, other: Summary) -> Summary:
        self.seen += other.seen
        self.errors += other.errors
        self.excused += other.excused
        self.seconds += other.seconds
        return self

    @property
    def operations(self) -> int:
        """How many operations were compared."""
        return self.seen.total()

    @property
    def counted(self) -> list[Difference]:
        """The differences that are recognised where they are met."""
        return [each for each in differences.DIFFERENCES if each not in differences.NOT_COUNTED]

    def table(self) -> str:
        """Return the numbers as a table for people."""
        lines = [f"{'operation':<38}{'compared':>9}{'refused':>9}"]
        lines += [f"{kind:<38}{count:>9}{self.errors[kind]:>9}" for kind, count in sorted(self.seen.items())]
        lines.append(f"{'all':<38}{self.operations:>9}{self.errors.total():>9}    in {self.seconds:.0f} s")
        lines += ["", f"{'difference on purpose':<38}{'met':>9}"]
        lines += [f"{each.name:<38}{self.excused[each.name]:>9}" for each in self.counted]
        return "\n".join(lines)


class Comparison:
    """One run on a fresh pair of registries."""

    def __init__(self, reference: Reference, subject: Subject, environment: Environment) -> None:
        self.summary = Summary()
        self._reference = reference
        self._subject = subject
        self._environment = environment
        self._used: dict[str, int] = {}

    def run(self, operations: Iterable[Operation]) -> None:
        """Run the operations. Raises `Mismatch`."""
        started = time.monotonic()
        for operation in operations:
            self._step(operation)
        self.summary.seconds = time.monotonic() - started

    def _step(self, operation: Operation) -> None:
        self._subject.before()
        if not operation.wrong_type and rules.exceeds_sizes(operation):
            _, ours = self._refused_by_ours(operation, differences.SIZES, ("INVALID_PARAMETER_VALUE",))
        elif not operation.wrong_type and rules.has_no_files(operation, self._reference, self._environment):
            _, ours = self._refused_by_ours(operation, differences.SOURCES, _NO_FILES)
        else:
            _, ours = self._both(operation)
        self._subject.after()
        self.summary.seen[operation.method] += 1
        self.summary.errors[operation.method] += bool(ours.error)

    def _refused_by_ours(
        self, operation: Operation, why: Difference, codes: tuple[str, ...]
    ) -> tuple[Outcome, Outcome]:
        """Where MLflow would take it, Modelyard refuses; where it would not, both refuse alike."""
        reference = self._reference.would(operation)
        ours = outcome_of(self._subject.store, operation, self._environment)
        if reference.error and ours.code not in codes:
            self._check(operation, reference, ours)
            return reference, ours
        if operation.method == "copy_model_version":
            # MLflow's own method makes the model first, and gives no code when the version fails.
            codes += ("INTERNAL_ERROR",)
        if ours.code not in codes:
            raise Mismatch(operation, reference, ours)
        if operation.method == "copy_model_version" and why is differences.SOURCES and not reference.error:
            self._reference.run(Operation("create_registered_model", {"name": operation["dst_name"]}))
            self._keep_numbers()
        self._excuse(why)
        return reference, ours

    def _both(self, operation: Operation) -> tuple[Outcome, Outcome]:
        if operation.method == "copy_model_version":
            self._make_model_of_copy(operation)
        nothing_changes = rules.changes_nothing(operation, self._reference)
        times = self._reference.times() if nothing_changes else {}
        reference = self._reference.run(operation)
        if operation.method == "transition_model_version_stage" and not reference.error:
            stage = rules.canonical_stage(operation["stage"])
            if stage in ("Staging", "Production"):
                left = self._reference.take_out_of_stage(operation["name"], stage, int(operation["version"]))
                self._excuse(differences.ONE_VERSION_A_STAGE, left)
        if nothing_changes and not reference.error:
            self._reference.restore_times(times)
        if operation.method.startswith(_TAKES_A_NUMBER_OR_NAME):
            self._keep_numbers()
        ours = outcome_of(self._subject.store, operation, self._environment)
        self._check(operation, reference, ours, nothing_changes=nothing_changes)
        return reference, ours

    def _make_model_of_copy(self, operation: Operation) -> None:
        """Let the model that a copy makes go on counting, too: MLflow's method makes it and the version in one go."""
        name = operation["dst_name"]
        if name in self._used and not self._reference.would(operation).error:
            self._reference.run(Operation("create_registered_model", {"name": name}))
            self._keep_numbers()

    def _keep_numbers(self) -> None:
        """Let MLflow's database go on counting where it would begin again."""
        newest = self._reference.newest_numbers()
        for name, number in newest.items():
            self._used[name] = max(self._used.get(name, 0), number)
        for name, number in self._used.items():
            if newest.get(name, 0) < number and self._reference.model(name) is not None:
                self._reference.count_from(name, number)
                self._excuse(differences.NUMBERS)

    def _check(self, operation: Operation, reference: Outcome, ours: Outcome, *, nothing_changes: bool = False) -> None:
        if self._subject.shares_clock and reference.agrees(ours):
            return
        timeless = Outcome(without_times(reference.value), reference.error, reference.code)
        ours_timeless = Outcome(without_times(ours.value), ours.error, ours.code)
        if timeless.agrees(ours_timeless) and (nothing_changes or not self._subject.shares_clock):
            if nothing_changes and not reference.error:
                self._excuse(differences.NOTHING_CHANGED)
            return
        if rules.answers_another_code(reference, ours, operation):
            self._excuse(differences.CODES)
            return
        if rules.downloads_elsewhere(reference, ours, operation, self._environment):
            self._excuse(differences.DOWNLOADS)
            return
        raise Mismatch(operation, reference, ours)

    def _excuse(self, difference: Difference, times: int = 1) -> None:
        self.summary.excused[difference.name] += times


NewPair = Callable[[], AbstractContextManager[Comparison]]


def compare(operations: Sequence[Operation], new_pair: NewPair, *, shrink_seconds: float = 60.0) -> Summary:
    """Run the operations on a fresh pair. Raises `AssertionError` with the shortest list found that does not agree."""
    with new_pair() as comparison:
        try:
            comparison.run(operations)
        except Mismatch as mismatch:
            found = mismatch
        else:
            return comparison.summary
    if not shrink_seconds:
        raise found
    shortest, least = _shrunk(operations, found, new_pair, shrink_seconds)
    listed = "\n".join(f"    {operation}," for operation in shortest)
    raise AssertionError(f"{least}\n  after (to run again):\n{listed}") from None


def _shrunk(
    operations: Sequence[Operation], mismatch: Mismatch, new_pair: NewPair, seconds: float
) -> tuple[list[Operation], Mismatch]:
    """Leave out what the mismatch does not need: halves first, then ever smaller pieces."""
    end = next(number for number, each in enumerate(operations) if each is mismatch.operation)
    kept = list(operations[: end + 1])
    deadline = time.monotonic() + seconds
    writes = [each for each in kept[:-1] if not each.method.startswith(("get_", "search_"))] + kept[-1:]
    if (again := _mismatch(writes, new_pair)) is not None and again.operation is mismatch.operation:
        kept, mismatch = writes, again
    size = len(kept) // 2
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(kept) - 1 and time.monotonic() < deadline:
            tried = kept[:start] + kept[min(start + size, len(kept) - 1) :]
            again = _mismatch(tried, new_pair)
            if again is not None and again.operation is mismatch.operation:
                kept, mismatch = tried, again
            else:
                start += size
        size //= 2
    return kept, mismatch


def _mismatch(operations: Sequence[Operation], new_pair: NewPair) -> Mismatch | None:
    with new_pair() as comparison:
        try:
            comparison.run(operations)
        except Mismatch as mismatch:
            return mismatch
    return None
