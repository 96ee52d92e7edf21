"""A candidate's rehearsal: it answers what the reference has answered, and counts where they differ."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from modelyard_serving import logs
from modelyard_serving.errors import ErrorCode, RequestError
from modelyard_serving.recent import Recent, Remembered
from modelyard_serving.reference import Address, FetchError, Page, fetch
from modelyard_serving.state import Phase, State
from modelyard_serving.tally import Tally

IDLE_SECONDS = 0.5
"""Between two rounds of asking when there was nothing new."""
GIVE_WAY_SECONDS = 1.0
"""How long a replay waits for real requests at most: under constant load it still gets on, slowly."""
_GLANCE_SECONDS = 0.002
_MAX_INSTANCES = 1024


@dataclass(frozen=True)
class Lease:
    """What to replay, and until when."""

    references: tuple[Address, ...]
    version: str
    until: float
    """Of the monotonic clock."""


class Positions:
    """Up to where each process of the reference has been replayed; its address may get another process."""

    def __init__(self) -> None:
        self._instances: dict[Address, str] = {}
        self._positions: OrderedDict[str, int] = OrderedDict()

    def after(self, address: Address) -> int:
        """The sequence number to ask an address for more from."""
        return self._positions.get(self._instances.get(address, ""), 0)

    def learn(self, address: Address, instance: str) -> bool:
        """Whether another process than thought answers at the address, of which some has been replayed already."""
        changed = self._instances.get(address) != instance
        self._instances[address] = instance
        return changed and instance in self._positions

    def take(self, instance: str, seq: int) -> bool:
        """Whether a request is new; from now on it is not."""
        if seq <= self._positions.get(instance, 0):
            return False
        self._positions[instance] = seq
        self._positions.move_to_end(instance)
        if len(self._positions) > _MAX_INSTANCES:
            self._positions.popitem(last=False)
        return True


class Replay:
    """Replays while there is a lease, in a thread of its own: one request at a time, after the real ones.

    What is counted concerns one reference version: with another one it begins anew.
    """

    def __init__(self, state: State, recent: Recent) -> None:
        self._state = state
        self._own = recent.instance
        self._token = state.config.control_token or ""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lease: Lease | None = None
        self._positions = Positions()
        self.tally: Tally | None = None

    def lease(self, references: tuple[Address, ...], version: str, seconds: float) -> int:
        """Replay for so many seconds from now what `references` answer; return how many were replayed so far.

        Raises RequestError: 409 if the version is the own one, 503 unless the server is ready.
        """
        if version == self._state.config.model_version:
            message = f"This is version {version} itself"
            raise RequestError(message, ErrorCode.RESOURCE_CONFLICT, 409)
        if self._state.phase is not Phase.READY:
            raise RequestError("The server is not ready", ErrorCode.TEMPORARILY_UNAVAILABLE, 503)
        with self._lock:
            if self.tally is None or self.tally.version != version:
                self.tally = Tally(version)
                self._positions = Positions()
            self._lease = Lease(references, version, time.monotonic() + seconds)
            if self._thread is None and seconds > 0:
                logs.event("replay_started", reference_version=version, references=len(references))
                self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
                self._thread.start()
            tally = self.tally
        self._wake.set()
        return tally.replayed

    def _run(self) -> None:
        try:
            while work := self._work():
                self._wake.clear()
                lease, tally, positions = work
                if not sum([self._batch(address, tally, positions) for address in lease.references]):
                    self._wake.wait(IDLE_SECONDS)
        except BaseException as error:
            # The next lease starts a new thread, which goes on behind the request that broke this one.
            with self._lock:
                self._thread = None
            logs.warn_once("replay_broken", error=repr(error)[:500])

    def _work(self) -> tuple[Lease, Tally, Positions] | None:
        """What to do now. None ends the thread, which is decided under the lock that starts it."""
        with self._lock:
            lease, tally = self._lease, self.tally
            if lease and tally and time.monotonic() < lease.until and self._state.phase is Phase.READY:
                return lease, tally, self._positions
            self._thread = None
        logs.event("replay_ended", replayed=tally.replayed if tally else 0)
        return None

    def _goes_on(self, tally: Tally) -> bool:
        lease = self._lease
        leased = lease is not None and time.monotonic() < lease.until
        return leased and self.tally is tally and self._state.phase is Phase.READY

    def _batch(self, address: Address, tally: Tally, positions: Positions) -> int:
        """Replay what is new at one address; return how much it was."""
        if not self._goes_on(tally):
            return 0
        try:
            page = self._fetch(address, tally.version, positions)
        except FetchError as error:
            tally.fetch_failed()
            logs.warn_once("replay_fetch_failed", address=f"{address.host}:{address.port}", error=str(error))
            return 0
        replayed = 0
        for request in page.requests if page else ():
            self._give_way()
            if not self._goes_on(tally):
                break
            if page and positions.take(page.instance, request.seq):
                self._replay(request, tally)
                replayed += 1
        return replayed

    def _fetch(self, address: Address, version: str, positions: Positions) -> Page | None:
        """What an address remembers after what is known of it. Raises FetchError."""
        page = fetch(address, positions.after(address), self._token)
        if page.instance == self._own:
            return None
        if page.version != version:
            raise FetchError(f"version {page.version[:64]!r} is served there, not {version!r}")
        if positions.learn(address, page.instance):
            page = fetch(address, positions.after(address), self._token)
        return page

    def _give_way(self) -> None:
        deadline = time.monotonic() + GIVE_WAY_SECONDS
        while self._state.metrics.in_flight and time.monotonic() < deadline:
            time.sleep(_GLANCE_SECONDS)

    def _replay(self, request: Remembered, tally: Tally) -> None:
        dialect = self._state.model.dialects.get(request.dialect)
        if dialect is None:
            tally.fetch_failed()
            logs.warn_once("replay_dialect_unknown", dialect=request.dialect)
            return
        try:
            answer = self._state.model.answer(request.dialect, request.request)
        except RequestError as error:
            logs.warn_once("replay_refused", error=error.message[:500])
            tally.failed()
            return
        except (Exception, SystemExit) as error:  # A model that calls sys.exit() ends no server of ours.
            logs.warn_once("replay_failed", error=repr(error)[:500])
            tally.failed()
            return
        try:
            tally.compared(request, answer, dialect.predictions)
        except ValueError as error:
            tally.fetch_failed()
            logs.warn_once("replay_reference_unreadable", error=str(error)[:300])
