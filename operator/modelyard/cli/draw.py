"""Draws a deployment's status: as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table
from rich.text import Text

from modelyard.api.modeldeployment import ModelReference
from modelyard.api.rollout import Figure
from modelyard.cli.output import BAD, GOOD, QUIET, Cell, Column, Output, Part, short_age, short_time, styled
from modelyard.cli.picture import Advice, Picture, Row
from modelyard.cli.rollout_line import Point, State
from modelyard.cli.traffic import p99
from modelyard.decide.analysis_figures import duration
from modelyard.decide.pod_metrics import PodMetrics

_UNKNOWN = "–"  # noqa: RUF001 - a dash
_HELD = "yellow"

_VERSIONS = (
    Column("ROLE"),
    Column("VERSION"),
    Column("WEIGHT"),
    Column("PODS"),
    Column("REQUESTS"),
    Column("ERRORS"),
    Column("P99"),
    Column("SINCE"),
    Column("REVISION", wide=True),
    Column("FROM", wide=True),
)
_FIGURES = (
    Column("FIGURE"),
    Column("FOUND"),
    Column("BOUND"),
    Column("SAMPLES"),
    Column("VERDICT"),
    Column("WHY", folds=True, optional=True),
)


def draw(output: Output, picture: Picture) -> list[Part]:
    """Return what `status` writes, part by part."""
    parts: list[Part] = [_header(picture)]
    if picture.rows:
        parts += [Text(""), output.laid_out(_VERSIONS, [_cells(row, picture.at) for row in picture.rows])]
    if picture.points:
        assert picture.deployment.status.rollout
        strategy = picture.deployment.status.rollout.strategy
        parts += [Text(""), Text.assemble((f"{strategy}   ", "bold"), _line(picture.points))]
    if picture.figures:
        parts += [Text(""), output.laid_out(_FIGURES, [_figure(figure) for figure in picture.figures])]
    for advice, style in ((picture.paused, _HELD), (picture.held, _HELD), (picture.refused, BAD)):
        if advice:
            parts += [Text(""), *_advice(advice, style)]
    if picture.notes:
        parts += [Text(""), *(Text(note, QUIET) for note in picture.notes)]
    return parts


def _header(picture: Picture) -> Table:
    deployment = picture.deployment
    status, ready = deployment.status, picture.ready
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(deployment.metadata.name, styled(status.phase or "Pending"))
    table.add_row("model", model_words(deployment.spec.model))
    if ready:
        said = Text.assemble(styled(ready.status), f" {ready.reason}", f": {ready.message}" if ready.message else "")
        table.add_row("ready", said)
    else:
        table.add_row("ready", "the operator has not said anything yet")
    if picture.remedy:
        table.add_row("to do", picture.remedy)
    if status.url:
        table.add_row("url", status.url)
    return table


def model_words(reference: ModelReference) -> str:
    """Return which version is wanted, in words."""
    if reference.stage is not None:
        return f"{reference.name}, what is in {reference.stage}"
    if reference.alias is not None:
        return f"{reference.name}, what has the alias {reference.alias}"
    return f"{reference.name}, version {reference.version}"


def _cells(row: Row, now: datetime) -> list[Cell]:
    return [
        styled(row.role),
        str(row.version),
        _weight(row),
        f"{row.pods.ready}/{row.pods.wanted}" if row.pods else _UNKNOWN,
        *_traffic(row.counted, row.seconds),
        short_age((now - datetime.fromisoformat(row.since)).total_seconds()) if row.since else _UNKNOWN,
        row.revision,
        short_time(row.since),
    ]


def _weight(row: Row) -> str:
    """Return the share that there is, and the one that is wanted where that is another."""
    if row.weight == row.wanted_weight:
        return f"{row.weight} %"
    return f"{row.weight} % of {row.wanted_weight} %"


def _traffic(counted: PodMetrics | None, seconds: float | None) -> list[Cell]:
    """Return requests, errors and the 99th percentile: totals, or rates where it is known over how long."""
    if counted is None:
        return [_UNKNOWN] * 3
    requests, failed = sum(counted.requests.values()), counted.failed
    said = str(requests) if seconds is None else f"{requests / max(seconds, 1e-9):.1f}/s"
    if not requests:
        return [said, _UNKNOWN, _UNKNOWN]
    errors = Text(f"{failed} ({_percent(failed / requests)})", BAD) if failed else "0"
    slowest = p99(counted)
    return [said, errors, _UNKNOWN if slowest is None else duration(slowest)]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else "100 %"


def _line(points: Iterable[Point]) -> Text:
    styles = {State.DONE: GOOD, State.CURRENT: "bold cyan", State.AHEAD: QUIET}
    words = []
    for point in points:
        tail = {State.DONE: " ✓", State.CURRENT: f" {point.doing}"}.get(point.state, "")
        words.append(Text(f"{point.label}{tail}", styles[point.state]))
    return Text(" → ").join(words)


def _figure(figure: Figure) -> list[Cell]:
    return [
        figure.name,
        figure.found or _UNKNOWN,
        figure.bound or _UNKNOWN,
        str(figure.samples),
        styled(figure.verdict),
        figure.message,
    ]


def _advice(advice: Advice, style: str) -> list[Part]:
    """Return what stands still and why, and below it the commands that change that."""
    why = f": {advice.why}" if advice.why else ""
    parts: list[Part] = [Text.assemble((advice.what, style), why)]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style=QUIET)
    for command, effect in advice.commands:
        table.add_row(f"  {command}", effect)
    return [*parts, table]
