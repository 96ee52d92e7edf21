"""`reproduce`: run what a run ran, once more, and tell how what comes of it compares."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.text import Text

from modelyard.api.experiment import Experiment
from modelyard.api.names import KUBECTL_FIELD_MANAGER
from modelyard.api.project_files import TrialEnvironment, environment_from_json
from modelyard.cli import compare
from modelyard.cli.compare import Changed, Difference, Verdict
from modelyard.cli.errors import REFUSED, USAGE, CliError
from modelyard.cli.experiments import EXPERIMENTS, Experiments, is_over, state, succeeded
from modelyard.cli.original import Original, find_original, to_json
from modelyard.cli.output import BAD, GOOD, QUIET, Cell, Column, Output, short_digest, styled
from modelyard.cli.runs import LOOK_SECONDS
from modelyard.cli.tracking import Tracking
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    EXECUTION_TAG,
    EXPERIMENT_TAG,
    IMAGE_TAG,
    LOCK_ARTIFACT,
    MADE_BY_TAG,
    TRIAL_TAG,
    Run,
)
from modelyard.tracking.client import TrackingError

Json = dict[str, Any]

_PARENT_TAG = "mlflow.parentRunId"
_UNKNOWN = "–"  # noqa: RUF001 - a dash
_MOST = 20
"""So many packages are shown in a table."""

_METRICS = (
    Column("METRIC"),
    Column("THEN"),
    Column("NOW"),
    Column("DIFFERENCE"),
    Column("VERDICT"),
    Column("RUN", optional=True),
)
_STYLES = {Verdict.SAME: GOOD, Verdict.WITHIN: GOOD, Verdict.DIFFERS: BAD, Verdict.GONE: BAD, Verdict.NEW: "yellow"}


@dataclass(frozen=True)
class Report:
    """What came of it. `environment` says in words how the environments compare, `packages` what differs in them."""

    experiment: Experiment
    run: Run | None
    metrics: tuple[Difference, ...]
    parameters: tuple[Changed, ...]
    environment: str
    packages: tuple[Changed, ...]

    @property
    def differing(self) -> list[Difference]:
        """The metrics that speak against a reproduction."""
        return [each for each in self.metrics if each.verdict in (Verdict.DIFFERS, Verdict.GONE)]

    @property
    def is_same(self) -> bool:
        """Whether the run was reproduced."""
        return (
            self.run is not None and state(self.experiment) == "Succeeded" and not (self.differing or self.parameters)
        )


def reproduce(experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Make an Experiment that runs what the run ran, wait for its end, and compare."""
    if arguments.tolerance < 0:
        raise CliError(f"--tolerance {arguments.tolerance:g}: a difference is 0 or more", USAGE)
    tracking = experiments.reach()
    original = find_original(experiments, tracking, arguments.run, arguments.namespace, arguments.parameter or ())
    _check_metrics(original, arguments.metric or ())
    place = replace(experiments, namespace=original.namespace)
    made = _made(place, original)
    _announce(output, original, made=made, wait=arguments.wait)
    if not arguments.wait:
        return 0
    last = _waited(place, output, original, arguments.timeout)
    if not is_over(last):
        output.error(f"{original.name} has not ended after {arguments.timeout:g} s; the same command goes on with it")
        return REFUSED
    report = _report(tracking, original, last, arguments)
    _show(output, original, report, arguments)
    return 0 if report.is_same else REFUSED


def _check_metrics(original: Original, wanted: Sequence[str]) -> None:
    known = sorted({name for run in (original.run, *original.nested) for name in run.metrics})
    for name in wanted:
        if name not in known:
            raise CliError(f"--metric {name}: the run has no such metric; it has {', '.join(known) or 'none'}", USAGE)


