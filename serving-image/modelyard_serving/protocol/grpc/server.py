"""The gRPC server, beside the HTTP server in the same event loop."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from modelyard_serving.protocol.grpc.servicer import Backend, Servicer, handlers


class GrpcServer:
    """Listens from `start` to `stop`; both are for the event loop that answers."""

    def __init__(self, backend: Backend, address: str, *, max_message_bytes: int, max_requests: int) -> None:
        """`address`: host:port, port 0 for any. `max_requests`: at a time; more are refused (RESOURCE_EXHAUSTED)."""
        self._server = grpc.aio.server(options=_options(max_message_bytes), maximum_concurrent_rpcs=max_requests)
        self._server.add_generic_rpc_handlers((handlers(Servicer(backend)),))
        self._address = address

    async def start(self) -> int:
        """Listen; return the port. Raises RuntimeError if the address cannot be had."""
        port = self._server.add_insecure_port(self._address)
        if not port:
            raise RuntimeError(f"cannot listen on {self._address}")
        await self._server.start()
        return port

    async def stop(self, seconds: float) -> None:
        """Refuse new requests and wait for those in flight, so long at most; then they end with CANCELLED."""
        await self._server.stop(seconds)


def _options(max_message_bytes: int) -> Sequence[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # Two processes at one port would hide that the port is taken.
        ("grpc.so_reuseport", 0),
    ]
