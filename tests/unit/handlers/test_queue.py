"""The work queue: one key at a time, nothing forgotten, failures tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from modelyard.handlers import queue as queue_module
from modelyard.handlers.queue import Key, WorkQueue

A = Key("Experiment", "ns", "a")
B = Key("Experiment", "ns", "b")


@asynccontextmanager
async def running(process: Callable[[Key], Awaitable[float | None]], workers: int = 2) -> AsyncIterator[WorkQueue]:
    queue = WorkQueue(process)
    queue.start(workers)
    try:
        yield queue
    finally:
        await queue.stop()


class Recorder:
    """Processes keys as it is told to, and remembers which it saw."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.seen: list[Key] = []
        self.changed = asyncio.Condition()

    async def __call__(self, key: Key) -> float | None:
        async with self.changed:
            self.seen.append(key)
            self.changed.notify_all()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.seen) >= count)


async def test_every_key_is_processed() -> None:
    recorder = Recorder()
    async with running(recorder) as queue:
        queue.add(A)
        queue.add(B)
        await recorder.until(2)
    assert sorted(recorder.seen) == [A, B]


async def test_additions_before_a_worker_is_free_count_as_one() -> None:
    recorder = Recorder()
    async with running(recorder, workers=1) as queue:
        for _ in range(5):
            queue.add(A)
        queue.add(B)
        await recorder.until(2)
    assert recorder.seen == [A, B]


async def test_a_key_added_while_it_is_processed_is_processed_once_more_and_never_at_the_same_time() -> None:
    started, release = asyncio.Event(), asyncio.Event()
    at_once, most, runs = 0, 0, 0

    async def process(key: Key) -> float | None:
        nonlocal at_once, most, runs
        at_once += 1
        most = max(most, at_once)
        started.set()
        await release.wait()
        at_once -= 1
        runs += 1
        return None

    async with running(process, workers=3) as queue:
        queue.add(A)
        await started.wait()
        queue.add(A)
        queue.add(A)
        release.set()
        async with asyncio.timeout(10):
            while runs < 2:
                await asyncio.sleep(0)
    assert (runs, most) == (2, 1)


async def test_a_failure_is_tried_again_after_a_growing_pause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(queue_module, "FIRST_PAUSE_SECONDS", 0.01)
    recorder = Recorder(RuntimeError("first"), RuntimeError("second"), None)
    async with running(recorder) as queue:
        queue.add(A)
        await recorder.until(3)
    pauses = [record.getMessage().rsplit("in ", 1)[-1] for record in caplog.records]
    assert recorder.seen == [A, A, A]
    assert pauses == ["0.0 s", "0.0 s"]
    assert ["failure 1 in a row" in caplog.messages[0], "failure 2 in a row" in caplog.messages[1]] == [True, True]


async def test_a_reconcile_may_ask_to_be_called_again() -> None:
    recorder = Recorder(0.01, None)
    async with running(recorder) as queue:
        queue.add(A)
        await recorder.until(2)
    assert recorder.seen == [A, A]


@pytest.mark.parametrize(
    ("first", "second", "due"),
    [
        pytest.param(60.0, 0.01, 0.01, id="an earlier time replaces a later one"),
        pytest.param(0.01, 60.0, 0.01, id="a later time does not replace an earlier one"),
    ],
)
async def test_of_two_times_the_earlier_counts(first: float, second: float, due: float) -> None:
    recorder = Recorder()
    async with running(recorder) as queue:
        queue.add_after(A, first)
        queue.add_after(A, second)
        await recorder.until(1)
    assert recorder.seen == [A]


async def test_a_key_that_is_gone_is_not_processed_when_its_time_comes() -> None:
    recorder = Recorder()
    async with running(recorder, workers=1) as queue:
        queue.add_after(A, 0.01)
        queue.forget(A)
        queue.add_after(B, 0.02)
        await recorder.until(1)
    assert recorder.seen == [B]


async def test_changes_that_come_in_numbers_are_looked_at_together() -> None:
    recorder = Recorder()
    async with running(recorder) as queue:
        queue.add_spaced(A, 0.05)
        await recorder.until(1)
        for _ in range(5):
            queue.add_spaced(A, 0.05)
        await recorder.until(2)
        async with asyncio.timeout(10):
            while not queue.idle:
                await asyncio.sleep(0.005)
    assert recorder.seen == [A, A]


async def test_what_a_user_changes_is_not_spaced() -> None:
    recorder = Recorder()
    async with running(recorder) as queue:
        queue.add(A)
        await recorder.until(1)
        queue.add_spaced(A, 3600)
        queue.add(A)
        await recorder.until(2)
        assert queue.idle or not queue._timers


async def test_while_many_wait_the_spacing_is_longer() -> None:
    queue = WorkQueue(Recorder())
    for number in range(100):
        queue.add(Key("Experiment", "ns", f"{number}"))
    processed = queue._processed[A] = asyncio.get_running_loop().time()
    queue.add_spaced(A, 0.01)
    # Not the 0.01 s that were asked for; a machine that is busy may take a while between the lines.
    spacing = queue._timers[A].when() - processed
    assert spacing == pytest.approx(100 * queue_module.SPACING_A_KEY_SECONDS, abs=0.5)
    await queue.stop()