def _made(experiments: Experiments, original: Original) -> bool:
    """Create the Experiment; return False where this very reproduction is there already. Raises `CliError`."""
    there = experiments.find(original.name)
    if there is None:
        experiments.client.create(EXPERIMENTS, original.namespace, original.body(), KUBECTL_FIELD_MANAGER)
        return True
    source = there.spec.project.run if there.spec.project else None
    if source is None or source.id != original.run.run_id:
        raise CliError(
            f"there is an experiment {original.name} in namespace {original.namespace} that does something else: "
            f"rename or delete it (kubectl delete experiment {original.name} -n {original.namespace})"
        )
    if there.spec.parameters != original.given:
        raise CliError(
            f"experiment {original.name} reproduces this run with other parameters: delete it first "
            f"(kubectl delete experiment {original.name} -n {original.namespace})"
        )
    return False


def _announce(output: Output, original: Original, *, made: bool, wait: bool) -> None:
    """Say what is done, what may be different, and how it is followed."""
    if output.is_json:
        if not wait:
            output.json(to_json(original))
        return
    say = output.note if wait else output.say
    verb = "runs" if made else "is there already, and runs"
    say(f"experiment {original.name} {verb} again what {original.called} ran: {original.what()}")
    for note in original.notes:
        output.note(f"note: {note}")
    if not wait:
        output.note(f"compare it with: kubectl modelyard reproduce {original.run.run_id}")


def _waited(experiments: Experiments, output: Output, original: Original, timeout: float | None) -> Experiment:
    begun = time.monotonic()
    with output.waiting() as progress:
        while True:
            experiment = experiments.get(original.name)
            if is_over(experiment) or (timeout is not None and time.monotonic() - begun >= timeout):
                return experiment
            condition = succeeded(experiment)
            said = f": {condition.message}" if condition and condition.message else ""
            progress.show(f"{original.name} is {state(experiment)}{said}")
            time.sleep(LOOK_SECONDS)


def _report(tracking: Tracking, original: Original, experiment: Experiment, arguments: Namespace) -> Report:
    """Compare the runs of then and of now."""
    status = experiment.status
    runs: list[Run] = []
    if status.experiment_id and status.execution:
        whose = f"{experiment.metadata.namespace}/{experiment.metadata.name}"
        found = tracking.client.search_runs(
            status.experiment_id, {EXPERIMENT_TAG: whose, EXECUTION_TAG: status.execution}
        )
        runs = sorted((run for run in found if TRIAL_TAG in run.tags), key=lambda run: run.start_time)[:1]
        runs += [run for run in found if runs and run.tags.get(MADE_BY_TAG) == runs[0].run_id]
    if not runs:
        return Report(experiment, None, (), (), "", ())
    old = (original.run, *original.nested)
    words, packages = _environments(tracking, original.run, runs[0])
    return Report(
        experiment,
        runs[0],
        tuple(compare.metrics(old, runs, arguments.tolerance, arguments.metric or ())),
        tuple(compare.parameters(original.run, runs[0])),
        words,
        tuple(packages),
    )


def _environments(tracking: Tracking, old: Run, new: Run) -> tuple[str, list[Changed]]:
    """Return how the environments compare, in words, and the packages that differ."""
    images = [run.tags.get(IMAGE_TAG, "") for run in (old, new)]
    image = f"the image is {images[1]}, and was {images[0]}; " if images[0] != images[1] else ""
    was, now = (_environment(run) for run in (old, new))
    if was and now and was.lock and was.lock == now.lock:
        return f"{image}the same {now.packages} packages, lock {short_digest(now.lock)}", []
    texts = [_lock(tracking, run) for run in (old, new)]
    if texts[0] is None or texts[1] is None:
        missing = old if texts[0] is None else new
        return f"{image}how the packages compare is not known: run {missing.run_id} kept no {LOCK_ARTIFACT}", []
    packages = compare.packages(texts[0], texts[1])
    if not packages:
        return f"{image}the same packages", []
    return f"{image}{'one package differs' if len(packages) == 1 else f'{len(packages)} packages differ'}", packages


def _environment(run: Run) -> TrialEnvironment | None:
    try:
        return environment_from_json(run.tags[ENVIRONMENT_TAG])
    except (KeyError, ValueError):
        return None


