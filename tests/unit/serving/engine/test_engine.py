"""Queue, batches, deadlines and threads of the engine, with predictors that the tests hold up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard_serving.call import Call, Predictor, Result
from modelyard_serving.engine.engine import Engine, Limits
from modelyard_serving.engine.pace import REMEMBERED
from modelyard_serving.errors import RequestError
from modelyard_serving.table import Table

Predict = Callable[[Any, Mapping[str, Any] | None], Any]


class Batches:
    """How many calls and rows were predicted together."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def predicted(self, calls: int, rows: int) -> None:
        self.sizes.append((calls, rows))


class Gate:
    """A prediction of twice the first column, which waits at the gate; -1 raises."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, table: Table, _: Mapping[str, Any] | None) -> Any:
        self.entered.release()
        assert self.open.wait(30)
        return double(table, None)


def double(table: Table, _: Mapping[str, Any] | None) -> Any:
    values = table.column(0)
    if (values == -1).any():
        raise ValueError("minus one")
    return values * 2


def engine(
    predict: Predict, observer: Any = None, *, batchable: bool = True, inline: bool = False, **limits: Any
) -> Engine:
    predictor = Predictor({"predict": predict}, takes_tables=True, batchable=batchable)
    return Engine(predictor, Limits(**limits), observer or Batches(), inline=inline)


def call(*values: float) -> Call:
    return Call(Table(("a",), len(values), block=np.array([values], dtype=float)), len(values))


async def entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.acquire, timeout=30)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def answer(result: Result) -> list[float]:
    return result.outputs[0].tolist()  # type: ignore[no-any-return]


async def test_what_waits_is_predicted_together(gate: Gate) -> None:
    batches = Batches()
    # With more threads, those that wait while the machine is busy would get one of their own.
    tested = engine(gate, batches, threads=1)
    first = asyncio.create_task(tested.run(call(1), 30))
    await entered(gate)
    others = [asyncio.create_task(tested.run(call(value, value + 0.5), 30)) for value in range(10)]
    while tested.depth() < len(others):
        await asyncio.sleep(0)
    gate.open.set()
    assert answer(await first) == [2]
    assert [answer(each) for each in await asyncio.gather(*others)] == [[2 * v, 2 * v + 1] for v in range(10)]
    assert batches.sizes == [(1, 1), (10, 20)]


async def test_a_batch_has_no_more_rows_than_it_may(gate: Gate) -> None:
    batches = Batches()
    tested = engine(gate, batches, max_batch_rows=4, threads=1)
    first = asyncio.create_task(tested.run(call(1), 30))
    await entered(gate)
    others = [asyncio.create_task(tested.run(call(*range(rows)), 30)) for rows in (3, 2, 2, 9, 1)]
    while tested.depth() < len(others):
        await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *others)
    assert batches.sizes == [(1, 1), (1, 3), (2, 4), (1, 9), (1, 1)]


async def test_one_broken_call_of_a_batch_harms_no_other(gate: Gate) -> None:
    tested = engine(gate, threads=1)
    first = asyncio.create_task(tested.run(call(1), 30))
    await entered(gate)
    others = [asyncio.create_task(tested.run(call(value), 30)) for value in (2, -1, 3)]
    while tested.depth() < len(others):
        await asyncio.sleep(0)
    gate.open.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert [answer(each) for each in results if isinstance(each, Result)] == [[2], [4], [6]]
    refused = results[2]
    assert isinstance(refused, RequestError)
    assert (refused.status, "minus one" in refused.message) == (400, True)


async def test_without_independent_rows_every_call_is_alone(gate: Gate) -> None:
    batches = Batches()
    tested = engine(gate, batches, batchable=False, threads=1)
    calls = [asyncio.create_task(tested.run(call(value), 30)) for value in range(4)]
    await entered(gate)
    gate.open.set()
    await asyncio.gather(*calls)
    assert batches.sizes == [(1, 1)] * 4


async def test_a_full_queue_refuses_with_the_time_to_come_again(gate: Gate) -> None:
    tested = engine(gate, max_queue=2, threads=1)
    first = asyncio.create_task(tested.run(call(1), 30))
    await entered(gate)
    waiting = [asyncio.create_task(tested.run(call(value), 30)) for value in (2, 3)]
    while tested.depth() < 2:
        await asyncio.sleep(0)
    with pytest.raises(RequestError, match="2 requests wait already") as raised:
        await tested.run(call(4), 30)
    assert (raised.value.status, raised.value.retry_after) == (503, 1)
    gate.open.set()
    assert [answer(each) for each in await asyncio.gather(first, *waiting)] == [[2], [4], [6]]


async def test_a_call_that_takes_too_long_is_told_so_and_not_predicted_any_more(gate: Gate) -> None:
    batches = Batches()
    tested = engine(gate, batches, threads=1)
    first = asyncio.create_task(tested.run(call(1), 30))
    await entered(gate)
    with pytest.raises(RequestError, match=r"longer than 0\.05 seconds") as raised:
        await tested.run(call(2), 0.05)
    assert (raised.value.status, raised.value.code) == (504, "DEADLINE_EXCEEDED")
    last = asyncio.create_task(tested.run(call(3), 30))
    gate.open.set()
    assert [answer(await first), answer(await last)] == [[2], [6]]
    assert sum(calls for calls, _ in batches.sizes) == 2


async def test_those_behind_one_that_hangs_get_another_thread() -> None:
    entered, hang = threading.Semaphore(0), threading.Event()

    def predict(table: Table, _: Mapping[str, Any] | None) -> Any:
        if (table.column(0) == 13).any():
            entered.release()
            assert hang.wait(30)
        return table.column(0) * 2

    tested = engine(predict, threads=2)
    try:
        stuck = asyncio.create_task(tested.run(call(13), 30))
        assert await asyncio.to_thread(entered.acquire, timeout=30)
        assert answer(await tested.run(call(2), 5)) == [4]
        while tested.stuck(0):
            await asyncio.sleep(0)
        also = asyncio.create_task(tested.run(call(13), 30))
        assert await asyncio.to_thread(entered.acquire, timeout=30)
        with pytest.raises(RequestError, match="longer than 1 seconds"):
            await tested.run(call(3), 1)
        assert tested.stuck(0.2)
        assert not tested.stuck(60)
    finally:
        hang.set()
    assert [answer(await stuck), answer(await also)] == [[26], [26]]
    assert answer(await tested.run(call(4), 5)) == [8]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
async def test_whatever_a_model_raises_ends_one_request_only(error: BaseException) -> None:
    def predict(table: Table, _: Mapping[str, Any] | None) -> Any:
        if table.column(0)[0] == 13:
            raise error
        return table.column(0)

    tested = engine(predict, threads=1)
    with pytest.raises((RequestError, RuntimeError)):
        await tested.run(call(13), 5)
    assert answer(await tested.run(call(1), 5)) == [1]


async def test_a_model_that_exits_does_not_end_the_event_loop() -> None:
    def predict(table: Table, _: Mapping[str, Any] | None) -> Any:
        if table.column(0)[0] == 13:
            raise SystemExit(3)
        return table.column(0)

    tested = engine(predict, inline=True)
    assert answer(await tested.run(call(1), 5)) == [1]
    with pytest.raises(RequestError, match="SystemExit"):
        await tested.run(call(13), 5)


async def test_what_is_known_to_be_quick_runs_in_the_event_loop() -> None:
    threads = []

    def predict(table: Table, _: Mapping[str, Any] | None) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return table.column(0)

    tested = engine(predict, inline=True)
    await tested.run(call(1), 30)
    # The quickest of the last ones counts: a busy machine may have made the first one slow.
    while not threads[-1] and len(threads) < REMEMBERED:
        await tested.run(call(1), 30)
    await tested.run(call(*range(1_000_000)), 30)
    assert (threads[0], threads[-2:]) == (False, [True, False])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1e9), min_size=1, max_size=5), min_size=1, max_size=30), st.integers(1, 16))
def test_together_or_alone_every_call_gets_its_own_answer(requests: list[list[float]], batch_rows: int) -> None:
    async def together() -> list[Result]:
        tested = engine(double, max_batch_rows=batch_rows, threads=3)
        return await asyncio.gather(*(tested.run(call(*values), 30) for values in requests))

    alone = engine(double)
    for values, result in zip(requests, asyncio.run(together()), strict=True):
        assert result.outputs[0].tobytes() == alone.run_here(call(*values)).outputs[0].tobytes()
