"""`runs`: an Experiment's trials, its progress and its objective's curve, live while it runs."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator

from modelyard.cli.errors import REFUSED, USAGE, CliError
from modelyard.cli.experiments import Experiments, is_over, state
from modelyard.cli.output import Output
from modelyard.cli.runs_draw import Space, draw
from modelyard.cli.runs_look import Json, RunsLook, RunsLooker

LOOK_SECONDS = 2.0
"""How often it is looked while somebody watches or waits."""

_SHARE = 4.0
"""Looking takes at most one part of so many of the time: a thousand runs are not asked for every two seconds."""

_MOVING = ("Pending", "Waiting", "Building", "Running")
"""What is worth watching without being asked to."""

Over = Callable[[RunsLook], bool]


def runs(experiments: Experiments, output: Output, arguments: Namespace) -> int:
    """Show the trials; live on a terminal as long as they run, else once, or for every change with `watch`."""
    if arguments.watch and arguments.once:
        raise CliError("--watch and --once contradict each other", USAGE)
    looker = RunsLooker(experiments, arguments.experiment, arguments.execution)
    seen = looker()
    terminal = output.size is not None and not output.is_json
    if not arguments.watch and (arguments.once or not terminal or state(seen.experiment) not in _MOVING):
        show(output, seen, everything=arguments.all)
        return 0
    final = follow(looker, output, lambda look: is_over(look.experiment), seen, everything=arguments.all)
    return REFUSED if state(final.experiment) == "Failed" else 0


def show(output: Output, look: RunsLook, *, everything: bool = False) -> None:
    """Write what was seen, once."""
    if output.is_json:
        output.json(look.to_json())
        return
    size = output.size
    output.draw(draw(output, look, Space(size[0] if size else None, None, everything)))


def follow(
    look: Callable[[], RunsLook],
    output: Output,
    over: Over,
    seen: RunsLook | None = None,
    *,
    timeout: float | None = None,
    everything: bool = False,
) -> RunsLook:
    """Draw every look until it is `over`, or `timeout` seconds have passed, and return the last one.

    In place on a terminal; below each other, and only what has changed, elsewhere; for a program a line of JSON for
    every change.
    """
    looks = _looks(look, over, seen, timeout)
    if output.is_json:
        return _follow_json(looks, output)
    if output.size is None:
        return _follow_lines(looks, output)
    with output.screen() as screen:
        for last in looks:
            columns, rows = output.size or (None, None)
            screen.draw(draw(output, last, Space(columns, rows and rows - 1)))
        screen.clear()
    show(output, last, everything=everything)
    return last


def _looks(
    look: Callable[[], RunsLook], over: Over, seen: RunsLook | None, timeout: float | None
) -> Iterator[RunsLook]:
    """Look again and again; the first time it may have been looked already."""
    begun = time.monotonic()
    while True:
        before = time.monotonic()
        seen = seen or look()
        yield seen
        if over(seen) or (timeout is not None and time.monotonic() - begun >= timeout):
            return
        time.sleep(max(LOOK_SECONDS, (time.monotonic() - before) * (_SHARE - 1)))
        seen = None


def _follow_lines(looks: Iterator[RunsLook], output: Output) -> RunsLook:
    """Say in one line what has changed, and show the whole at the end."""
    with output.waiting() as progress:
        for seen in looks:
            progress.show(words(seen))
    show(output, seen)
    return seen


def _follow_json(looks: Iterator[RunsLook], output: Output) -> RunsLook:
    drawn: Json = {}
    for seen in looks:
        now = seen.to_json()
        if _timeless(now) != _timeless(drawn):
            output.json_line(now)
        drawn = now
    return seen


def words(look: RunsLook) -> str:
    """Return how it stands, in one line."""
    counts, name = look.counts, look.experiment.metadata.name
    parts = [f"{name} is {state(look.experiment)}"]
    if counts.total:
        ended = counts.succeeded + counts.failed + counts.stopped
        parts.append(f"{ended} of {counts.total} trials ended, {counts.running} running, {counts.failed} failed")
    best = next((trial for trial in look.trials if trial.best), None)
    if best and look.objective and best.value is not None:
        parts.append(f"best {look.objective.metric} {best.value:.6g}")
    return ": ".join([parts[0], ", ".join(parts[1:])] if parts[1:] else parts)


def _timeless(seen: Json) -> Json:
    """Leave out what changes by itself."""
    trials = [{key: value for key, value in trial.items() if key != "seconds"} for trial in seen.get("trials", [])]
    return {**seen, "trials": trials}
