"""Runs steps that depend on each other, each as early as its predecessors allow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Queue


@dataclass(frozen=True)
class Step:
    """Something to do once the steps named by `after` are done."""

    name: str
    run: Callable[[], None]
    after: tuple[str, ...] = ()


def run_steps(steps: Iterable[Step]) -> None:
    """Run every step. After the first failure nothing more is begun, and when what runs has ended it is raised.

    Raises ValueError, before anything runs, for a step that waits for one that there is not.
    """
    waiting = {step.name: step for step in steps}
    for step in waiting.values():
        if unknown := set(step.after) - set(waiting):
            raise ValueError(f"{step.name} waits for {', '.join(sorted(unknown))}, which is no step")
    done: set[str] = set()
    failures: list[BaseException] = []
    ended: Queue[tuple[str, BaseException | None]] = Queue()
    active = 0
    while True:
        for name in [name for name, step in waiting.items() if done.issuperset(step.after) and not failures]:
            # A daemon: an interrupt ends the program without waiting for the steps that run.
            threading.Thread(target=_run, args=(waiting.pop(name), ended), daemon=True).start()
            active += 1
        if not active:
            break
        name, failure = ended.get()
        active -= 1
        if failure is None:
            done.add(name)
        else:
            failures.append(failure)
    if failures:
        raise failures[0]
    if waiting:
        raise ValueError(f"these steps wait for each other: {', '.join(sorted(waiting))}")


def _run(step: Step, ended: Queue[tuple[str, BaseException | None]]) -> None:
    try:
        step.run()
    except BaseException as failure:
        ended.put((step.name, failure))
    else:
        ended.put((step.name, None))
