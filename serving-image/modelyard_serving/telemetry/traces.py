"""OpenTelemetry traces, sent by OTLP over HTTP where the standard variables name an endpoint.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/. Spans are made of notes, after the
request and by another thread; the SDK is imported there as well, so that a start does not wait for it. Names of
attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and …/rpc/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelyard_serving.telemetry.note import Note

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
GRPC = "grpc"


def wanted(env: Mapping[str, str]) -> bool:
    """Whether traces are to be sent."""
    if env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    return any(env.get(name) for name in ENDPOINTS)


class Traces:
    """A sink of notes. Sampler, resource, limits and exporter are as the OTEL_* variables say."""

    def __init__(self, model: str, version: str, exporter: SpanExporter | None = None) -> None:
        """`exporter`: OTLP over HTTP, if none is given."""
        self._attributes = {"modelyard.model": model, "modelyard.version": version}
        self._exporter = exporter
        self._tracing: Any = None

    def __call__(self, notes: Sequence[Note], left_out: int) -> None:
        """Hand on the spans of requests. The exporter has a thread and a bounded queue of its own."""
        del left_out
        if self._tracing is None:
            self._tracing = _Tracing(self._exporter, self._attributes)
        for note in notes:
            self._tracing.record(note)

    def close(self) -> None:
        """Send what has not been sent."""
        if self._tracing is not None:
            self._tracing.close()


class _Tracing:
    """The SDK, once it is imported."""

    def __init__(self, exporter: SpanExporter | None, attributes: Mapping[str, str]) -> None:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        class Ids(RandomIdGenerator):
            """Gives a trace the id that the request's log line has."""

            trace_id = 0

            def generate_trace_id(self) -> int:
                return self.trace_id or super().generate_trace_id()

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

            exporter = OTLPSpanExporter()
        self._ids = Ids()
        self._attributes = attributes
        resource = Resource.create()
        # Unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say otherwise.
        if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": attributes["modelyard.model"]}))
        self._provider = TracerProvider(resource=resource, id_generator=self._ids)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("modelyard_serving")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, note: Note) -> None:
        from opentelemetry import trace  # noqa: PLC0415

        parent = self._propagator.extract({"traceparent": note.traceparent, "tracestate": note.tracestate})
        self._ids.trace_id = int(note.trace_id, 16)
        span = self._tracer.start_span(
            name_of(note),
            parent,
            trace.SpanKind.SERVER,
            {**attributes_of(note), **self._attributes},
            start_time=note.at_ns(note.began),
        )
        if not span.is_recording():
            return
        inside = trace.set_span_in_context(span, parent)
        for name, begin, end in note.steps():
            self._tracer.start_span(name, inside, start_time=note.at_ns(begin)).end(note.at_ns(end))
        if note.status >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end(note.at_ns(note.ended))

    def close(self) -> None:
        self._provider.shutdown()


def name_of(note: Note) -> str:
    """`{method} {route}`, as the conventions have it; a route of this server is a path."""
    return note.path if note.protocol == GRPC else f"{note.method} {note.path}"


def attributes_of(note: Note) -> dict[str, str | int]:
    """What the conventions, and this server, say of a request."""
    if note.protocol == GRPC:
        service, _, method = note.path.rpartition("/")
        of_protocol: dict[str, str | int] = {"rpc.system": GRPC, "rpc.service": service, "rpc.method": method}
    else:
        of_protocol = {
            "http.request.method": note.method,
            "http.route": note.path,
            "http.response.status_code": note.status,
            "url.path": note.path,
            "url.scheme": "http",
        }
    if note.status >= 500:
        of_protocol["error.type"] = str(note.status)
    return of_protocol | {
        "http.request.body.size": note.request_bytes,
        "http.response.body.size": note.response_bytes,
        "modelyard.protocol": note.protocol,
        "modelyard.rows": note.rows,
        "modelyard.request_id": note.request_id,
    }
