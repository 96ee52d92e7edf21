"""One run's results, for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.serving.answers import Compared
from tests.bench.serving.load import LOADS, Load, Measured
from tests.bench.serving.processes import Memory
from tests.bench.serving.results import (
    Spread,
    Target,
    p99s,
    rates,
    ratio,
    target_of_memory,
    target_of_start,
    targets_of_load,
)
from tests.bench.serving.servers import ACCELERATED, MLFLOW, MLSERVER, NATIVE


@dataclass
class ServerResults:
    """One server with one model."""

    start_seconds: float
    start_cpu_seconds: float
    fetch_seconds: float | None
    memory_loaded: Memory
    runtime: str = ""
    """What the server says answers, where it does."""
    memory_after: Memory | None = None
    labels: Compared | None = None
    """Beside the estimator's own."""
    probabilities: Compared | None = None
    rounds: dict[str, list[Measured]] = field(default_factory=dict)
    """By the load's name."""
    cpu_microseconds: dict[str, list[float]] = field(default_factory=dict)
    """By the load's name: the CPU time of the server for each answer. Other load on the machine hardly changes it."""


@dataclass
class ModelResults:
    """All servers with one model."""

    name: str
    description: str
    rows: int
    acceleration: str
    """The outcome of the conversion's check."""
    servers: dict[str, ServerResults] = field(default_factory=dict)

    def rounds(self, load: Load) -> dict[str, list[Measured]]:
        """Return the measurements under a load, of the servers that were put under it."""
        return {name: one.rounds[load.name] for name, one in self.servers.items() if load.name in one.rounds}

    @property
    def ours(self) -> str | None:
        """The server that the targets are for: as it is by default."""
        return next((name for name in (ACCELERATED, NATIVE) if name in self.servers), None)

    def faults(self) -> list[str]:
        """Return why this is no measurement: answers that are errors, or wrong."""
        found = []
        for name, server in self.servers.items():
            for load, rounds in server.rounds.items():
                bad = [f"{dict(one.errors)} of {one.requests}" for one in rounds if not one.valid]
                found += [f"{self.name}, {name}, {load}: {text}" for text in bad]
            for what, compared in (("labels", server.labels), ("probabilities", server.probabilities)):
                if compared is not None and not compared.alike:
                    found.append(f"{self.name}, {name}, {what}: {compared}")
        return found

    def targets(self) -> list[Target]:
        """Return what is to be reached with this model, as far as the servers that ran say; nothing after faults."""
        if self.ours is None or self.faults():
            return []
        found = []
        for load in LOADS:
            if self.ours in (rounds := self.rounds(load)):
                found += targets_of_load(self.name, load, rounds, self.ours)
        ours, mlflow = self.servers[self.ours], self.servers.get(MLFLOW)
        if mlflow is not None and ours.memory_after and mlflow.memory_after:
            found.append(target_of_memory(self.name, ours.memory_after, mlflow.memory_after))
        if ours.fetch_seconds is not None:
            found.append(target_of_start(self.name, ours.start_seconds, ours.fetch_seconds))
        return found


def markdown(machine: Mapping[str, Any], models: Sequence[ModelResults]) -> str:
    """All of it as tables."""
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    for model in models:
        lines += ["", f"### {model.description}", "", f"Acceleration: {model.acceleration}", ""]
        lines += [*_speed(model), "", *_footprint(model)]
    lines += ["", "### To be reached", "", "| model | what | wanted | measured | |", "|---|---|---|---|---|"]
    for target in (target for model in models for target in model.targets()):
        verdict = "met" if target.met else "**not met**"
        lines.append(f"| {target.model} | {target.what} | {target.wanted} | {target.measured} | {verdict} |")
    if faults := [fault for model in models for fault in model.faults()]:
        lines += ["", "### This run is invalid", "", *(f"- {fault}" for fault in faults)]
    return "\n".join(lines)


def document(machine: Mapping[str, Any], settings: Mapping[str, Any], models: Sequence[ModelResults]) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "machine": dict(machine),
        "settings": dict(settings),
        "models": [asdict(model) for model in models],
        "targets": [asdict(target) for model in models for target in model.targets()],
        "faults": [fault for model in models for fault in model.faults()],
    }


def _speed(model: ModelResults) -> list[str]:
    header = "| load | server | answers/s | p50 ms | p99 ms | CPU µs | times mlflow | times mlserver |"
    lines = [header, "|---|---|---|---|---|---|---|---|"]
    for load in LOADS:
        rounds = model.rounds(load)
        for name, measured in rounds.items():
            times = [
                ratio(measured, rounds[peer]).text() if peer in rounds and peer != name and not model.faults() else ""
                for peer in (MLFLOW, MLSERVER)
            ]
            p50 = Spread.of([each.p50 for each in measured])
            cpu = Spread.of(model.servers[name].cpu_microseconds[load.name])
            cells = [load.name, name, rates(measured).text(0), p50.text(2), p99s(measured).text(2), cpu.text(0), *times]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _footprint(model: ModelResults) -> list[str]:
    lines = [
        "| server | runs | start s | of it CPU | download | MiB RSS (PSS) | after the load | labels | probabilities |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, server in model.servers.items():
        cells = [
            name,
            server.runtime,
            f"{server.start_seconds:.2f}",
            f"{server.start_cpu_seconds:.2f}",
            "" if server.fetch_seconds is None else f"{server.fetch_seconds:.2f}",
            _memory(server.memory_loaded),
            _memory(server.memory_after),
            "" if server.labels is None else str(server.labels),
            "" if server.probabilities is None else str(server.probabilities),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _memory(memory: Memory | None) -> str:
    return "" if memory is None else f"{memory.rss:.0f} ({memory.pss:.0f})"
