"""The access log, the traces and the distribution of answers, of requests to an application in this process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from modelyard_serving import logs
from modelyard_serving.metrics import Metrics, render
from modelyard_serving.state import State
from modelyard_serving.telemetry import answers, background, traces
from modelyard_serving.telemetry.access import AccessLog
from modelyard_serving.telemetry.background import Background
from modelyard_serving.telemetry.note import Note, begin
from modelyard_serving.telemetry.telemetry import Telemetry, telemetry
from modelyard_serving.telemetry.traces import Traces
from modelyard_serving.web.asgi import application
from modelyard_serving.web.endpoint import Shared
from tests.unit.serving import harness
from tests.unit.serving.processes import ROW, SECONDS, eventually
from tests.unit.serving.prometheus import Scrape

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SECRET = {"Authorization": "Bearer secret", "X-Request-Id": "mine"}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends does not wait long for what is left, which may be what a test looks for."""
    monkeypatch.setattr("modelyard_serving.telemetry.telemetry.STOP_SECONDS", SECONDS)


@pytest.fixture
def state(saved_model: Callable[[str], Path]) -> State:
    state = State(harness.config())
    state.ready(harness.model(saved_model("labels_text")))
    return state


async def ask(state: State, notes: Telemetry | None, *requests: tuple[Any, dict[str, str]]) -> list[int]:
    """The statuses of requests with such bodies and headers."""
    app, _ = application(state, Shared(state, notes))
    async with harness.client(app) as http:
        return [(await http.post("/invocations", json=body, headers=headers)).status_code for body, headers in requests]


async def test_the_access_log_has_a_line_for_each_request(state: State) -> None:
    stream = io.StringIO()
    sink = Background("access-log", AccessLog("churn", "3", stream))
    notes = Telemetry(sink, None)
    notes.start()
    assert await ask(state, notes, (ROW, {**SECRET, "traceparent": TRACEPARENT}), ({"secret": 1}, {})) == [200, 400]
    notes.stop()
    good, bad = map(json.loads, stream.getvalue().splitlines())
    assert good.pop("time").endswith("+00:00")
    assert 0 < good.pop("predict_seconds") < good.pop("seconds") < 60
    assert good == {
        "level": "info",
        "event": "request",
        "request_id": "mine",
        "protocol": "mlflow",
        "status": 200,
        "rows": 1,
        "request_bytes": len(json.dumps(ROW, separators=(",", ":"))),
        "response_bytes": len('{"predictions": ["leaves"]}'),
        "trace_id": TRACE,
        "model": "churn",
        "version": "3",
    }
    assert (bad["level"], bad["status"], bad["error"]) == ("warning", 400, "BAD_REQUEST")
    assert bad["request_id"]
    assert "secret" not in stream.getvalue()


def note() -> Note:
    made = begin("mlflow", "POST", "/invocations", {}, b"id", traced=False)
    made.has_ended(200, 1)
    return made


def test_a_log_that_cannot_keep_up_says_how_much_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_WAITING", 3)
    stream = io.StringIO()
    sink = Background("access-log", AccessLog("churn", "3", stream))
    for _ in range(10):
        sink.add(note())
    sink.start()
    sink.stop(30)
    lines = list(map(json.loads, stream.getvalue().splitlines()))
    assert [line["event"] for line in lines] == ["request"] * 3 + ["access_log_left_out"]
    assert lines[-1]["lines"] == 7


def test_a_sink_that_fails_or_hangs_harms_nobody() -> None:
    def fail(*_: object) -> None:
        raise OSError("full")

    broken = Background("access-log", fail)
    broken.add(note())
    broken.start()
    broken.stop(30)

    hangs = threading.Event()

    def hang() -> None:
        hangs.wait(60)

    hanging = Background("traces", lambda *_: None, hang)
    hanging.start()
    start = time.monotonic()
    hanging.stop(0.1)
    assert time.monotonic() - start < 30
    hangs.set()


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> tuple[InMemorySpanExporter, Telemetry]:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    exporter = InMemorySpanExporter()
    sink = Traces("churn", "3", exporter)
    return exporter, Telemetry(None, Background("traces", sink, sink.close))