def _lock(tracking: Tracking, run: Run) -> str | None:
    """Return the list of all packages, which the parent of a sweep has for its trials."""
    holder = tracking.client.get_run(run.tags[_PARENT_TAG]) if _PARENT_TAG in run.tags else run
    try:
        return tracking.text(holder, LOCK_ARTIFACT) if holder else None
    except TrackingError:
        # Its tags may still tell; a comparison of metrics is worth having without it.
        return None


def _show(output: Output, original: Original, report: Report, arguments: Namespace) -> None:
    if output.is_json:
        output.json(_to_json(original, report))
        return
    experiment = report.experiment
    condition = succeeded(experiment)
    output.say(
        Text.assemble((original.name, "bold"), " ", styled(state(experiment))),
        f": {condition.message}" if condition and condition.message else "",
    )
    if report.run is None:
        output.note("it has made no run, so that there is nothing to compare")
        return
    output.say(f"run {report.run.run_id} now, run {original.run.run_id} then")
    if report.metrics:
        output.say("")
        output.table(_METRICS, [_row(each) for each in report.metrics])
    output.say("")
    _show_changed(output, "PARAMETER", report.parameters)
    output.say("environment: ", Text(report.environment, "" if report.packages else GOOD))
    _show_changed(output, "PACKAGE", report.packages)
    output.say(_verdict(report, arguments.tolerance))
    name, namespace = experiment.metadata.name, experiment.metadata.namespace
    output.note(f"its run stays in MLflow when it goes: kubectl delete experiment {name} -n {namespace}")


def _row(each: Difference) -> list[Cell]:
    difference = _UNKNOWN if each.difference is None else f"{each.difference:+.6g}" if each.difference else "0"
    values = [_UNKNOWN if value is None else f"{value:.10g}" for value in (each.old, each.new)]
    return [each.metric, *values, difference, Text(each.verdict, _STYLES[each.verdict]), each.run]


def _show_changed(output: Output, title: str, changed: Sequence[Changed]) -> None:
    if not changed:
        return
    columns = (Column(title), Column("THEN"), Column("NOW"))
    output.table(columns, [[each.name, each.old or _UNKNOWN, each.new or _UNKNOWN] for each in changed[:_MOST]])
    if len(changed) > _MOST:
        output.note(f"{len(changed) - _MOST} more: -o json")
    output.say("")


def _verdict(report: Report, tolerance: float) -> Text:
    """Return the answer in a sentence."""
    within = f" (a difference of up to {tolerance:g} is none)" if tolerance else ""
    if state(report.experiment) != "Succeeded":
        return Text("not reproduced: it has not succeeded this time", BAD)
    if report.parameters:
        names = ", ".join(each.name for each in report.parameters)
        return Text(f"not the same run: other parameters: {names}", BAD)
    if report.differing:
        names = ", ".join(dict.fromkeys(each.metric for each in report.differing))
        return Text(
            f"not reproduced: {len(report.differing)} of {len(report.metrics)} metrics differ{within}: {names}", BAD
        )
    if not report.metrics:
        return Text("there are no metrics to compare", QUIET)
    return Text(f"reproduced: {len(report.metrics)} of {len(report.metrics)} metrics are the same{within}", GOOD)


def _to_json(original: Original, report: Report) -> Json:
    condition = succeeded(report.experiment)
    return {
        **to_json(original),
        "state": state(report.experiment),
        "succeeded": condition.to_dict() if condition else None,
        "reproduction": report.run.run_id if report.run else None,
        "reproduced": report.is_same,
        "metrics": [
            {
                "metric": each.metric,
                "run": each.run or None,
                "then": _plain(each.old),
                "now": _plain(each.new),
                "difference": _plain(each.difference),
                "verdict": each.verdict.value,
            }
            for each in report.metrics
        ],
        "parameters": [{"name": each.name, "then": each.old, "now": each.new} for each in report.parameters],
        "environment": report.environment,
        "packages": [{"name": each.name, "then": each.old, "now": each.new} for each in report.packages],
    }


def _plain(value: float | None) -> float | str | None:
    """Return a number as JSON has it."""
    return value if value is None or abs(value) < float("inf") else str(value)
