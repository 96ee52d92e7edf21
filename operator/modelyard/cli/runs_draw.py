"""Draws an Experiment's trials: progress, the objective's curve, a table, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from modelyard.api.common import ConditionStatus
from modelyard.api.experiment import Experiment
from modelyard.api.experiment_status import ExecutionTrigger, RunCounts, Trigger
from modelyard.api.reasons import EXPLANATIONS, Reason
from modelyard.cli.curve import curve
from modelyard.cli.experiments import state, succeeded
from modelyard.cli.output import BAD, GOOD, QUIET, Cell, Column, Format, Output, Part, short_age, short_digest, styled
from modelyard.cli.runs_look import RunsLook, elapsed, remaining
from modelyard.cli.trials import Trial, parameters, points, ranking, shown
from modelyard.decide.experiment_outcome import Phase

_UNKNOWN = "–"  # noqa: RUF001 - a dash
_PIPE_WIDTH = 80
_ROWS = 12
_WIDEST = 110
_LOW = 30
_GAP = 3
_FAILURES = 3
_METRICS = 3
_NUMBER_LIMIT = 10
_BAR = {Phase.SUCCEEDED: ("█", GOOD), Phase.STOPPED: ("▓", "yellow"), Phase.FAILED: ("╳", BAD)}  # noqa: RUF001 - a cross
_RUNNING_BAR, _COMING_BAR = ("▒", "cyan"), ("░", QUIET)


@dataclass(frozen=True)
class Space:
    """What there is to draw on: columns, None where nothing is cut off, and rows, None where it may be any number."""

    width: int | None = None
    height: int | None = None
    everything: bool = False
    """All trials, and whole messages."""

    @property
    def columns(self) -> int:
        """How wide pictures are."""
        return min(self.width or _PIPE_WIDTH, _WIDEST)

    @property
    def is_low(self) -> bool:
        """Whether there is room for the most important only."""
        return self.height is not None and self.height < _LOW

    @property
    def curve_rows(self) -> int:
        """How high the curve is, without its axis."""
        return 10 if self.height is None else min(12, max(4, (self.height - 12) // 2))


def draw(output: Output, look: RunsLook, space: Space) -> list[Part]:
    """Return what `runs` writes, part by part."""
    parts: list[Part] = [*_header(look, space)]
    if look.counts.total > 1:
        parts += [Text(""), *_progress(look, space)]
    parts += _curve(look, space)
    tail = _tail(look, space)
    parts += _table(output, look, space, len(parts) + len(tail))
    return [_cut(part, space) if isinstance(part, Text) else part for part in (*parts, *tail)]


def _header(look: RunsLook, space: Space) -> list[Text]:
    experiment, status = look.experiment, look.experiment.status
    word = state(experiment)
    seconds = elapsed(experiment, look.at)
    since = "" if seconds is None else f" {'for' if status.finished_at is None else 'in'} {short_age(seconds)}"
    rows = [Text.assemble((experiment.metadata.name, "bold"), "   ", styled(word), since)]
    if execution := look.execution or status.execution:
        begun = _begun(status.trigger) if execution == status.execution else ", one of before"
        rows.append(_line("execution", f"{execution}{begun}"))
    if not space.is_low:
        rows.append(_line("project", _project(experiment)))
    if status.environment and (status.environment.packages or status.environment.message) and not space.is_low:
        rows.append(_line("environment", _environment(experiment)))
    condition = succeeded(experiment)
    if condition is None:
        rows.append(_line("state", "the operator has not said anything yet"))
    elif word != "Running":
        said = f"{condition.reason}: {condition.message}" if condition.message else condition.reason
        rows.append(_line("state", said if space.height is None else said[: 2 * space.columns - 20]))
    if condition and condition.status == ConditionStatus.FALSE and condition.reason in set(Reason):
        rows.append(_line("to do", EXPLANATIONS[Reason(condition.reason)].remedy))
    if status.registered:
        made = status.registered
        rows.append(_line("registered", f"version {made.version} of {made.model}"))
    return rows


def _line(title: str, words: str) -> Text:
    return Text.assemble((f"{title:<11}   ", "bold"), words)


def _begun(trigger: ExecutionTrigger | None) -> str:
    if trigger is None:
        return ""
    words = {Trigger.SPEC: "its spec", Trigger.ANNOTATION: "request", Trigger.SCHEDULE: "the schedule"}
    value = f" {trigger.value}" if trigger.value else ""
    return f", begun by {words[trigger.kind]}{value}"


def _project(experiment: Experiment) -> str:
    source, spec, commit = experiment.spec.project, experiment.spec, experiment.status.commit
    if source is None:
        return "none: it follows the runs that others log"
    if source.git:
        where = source.git.url if source.git.path == "." else f"{source.git.url}#{source.git.path}"
        what = f"{where} at {(commit or source.git.revision)[:12]}"
    elif source.config_map:
        what = f"ConfigMap {source.config_map.name}"
    elif source.s3:
        what = source.s3.uri
    elif source.image:
        what = f"{source.image.path} of the image"
    else:
        assert source.run is not None
        what = f"what run {source.run.id} ran"
    return f"{what}, entry point {spec.entry_point}"


def _environment(experiment: Experiment) -> str:
    found = experiment.status.environment
    assert found is not None
    parts = [f"{found.packages} packages"] if found.packages else []
    parts += [f"lock {short_digest(found.lock)}"] if found.lock else []
    return ", ".join(parts + ([found.message] if found.message else []))


def _progress(look: RunsLook, space: Space) -> list[Text]:
    """Return the bar, which tells states by its forms, too, and the numbers."""
    counts = look.counts
    ended = counts.succeeded + counts.failed + counts.stopped
    left = remaining(look)
    words = f"{ended} of {counts.total} ended" + (f", about {short_age(left)} to go" if left else "")
    bar = _bar(counts, max(10, space.columns - len(words) - 2))
    said = [
        (f"{counts.succeeded} succeeded", GOOD if counts.succeeded else QUIET),
        *([(f"{counts.stopped} stopped early", "yellow")] if counts.stopped else []),
        (f"{counts.failed} failed", BAD if counts.failed else QUIET),
        *([(f"{counts.running} running", "cyan")] if counts.running else []),
        *(
            [(f"{counts.total - ended - counts.running} to come", QUIET)]
            if counts.total > ended + counts.running
            else []
        ),
    ]
    return [bar.append(f"  {words}"), Text("   ").join(Text(*each) for each in said)]


def _bar(counts: RunCounts, width: int) -> Text:
    sizes = [
        (*_BAR[Phase.SUCCEEDED], counts.succeeded),
        (*_BAR[Phase.STOPPED], counts.stopped),
        (*_BAR[Phase.FAILED], counts.failed),
        (*_RUNNING_BAR, counts.running),
    ]
    bar, done, drawn = Text(), 0, 0
    for form, style, count in sizes:
        done += count
        # What there is at all is at least one cell wide.
        until = min(width, max(round(width * done / max(counts.total, 1)), drawn + (count > 0)))
        bar.append(form * (until - drawn), style)
        drawn = until
    return bar.append(_COMING_BAR[0] * (width - drawn), _COMING_BAR[1])


def _curve(look: RunsLook, space: Space) -> list[Part]:
    objective = look.objective
    if objective is None or len([trial for trial in look.trials if trial.value is not None]) < 2:
        return []
    total = look.counts.total if look.experiment.spec.sweep else 0
    lines = curve(points(look.trials), objective.goal, width=space.columns, height=space.curve_rows, trials=total)
    if not lines:
        return []
    ranked = ranking(look.trials, objective)
    best = f"best {number(ranked[0].value)}: {_called(ranked[0])}" if ranked else "no trial has succeeded yet"
    title = Text.assemble((objective.metric, "bold"), (f", {objective.goal.lower()}d", QUIET))
    room = space.columns - len(title.plain) - len(best)
    return [Text(""), title.append(" " * max(_GAP, room)).append(best, f"bold {GOOD}"), *lines]


def _called(trial: Trial) -> str:
    return f"trial {trial.number}" if trial.number is not None else trial.name


def _table(output: Output, look: RunsLook, space: Space, used: int) -> list[Part]:
    if not look.trials:
        return []
    most = _ROWS if space.height is None else max(3, space.height - used - 4)
    chosen = shown(look.trials, look.objective, None if space.everything else most)
    columns, cells = _columns(look, chosen)
    fitting, left_out = _fitting(columns, cells, space.width, wide=output.format == Format.WIDE)
    rows = [[row[index] for index in fitting] for row in cells]
    parts: list[Part] = [Text(""), output.laid_out([columns[index] for index in fitting], rows)]
    more = [f"{len(look.trials) - len(chosen)} more trials: --all"] if len(chosen) < len(look.trials) else []
    more += [f"{left_out} more columns: a wider terminal, or a pipe"] if left_out else []
    return parts + ([Text("; ".join(more), QUIET)] if more else [])


def _columns(look: RunsLook, trials: Sequence[Trial]) -> tuple[list[Column], list[list[Cell]]]:
    names = parameters(look.experiment, look.trials)
    metrics = [] if look.objective else _common_metrics(trials)
    numbered = any(trial.number is not None for trial in trials)
    columns = [Column("TRIAL" if numbered else "RUN"), Column("STATE")]
    columns += [Column(look.objective.metric)] if look.objective else []
    columns.append(Column("TIME"))
    columns += [Column("RUN ID", wide=True), *(Column(name) for name in (*metrics, *names)), Column("NAME", wide=True)]
    return columns, [_row(look, trial, metrics, names) for trial in trials]


def _row(look: RunsLook, trial: Trial, metrics: Sequence[str], names: Sequence[str]) -> list[Cell]:
    label = str(trial.number) if trial.number is not None else trial.name
    row: list[Cell] = [Text.assemble(label, (" ★", GOOD)) if trial.best else label, styled(trial.phase.value)]
    if look.objective:
        row.append(Text(number(trial.value), f"bold {GOOD}" if trial.best else ""))
    row.append(_UNKNOWN if trial.seconds is None else short_age(trial.seconds))
    row.append(trial.run_id)
    row += [number(trial.metrics.get(name)) for name in metrics]
    row += [_short(trial.parameters.get(name, "")) for name in names]
    return [*row, trial.name]


def _common_metrics(trials: Sequence[Trial]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in trial.metrics if not name.startswith("system/"))
    return list(names)[:_METRICS]


def _fitting(
    columns: Sequence[Column], cells: Sequence[Sequence[Cell]], width: int | None, *, wide: bool
) -> tuple[list[int], int]:
    """Return the columns for which there is room, the first ones first, and how many there are no room for."""
    if width is None:
        return list(range(len(columns))), 0
    fitting, left, out = [], width + _GAP, 0
    for index, column in enumerate(columns):
        size = _GAP + max(len(column.title), *(len(str(row[index])) for row in cells))
        if column.wide and not wide:
            fitting.append(index)
        elif size <= left:
            fitting.append(index)
            left -= size
        else:
            out += 1
    return fitting, out


def number(value: float | None) -> str:
    """Return a metric's value as people read it."""
    return _UNKNOWN if value is None else f"{value:.6g}"


