"""The one thing that the hot path knows of logs and traces: None where neither is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard_serving.telemetry import note, traces
from modelyard_serving.telemetry.access import AccessLog
from modelyard_serving.telemetry.background import Background
from modelyard_serving.telemetry.note import Note
from modelyard_serving.telemetry.traces import Traces

STOP_SECONDS = 1.5
"""For what is left at the end of the process."""


class Telemetry:
    """Notes of requests, for an access log or traces or both."""

    def __init__(self, access: Background | None, traces: Background | None) -> None:
        self.logs_access = access is not None
        self._traced = traces is not None
        self._sinks = [sink for sink in (access, traces) if sink is not None]

    def begin(self, protocol: str, method: str, path: str, headers: Mapping[bytes, bytes], request_id: bytes) -> Note:
        """A note of a request that begins now."""
        return note.begin(protocol, method, path, headers, request_id, traced=self._traced)

    def end(self, ended: Note) -> None:
        """The request is answered."""
        for sink in self._sinks:
            sink.add(ended)

    def start(self) -> None:
        """Begin to take notes."""
        for sink in self._sinks:
            sink.start()

    def stop(self) -> None:
        """Write and send what there is, for a while."""
        for sink in self._sinks:
            sink.stop(STOP_SECONDS / len(self._sinks))


def telemetry(env: Mapping[str, str], model: str, version: str, *, access_log: bool) -> Telemetry | None:
    """What the configuration asks for, not started."""
    traced = traces.wanted(env)
    if not (access_log or traced):
        return None
    access = Background("access-log", AccessLog(model, version)) if access_log else None
    sink = Traces(model, version)
    return Telemetry(access, Background("traces", sink, sink.close) if traced else None)