async def test_a_request_is_a_span_with_what_it_consisted_of(
    state: State, exported: tuple[InMemorySpanExporter, Telemetry]
) -> None:
    exporter, notes = exported
    notes.start()
    await ask(state, notes, (ROW, {**SECRET, "traceparent": TRACEPARENT, "tracestate": "a=b"}))
    notes.stop()
    *steps, span = exporter.get_finished_spans()
    assert [step.name for step in steps] == ["receive", "read", "queue", "predict", "write"]
    assert (span.name, span.kind) == ("POST /invocations", SpanKind.SERVER)
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context.trace_state.get("a") == "b"
    attributes = dict(span.attributes or {})
    expected = {
        "http.request.method": "POST",
        "http.route": "/invocations",
        "http.response.status_code": 200,
        "url.path": "/invocations",
        "modelyard.protocol": "mlflow",
        "modelyard.rows": 1,
        "modelyard.request_id": "mine",
        "modelyard.version": "3",
    }
    assert expected.items() <= attributes.items()
    assert "secret" not in repr(attributes)
    assert {"service.name": "churn", "deployment.environment.name": "test"}.items() <= span.resource.attributes.items()
    assert all(step.parent is not None and step.parent.span_id == span.context.span_id for step in steps)
    assert all(within(step, span) for step in steps)


def within(step: ReadableSpan, span: ReadableSpan) -> bool:
    assert span.start_time is not None
    assert span.end_time is not None
    assert step.start_time is not None
    assert step.end_time is not None
    return span.start_time <= step.start_time <= step.end_time <= span.end_time


async def test_what_a_trace_is_decides_whether_it_is_kept(
    state: State, exported: tuple[InMemorySpanExporter, Telemetry]
) -> None:
    exporter, notes = exported
    notes.start()
    harness.predicts(state, lambda: [1 // 0])
    not_sampled = f"00-{TRACE}-{PARENT}-00"
    await ask(state, notes, (ROW, {"traceparent": not_sampled}), (ROW, {"traceparent": "nonsense"}), ({}, {}))
    notes.stop()
    roots = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
    assert [span.parent for span in roots] == [None, None]
    assert len({span.context.trace_id for span in roots}) == 2
    assert {span.status.status_code for span in roots} == {StatusCode.UNSET}


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_sent_where_the_standard_variables_ask_for_them(env: dict[str, str], wanted: bool) -> None:
    assert traces.wanted(env) is wanted
    assert (telemetry(env, "churn", "3", access_log=False) is not None) is wanted


def test_spans_arrive_at_a_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    monkeypatch.setenv(*next(iter(env.items())))
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    notes = telemetry(env, "churn", "3", access_log=False)
    assert notes is not None
    notes.start()
    for _ in range(3):
        made = notes.begin("mlflow", "POST", "/invocations", {}, b"id")
        made.has_ended(200, 1)
        notes.end(made)
    eventually(lambda: bodies, "spans")
    notes.stop()
    collector.shutdown()
    collector.server_close()
    assert {path for path, _ in bodies} == {"/v1/traces"}
    assert b"POST /invocations" in bodies[0][1]


def test_opentelemetry_is_not_imported_where_nothing_is_traced() -> None:
    code = "import sys, modelyard_serving.server; print([name for name in sys.modules if name.startswith('opentel')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


async def test_what_is_answered_is_told_on_the_whole(state: State) -> None:
    app, _ = application(state, Shared(state))
    async with harness.client(app) as http:
        for _ in range(3):
            await http.post("/invocations", json=ROW)
        await http.post("/invocations", json={})
        found = Scrape((await http.get("/metrics")).text)
        again = Scrape((await http.get("/metrics")).text)
    for scrape in (found, again):
        assert scrape("modelyard_answers_total", bin="leaves") == 3
        assert scrape("modelyard_answers_invalid_total") == 0
        assert not scrape.labels("modelyard_answer_min")
    assert found("modelyard_protocol_requests_total", protocol="mlflow", code="200") == 3


def scrape(metrics: Metrics) -> Scrape:
    return Scrape(render(metrics.registry).decode())


def test_numbers_have_bins_and_bounds_and_of_many_some_are_looked_at() -> None:
    metrics = Metrics()
    metrics.answers.read_by({"plain": json.loads})
    metrics.answers.add("plain", b"[1.5, -2.5, NaN, null]")
    found = scrape(metrics)
    assert (found("modelyard_answer_min"), found("modelyard_answer_max")) == (-2.5, 1.5)
    assert found("modelyard_answers_invalid_total") == 2

    for broken in (b"{", b"[" + b"1," * answers.MAX_ANSWER_BYTES + b"1]"):
        metrics.answers.add("plain", broken)
    metrics.answers.add("unknown", b"[7]")
    for _ in range(answers.MAX_ANSWERS + 100):
        metrics.answers.add("plain", json.dumps([7] * 100).encode())
    looked_at = scrape(metrics)("modelyard_answers_total", bin="7")
    assert answers.MAX_ROWS / 2 < looked_at <= answers.MAX_ROWS


def test_what_clients_cause_is_logged_so_often_and_then_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 101.0, 102.0, 103.0, 109.9, 110.0])
    monkeypatch.setattr(logs, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    throttle = logs.Throttle(lines=2, seconds=10)
    assert [throttle.admit() for _ in range(5)] == [0, 0, None, None, None]
    assert throttle.admit() == 3