def _short(value: str) -> str:
    """Return a parameter's value; a number with many digits in fewer."""
    if len(value) <= _NUMBER_LIMIT:
        return value
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value if len(value) <= 3 * _NUMBER_LIMIT else value[: 3 * _NUMBER_LIMIT - 1] + "…"


def _tail(look: RunsLook, space: Space) -> list[Part]:
    """Return why trials failed or were stopped, what could not be seen, and what to do next."""
    told = [trial for trial in look.trials if trial.phase in (Phase.FAILED, Phase.STOPPED) and trial.why]
    few = 0 if space.is_low else 1 if space.height else _FAILURES
    newest = told[::-1] if space.everything else told[::-1][:few]
    parts: list[Part] = [_why(trial) for trial in newest]
    if len(newest) < len(told) and not space.height:
        parts.append(Text(f"{len(told) - len(newest)} more that failed or were stopped: --all", QUIET))
    notes: list[Part] = [Text(note, QUIET) for note in look.notes]
    steps: list[Part] = [] if space.height else _steps(look)
    return [*_below(parts), *_below(notes), *_below(steps)]


def _below(parts: list[Part]) -> list[Part]:
    return [Text(""), *parts] if parts else []


def _why(trial: Trial) -> Text:
    failed = trial.phase is Phase.FAILED
    word = ("failed", BAD) if failed else ("stopped early", "yellow")
    return Text.assemble(f"{_called(trial)} ", word, f": {' '.join(trial.why.split())}")


