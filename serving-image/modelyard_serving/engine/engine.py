"""The engine of one loaded model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

from modelyard_serving import logs
from modelyard_serving.call import Call, Predictor, Result
from modelyard_serving.engine import batch
from modelyard_serving.engine.lane import STALL_SECONDS, Lane, Waiting
from modelyard_serving.engine.pace import Pace
from modelyard_serving.errors import ErrorCode, Rejection, RequestError
from modelyard_serving.table import Table

RETRY_SECONDS = 1
"""What a client that finds the queue full is told to wait."""


@dataclass(frozen=True)
class Limits:
    """How much an engine takes on."""

    threads: int = 4
    """Predictions at a time."""
    max_queue: int = 256
    """Calls that wait."""
    max_batch_rows: int = 1024
    """Rows of calls that are predicted together; 0: none are."""


class Observer(Protocol):
    """Is told what the engine does, by several threads."""

    def predicted(self, calls: int, rows: int) -> None:
        """So many calls, which had been waiting, were predicted together."""


class Engine:
    """Predicts calls. `run` is for the event loop, `run_here` for any thread."""

    def __init__(self, predictor: Predictor, limits: Limits, observer: Observer, *, inline: bool) -> None:
        """`inline`: whether predictions that are known to be quick may run in the event loop itself."""
        self._predictor = predictor
        self._observer = observer
        self._inline = inline
        self._pace = Pace()
        self._limits = limits
        batches = predictor.batchable and limits.max_batch_rows > 0
        self._lane = Lane(
            self._execute,
            limit=limits.max_queue,
            # What is batched waits for one thread, so that there is something to batch.
            least=1 if batches else limits.threads,
            most=limits.threads,
            batch_rows=limits.max_batch_rows if batches else 0,
        )
        self._watched = False

    async def run(self, call: Call, seconds: float) -> Result:
        """Predict within so many seconds.

        Raises RequestError: 400 if the model refuses the data, 503 if too many calls wait, 504 if it takes too long.
        """
        if self._inline and self._pace.is_quick(call.rows) and not self._lane.depth():
            return self.run_here(call)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()

        def settle(result: Result | BaseException) -> None:
            if future.done():
                return
            if isinstance(result, Result):
                future.set_result(result)
            else:
                future.set_exception(_of_request(result))

        waiting = Waiting(call, lambda result: _tell(loop, settle, result))
        if not self._lane.submit(waiting):
            message = f"The server is busy: {self._limits.max_queue} requests wait already"
            raise RequestError(
                message, ErrorCode.TEMPORARILY_UNAVAILABLE, 503, retry_after=RETRY_SECONDS, rejection=Rejection.QUEUE
            )
        self._watch(loop)
        timer = loop.call_later(seconds, settle, _late(seconds))
        try:
            return await future
        finally:
            timer.cancel()
            waiting.abandoned = True

    def run_here(self, call: Call) -> Result:
        """Predict in the calling thread, alone. Raises RequestError (400)."""
        begin = perf_counter()
        outputs = self._predict(call)
        seconds = perf_counter() - begin
        self._pace.record(call.rows, seconds)
        return Result(outputs, seconds)

    def depth(self) -> int:
        """How many calls wait."""
        return self._lane.depth()

    def stuck(self, seconds: float) -> bool:
        """Whether no prediction has come to an end for so long and none can begin."""
        return self._lane.stuck(seconds)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See that calls which wait long are relieved, as long as any wait."""
        if not self._watched:
            self._watched = True
            loop.call_later(STALL_SECONDS, self._relieve, loop)

    def _relieve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched = False
        if self._lane.relieve():
            self._watch(loop)

    def _execute(self, calls: Sequence[Call]) -> list[Result | BaseException]:
        if len(calls) > 1:
            try:
                merged = batch.merge(calls)
                outputs, seconds = self.run_here(merged)
                parts = batch.split(outputs, calls)
                if parts is not None:
                    self._observer.predicted(len(calls), merged.rows)
                    return [Result(part, seconds) for part in parts]
            except RequestError:
                # One of them is to blame: each for itself.
                pass
        return [self._alone(call) for call in calls]

    def _alone(self, call: Call) -> Result | BaseException:
        self._observer.predicted(1, call.rows)
        try:
            return self.run_here(call)
        except RequestError as error:
            return error

    def _predict(self, call: Call) -> tuple[Any, ...]:
        """What the model refuses is the request's fault, as MLflow sees it: 400."""
        predictor, data = self._predictor, call.data
        try:
            if isinstance(data, Table) and not predictor.takes_tables:
                data = data.frame()
            if len(call.methods) == 1:
                return (predictor.methods[call.methods[0]](data, call.params),)
            return tuple([predictor.methods[method](data, call.params) for method in call.methods])
        except RequestError:
            raise
        except (Exception, SystemExit) as error:
            logs.warn_once("predict_failed", error=repr(error)[:500])
            raise RequestError(
                "Encountered an unexpected error while evaluating the model. Verify that the serialized input Dataframe"
                f" is compatible with the model for inference. Error: {error!r}"
            ) from error


def _tell(loop: asyncio.AbstractEventLoop, settle: Any, result: Result | BaseException) -> None:
    # A loop that is closed belongs to a process that ends: nobody waits.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(settle, result)


def _of_request(error: BaseException) -> Exception:
    """An exception that a request can be answered with: SystemExit and the like would end the event loop."""
    return error if isinstance(error, Exception) else RuntimeError(f"the model raised {error!r}")


def _late(seconds: float) -> RequestError:
    message = f"The prediction took longer than {seconds:g} seconds"
    return RequestError(message, ErrorCode.DEADLINE_EXCEEDED, 504, rejection=Rejection.DEADLINE)
