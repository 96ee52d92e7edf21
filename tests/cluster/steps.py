"""Runs steps that depend on each other, each as early as its predecessors allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass


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
    active: dict[Future[None], str] = {}
    failures: list[BaseException] = []
    with ThreadPoolExecutor(max_workers=max(len(waiting), 1)) as pool:
        while True:
            for name in [name for name, step in waiting.items() if done.issuperset(step.after)]:
                if not failures:
                    active[pool.submit(waiting.pop(name).run)] = name
            if not active:
                break
            finished, _ = wait(active, return_when=FIRST_COMPLETED)
            for future in finished:
                name = active.pop(future)
                if (failure := future.exception()) is not None:
                    failures.append(failure)
                else:
                    done.add(name)
    if failures:
        raise failures[0]
    if waiting:
        raise ValueError(f"these steps wait for each other: {', '.join(sorted(waiting))}")
