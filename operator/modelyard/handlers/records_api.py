"""A model's records over HTTP, to read only: what `modelyard history` asks for through the API server's service proxy.

    GET /v1/namespaces/{namespace}/registeredmodels/{name}/records?after=<sequence>&limit=<count>
        JSON lines {"key": "00000007.json", "body": "<base64 of the record's bytes>"}, in order; none after the last
    GET /v1/namespaces/{namespace}/registeredmodels/{name}/evidence/{evidence}
        the log of a validation Job
    GET /v1/store
        {"artifacts": "s3://…"}: the directory below which the installation keeps models' files

The records' own bytes are given, so that who asks checks the chain of hashes and need not believe the operator. The API
server decides who may use the proxy; a token, which those who may have in a Secret, keeps the pods of the cluster out.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import kopf
from aiohttp import web

from modelyard.api.names import RECORDS_PORT, RECORDS_TOKEN_HEADER
from modelyard.artifacts.store import ArtifactMissing, ArtifactStore, ArtifactStoreUnreachable
from modelyard.registry.ledger import Ledger

log = logging.getLogger(__name__)

PAGE = 200
LARGEST_PAGE = 1000
PAGE_BYTES = 8 << 20
"""A page ends after the record that passes this."""

_THREADS = 4
_WAITING_LIMIT = 32
"""How many requests may wait for a thread; more are sent away."""

_NAMESPACE = re.compile(r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
_NAME = re.compile(r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")
_EVIDENCE = re.compile(r"^[A-Za-z0-9][-._A-Za-z0-9]{0,252}$")
_SEQUENCE = re.compile(r"^[0-9]{1,9}$")

_T = TypeVar("_T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RecordsApi:
    """Serves the records of the models in `namespaces` (of all, if empty) to those who have the token."""

    def __init__(
        self,
        store: ArtifactStore,
        artifacts: str,
        token: str,
        *,
        namespaces: Sequence[str] = (),
        host: str | None = None,
        port: int = RECORDS_PORT,
    ) -> None:
        """`artifacts` is the directory of models' files; `host` None stands for all addresses, of both families."""
        self._store = store
        self._artifacts = artifacts
        self._token = token
        self._namespaces = frozenset(namespaces)
        self._host = host
        self._port = port
        # The store's client blocks, and reconciles must not wait for an auditor.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="records")
        self._busy = 0
        self._runner: web.AppRunner | None = None

    def register(self, registry: kopf.OperatorRegistry) -> None:
        """Have it started and stopped with the operator."""
        kopf.on.startup(registry=registry, id="records-api")(self.start)
        kopf.on.cleanup(registry=registry, id="records-api")(self.stop)

    async def start(self, **_: Any) -> None:
        """Listen. Raises `OSError` where the port is taken."""
        app = web.Application(middlewares=[self._guard], client_max_size=0)
        model = "/v1/namespaces/{namespace}/registeredmodels/{name}"
        app.router.add_get(f"{model}/records", self._records)
        app.router.add_get(f"{model}/evidence/{{evidence}}", self._evidence)
        app.router.add_get("/v1/store", self._place)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self, **_: Any) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get(RECORDS_TOKEN_HEADER, "").encode(), self._token.encode()):
            return _error(403, f"the header {RECORDS_TOKEN_HEADER} must hold the token of the operator's Secret")
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _error(error.status, error.text or error.reason)
        except ArtifactMissing:
            return _error(404, "there is no such evidence")
        except ArtifactStoreUnreachable as error:
            log.warning("records could not be read: %s", error)
            return _error(503, str(error))

    async def _records(self, request: web.Request) -> web.StreamResponse:
        ledger = self._ledger(request)
        after, limit = _number(request, "after", 0), _number(request, "limit", PAGE)
        if not 1 <= limit <= LARGEST_PAGE:
            raise web.HTTPBadRequest(text=f"limit must be 1 to {LARGEST_PAGE}")
        found = await self._in_thread(lambda: ledger.raw(after, limit))
        lines, size = [], 0
        for key, data in found:
            lines.append(json.dumps({"key": key.rsplit("/", 1)[1], "body": base64.b64encode(data).decode()}) + "\n")
            size += len(lines[-1])
            if size > PAGE_BYTES:
                break
        return web.Response(text="".join(lines), content_type="application/jsonl")

    async def _place(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"artifacts": self._artifacts})

    async def _evidence(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["evidence"]
        if not _EVIDENCE.match(name):
            raise web.HTTPBadRequest(text=f"{name!r} is no name of evidence")
        key = self._ledger(request).evidence_key(name)
        stored = await self._in_thread(lambda: self._store.get(key))
        # Whoever a Job's author is, what it printed is text.
        return web.Response(
            body=stored.data,
            content_type="text/plain",
            charset="utf-8",
            headers={"X-Content-Type-Options": "nosniff"},
        )

    def _ledger(self, request: web.Request) -> Ledger:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if not _NAMESPACE.match(namespace) or not _NAME.match(name):
            raise web.HTTPBadRequest(text=f"{namespace}/{name} is no object's name")
        if self._namespaces and namespace not in self._namespaces:
            raise web.HTTPNotFound(text=f"this installation does not look after namespace {namespace}")
        return Ledger(self._store, namespace, name)

    async def _in_thread(self, read: Callable[[], _T]) -> _T:
        if self._busy >= _WAITING_LIMIT:
            raise web.HTTPTooManyRequests(text="too many requests for records at a time")
        self._busy += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, read)
        finally:
            self._busy -= 1


def _number(request: web.Request, name: str, default: int) -> int:
    value = request.query.get(name, "")
    if not value:
        return default
    if not _SEQUENCE.match(value):
        raise web.HTTPBadRequest(text=f"{name} must be a number")
    return int(value)


def _error(code: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=code)
