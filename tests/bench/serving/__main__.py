"""Our server beside `mlflow models serve`, MLServer and a bare uvicorn: speed, memory, start, and equal answers.

`make bench-serving` runs it. For each model all servers are started, one after the other, and stay; under each load
they take turns, so that what else happens on the machine happens to all. Only the one that is asked works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.serving import acceleration, answers, environments, load, report, servers
from tests.bench.serving.load import LOADS, MANY_ROWS
from tests.bench.serving.models import MODELS, Model
from tests.bench.serving.processes import cpu_seconds, memory, wait_idle
from tests.bench.serving.report import ModelResults, ServerResults
from tests.bench.serving.servers import ACCELERATED, BARE, NATIVE, Served, Server
from tests.bench.serving.store import Store, run_store

OURS = (ACCELERATED, NATIVE)


@dataclass(frozen=True)
class Settings:
    """What is measured, and for how long."""

    servers: tuple[str, ...]
    models: tuple[str, ...]
    rounds: int
    seconds: int
    warm_up: int
    output: Path


def settings(arguments: Sequence[str]) -> Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
    parser.add_argument("--servers", nargs="+", choices=servers.COMMANDS, default=list(servers.STANDARD))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement in a round")
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    parser.add_argument("--output", type=Path, default=Path("bench-serving.json"), help="for the JSON")
    given = parser.parse_args(arguments)
    rounds, seconds = (1, 1) if given.quick else (given.rounds, given.seconds)
    return Settings(tuple(given.servers), tuple(given.models), rounds, seconds, 1, given.output)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Measure, print tables, write the JSON. Returns 1 if any answer was an error or wrong, else 0."""
    chosen = settings(arguments)
    # An end from outside is an end in order: the servers are ended too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begin = time.monotonic()
    say("environments")
    environments.modelyard()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "minio").mkdir()
        with run_store(directory / "minio") as store:
            results = [measure_model(MODELS[name](), chosen, store, directory / name) for name in chosen.models]
    machine["load average afterwards"] = _load_average()
    machine["took"] = f"{time.monotonic() - begin:.0f} s"
    described = {**vars(chosen), "output": str(chosen.output)}
    chosen.output.write_text(json.dumps(report.document(machine, described, results), indent=1) + "\n")
    print(report.markdown(machine, results))
    return 1 if any(model.faults() for model in results) else 0


def measure_model(model: Model, chosen: Settings, store: Store, directory: Path) -> ModelResults:
    """Measure all servers with one model."""
    say(f"{model.name}: training, converting")
    model.save(directory / "model")
    accelerated = acceleration.convert(environments.modelyard(), directory / "model")
    onnx = None if accelerated.file is None else store.put_file(accelerated.file, f"{model.name}.onnx")
    served = Served(directory / "model", store.put_directory(directory / "model", model.name), onnx, store.environment)
    results = ModelResults(model.name, model.description, len(model.rows), accelerated.outcome)
    bodies = model.write_requests(directory)
    with ExitStack() as stack:
        running = []
        for name in chosen.servers:
            say(f"{model.name}: starting {name}")
            server = stack.enter_context(servers.run(name, served, directory / name))
            running.append(server)
            results.servers[name] = look_at(server)
        for server in running:
            if server.name != BARE:
                compare_answers(server, model, results.servers[server.name])
        put_under_load(running, results, bodies, chosen)
        for server in running:
            results.servers[server.name].memory_after = memory(server.session)
    return results


def look_at(server: Server) -> ServerResults:
    """Note what is known of a server that was just started."""
    wait_idle(server.session)
    start = (server.start_seconds, server.start_cpu_seconds, server.fetch_seconds)
    return ServerResults(*start, memory(server.session), runtime(server))


def runtime(server: Server) -> str:
    """Return what answers, as our server says."""
    if server.name not in OURS:
        return ""
    with urllib.request.urlopen(f"{server.url}/metadata") as answer:
        return str(json.load(answer).get("runtime", "native"))


def compare_answers(server: Server, model: Model, results: ServerResults) -> None:
    """Compare a server's answers with what the estimator itself says."""
    say(f"{model.name}: comparing {server.name}'s answers")
    labels = model.estimator.predict(model.rows).tolist()
    url = server.url + server.path
    results.labels = answers.compare(answers.labels(url, model, server.protocol), labels + labels[: answers.ROWS_ALONE])
    if server.name in OURS:
        expected = model.estimator.predict_proba(model.rows).tolist()
        results.probabilities = answers.compare(answers.probabilities(url, model), expected, answers.TOLERANCE)


def put_under_load(
    running: Sequence[Server], results: ModelResults, bodies: dict[tuple[str, int], Path], chosen: Settings
) -> None:
    """Measure under each load in turns: every server once, then every one once more, …."""
    seconds: dict[tuple[str, str], int] = {}
    for one, server, round_ in turns(running, chosen.rounds):
        key, path = (server.name, one.name), bodies[server.protocol, one.rows]
        if key not in seconds:
            warm = load.run(one, server.url, server.path, path, chosen.warm_up)
            seconds[key] = load.seconds_for(one, warm, chosen.seconds)
            wait_idle(server.session)
        before = cpu_seconds(server.session)
        measured = load.run(one, server.url, server.path, path, seconds[key])
        wait_idle(server.session)
        used = (cpu_seconds(server.session) - before) * 1e6 / max(measured.requests, 1)
        results.servers[server.name].rounds.setdefault(one.name, []).append(measured)
        results.servers[server.name].cpu_microseconds.setdefault(one.name, []).append(used)
        say(
            f"{results.name}, {one.name}, round {round_ + 1} of {chosen.rounds}, {server.name}: "
            f"{measured.rate:,.0f}/s, p99 {measured.p99:,.2f} ms{'' if measured.valid else f', {measured.errors}'}"
        )


def turns(running: Sequence[Server], rounds: int) -> Iterator[tuple[load.Load, Server, int]]:
    """Who is measured under what, in which order. The bare uvicorn is a measure of single rows alone."""
    for one in LOADS:
        for round_ in range(rounds):
            for server in running:
                if not (one == MANY_ROWS and server.name == BARE):
                    yield one, server, round_


def describe_machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": described,
        "processor": f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "load average before": _load_average(),
    }


def _load_average() -> str:
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