def _steps(look: RunsLook) -> list[Part]:
    """Return the commands that make sense now, with what each does."""
    experiment = look.experiment
    name, word = experiment.metadata.name, state(experiment)
    steps: list[tuple[str, str]] = []
    if word == "Running" and look.execution in (None, experiment.status.execution):
        steps.append((f"kubectl modelyard runs {name} --watch", "goes on looking"))
    if experiment.spec.suspend:
        steps.append((f"kubectl modelyard resume {name}", "starts trials again"))
    if made := experiment.status.registered:
        steps.append((f"kubectl modelyard promote {made.model} {made.version}", "asks for it in production"))
    ranked = ranking(look.trials, look.objective)
    if ranked and experiment.spec.project and word in ("Succeeded", "Failed"):
        which = f"{name}/best" if look.execution == experiment.status.execution else ranked[0].run_id
        steps.append((f"kubectl modelyard reproduce {which}", "runs the best again, and compares"))
    if word == "Failed" and experiment.spec.project:
        failed = next((trial for trial in look.trials[::-1] if trial.phase is Phase.FAILED and trial.run_id), None)
        if failed:
            steps.append((f"modelyard/log.txt of run {failed.run_id}", f"the log of {_called(failed)}, in MLflow"))
        steps.append((f"kubectl modelyard run {name}", "runs it once more"))
    width = max((len(command) for command, _ in steps), default=0)
    return [Text.assemble(f"  {command:<{width}}   ", (effect, QUIET)) for command, effect in steps]


def _cut(line: Text, space: Space) -> Text:
    """Cut a line off at the terminal's edge, where it is drawn again and again and has to fit."""
    if space.height is not None and space.width is not None and len(line.plain) > space.width:
        line.truncate(space.width, overflow="ellipsis")
    return line
