"""The process: loading beside serving, signals, draining, the exit code."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from modelyard_serving import logs, startup
from modelyard_serving.ahead import Ahead
from modelyard_serving.config import Config, termination_log
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.state import Phase, State
from modelyard_serving.telemetry.telemetry import telemetry
from modelyard_serving.web import connection, rpc
from modelyard_serving.web.asgi import Later, application
from modelyard_serving.web.endpoint import Shared

if TYPE_CHECKING:
    from modelyard_serving.protocol.grpc.server import GrpcServer

GRACE_SECONDS = 2.0
"""Beyond the deadlines for draining and for requests in flight, before the process is ended by force."""

LOOK_TICKS = 5
"""Of uvicorn's clock, between two looks at slow clients."""
FILES = 256
"""That may be open beside connections."""


class DrainingServer(uvicorn.Server):
    """On SIGTERM: unhealthy at once, answering for `drain_seconds`, then uvicorn's own graceful shutdown.

    Kubernetes takes a terminating pod out of its endpoints while the pod is already ending; until every proxy knows,
    requests keep coming, and refusing them would show to users. A second signal, or SIGINT, ends without draining.
    """

    def __init__(self, config: uvicorn.Config, shared: Shared) -> None:
        super().__init__(config)
        self._shared = shared
        self._state = shared.state
        self._drain_until: float | None = None
        self._grpc: GrpcServer | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, for gRPC too where it is wanted; a port that cannot be had ends the process."""
        await super().startup(sockets)
        if self._state.config.grpc_port:
            try:
                self._grpc = rpc.grpc_server(self._shared)
                await self._grpc.start()
            except RuntimeError as error:
                self._state.failed(StartupError(Reason.CONFIG_INVALID, f"MODELYARD_GRPC_PORT: {error}"))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for requests in flight, of both servers."""
        stopped = self._grpc.stop(self._state.config.shutdown_seconds) if self._grpc else asyncio.sleep(0)
        await asyncio.gather(super().shutdown(sockets), stopped)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The handler of SIGTERM and SIGINT.

        The signal is not recorded as uvicorn would do, which then dies by it: an orderly end has the exit code 0.
        """
        del frame
        self._bound(sig)
        if sig == signal.SIGTERM and self._state.phase is Phase.READY:
            self._state.phase = Phase.DRAINING
            self._drain_until = time.monotonic() + self._state.config.drain_seconds
            logs.event("draining", seconds=self._state.config.drain_seconds)
        else:
            self.should_exit = True

    def _bound(self, sig: int) -> None:
        """See that the process ends even if its event loop never gets round to it."""
        config = self._state.config
        draining = config.drain_seconds if sig == signal.SIGTERM and self._state.phase is Phase.READY else 0
        timer = threading.Timer(draining + config.shutdown_seconds + GRACE_SECONDS, _end)
        timer.daemon = True
        timer.start()

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's clock, ten times a second."""
        drained = self._drain_until is not None and time.monotonic() >= self._drain_until
        if drained or self._state.phase is Phase.FAILED:
            self.should_exit = True
        if counter % LOOK_TICKS == 0:
            config = self._state.config
            connection.look(self, config.header_seconds, config.request_seconds)
        return await super().on_tick(counter)


def _end() -> None:
    logs.warning("stopped_by_force")
    sys.stdout.flush()
    os._exit(0)


def main(env: Mapping[str, str], ahead: Ahead | None = None) -> int:
    """Serve until told to end. The exit code: 0 after a signal, 1 if the server could not start.

    `ahead` is the download, where it has begun already.
    """
    logs.configure()
    try:
        config = Config.from_env(env)
        listener = _listen(config)
    except StartupError as error:
        startup.report(error, termination_log(env))
        return 1
    logs.event(
        "starting",
        model=config.model_name,
        version=config.model_version,
        uri=config.model_uri,
        source=str(config.source),
        digest=config.digest,
        port=config.port,
    )
    state = State(config)
    notes = telemetry(env, config.model_name, config.model_version, access_log=config.access_log)
    if notes is not None:
        notes.start()
    shared = Shared(state, notes)
    app, rest = application(state, shared)
    server = DrainingServer(_uvicorn_config(config, app, state.metrics.rejected), shared)
    threading.Thread(target=_load, args=(state, rest, ahead), name="loader", daemon=True).start()
    server.run(sockets=[listener])
    if notes is not None:
        notes.stop()
    if state.failure:
        startup.report(state.failure, config.termination_log)
        return 1
    logs.event("stopped")
    return 0


def _listen(config: Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        address = f"{config.host} port {config.port}"
        raise StartupError(
            Reason.CONFIG_INVALID, f"MODELYARD_HOST, MODELYARD_PORT: cannot listen on {address}: {error}"
        ) from error


def _load(state: State, rest: Later, ahead: Ahead | None) -> None:
    start = ahead.begun if ahead else time.monotonic()
    try:
        state.ready(startup.bring_up(state.config, state.metrics, ahead))
    except StartupError as error:
        state.failed(error)
        return
    logs.event("ready", seconds=round(time.monotonic() - start, 3))
    rest.make()


def _allow_connections(number: int) -> int:
    """How many connections the process can have, of those that it may: each is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(1, min(number, wanted - FILES))


def _uvicorn_config(config: Config, app: ASGIApp, rejected: connection.Count) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=connection.bounded(_allow_connections(config.max_connections), rejected),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=config.keep_alive_seconds,
        timeout_graceful_shutdown=config.shutdown_seconds,
    )
