"""What a sweep of a thousand trials costs: time, the operator's memory, the API server's and MLflow's requests.

`make bench-experiments` runs it: a control plane of its own, nodes that are objects only, a MinIO, a real tracking
server, and the operator as a process. kwok starts and ends the trials' pods; what their programs do is done here: each
logs the objective and ends its run, as `mlflow.start_run()` does in a program that `mlflow run` has started.

    uv run python -m tests.bench.experiments [--trials 1000] [--parallelism 50] [--algorithm Random] [--kill 3]

With `--kill` the operator is killed so many times on the way, and no trial may run twice.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from modelyard.api import Experiment
from modelyard.api.names import API_VERSION
from modelyard.cluster.resources import CONFIG_MAPS, of_kind
from modelyard.decide.experiment_model import TRIAL_TAG
from tests.bench.deployments import LOOKS, WRITES, run_operator, say, settled
from tests.bench.kwok import CONTROLLERS, NAMESPACE, ControlPlane, busy, cpu_seconds, memory_mib, run_control_plane
from tests.bench.programs import PROGRAM, Programs
from tests.e2e.api_server import ApiServer
from tests.e2e.operator_process import kill
from tests.e2e.processes import Process
from tests.e2e.registry_fixtures import Cluster, run_minio, run_tracking

Json = dict[str, Any]
EXPERIMENTS = of_kind(Experiment)
NAME = "sweep"
STAGES = Path(__file__).with_name("kwok-trials.yaml")
MLPROJECT = """\
name: sweep
entry_points:
  main:
    parameters: {x: float, y: float}
    command: "python train.py {x} {y}"
"""


def experiment(trials: int, parallelism: int, algorithm: str) -> Json:
    """Return the sweep: two parameters, whose best values are 0.3 and 0.7."""
    sides: dict[str, Json] = {key: {"min": "0", "max": "1"} for key in "xy"}
    if algorithm == "Grid":
        steps = math.isqrt(trials - 1) + 1
        sides = {key: {"values": [f"{step / steps:.3f}" for step in range(steps)]} for key in "xy"}
    return {
        "apiVersion": API_VERSION,
        "kind": Experiment.kind_name,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "project": {"configMap": {"name": "project"}},
            "sweep": {
                "algorithm": algorithm,
                "parameters": sides,
                "maxTrials": trials,
                "parallelism": parallelism,
            },
            "objective": {"metric": "score"},
            "template": {"resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}},
        },
    }


class Access:
    """Counts what the tracking server was asked, from its access log; what the programs asked for apart."""

    def __init__(self, log: Path) -> None:
        self._log = log
        # gunicorn reads it beside what the command line says.
        self.arguments = f"--access-logfile {log} --access-logformat '%(a)s|%(m)s %(U)s'"

    def counted(self) -> Counter[str]:
        """Return how often the operator asked for what: `method path`."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        asked = (line.partition("|") for line in lines)
        return Counter(what.replace("/api/2.0/mlflow/", "") for who, _, what in asked if not who.startswith(PROGRAM))


class Memory:
    """The operator's resident memory, second by second, whichever process it is."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self.pid = 0
        self._begin = time.monotonic()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            # Between two processes there is none.
            with suppress(OSError, StopIteration):
                if self.pid:
                    self.samples.append((time.monotonic() - self._begin, memory_mib(self.pid)))
            time.sleep(1)

    def said(self) -> str:
        """Return how it grew: at tenths of the time, and the most."""
        step = max(1, len(self.samples) // 10)
        return " ".join(f"{value:.0f}" for _, value in self.samples[::step])

    @property
    def most(self) -> float:
        """The most that it was."""
        return max(value for _, value in self.samples)


@dataclass
class Bench:
    """The measurement and what it found, as (what, how much)."""

    plane: ControlPlane
    tracking_uri: str
    access: Access
    programs: Programs
    memory: Memory
    trials: int
    figures: list[tuple[str, str]] = field(default_factory=list)

    def note(self, what: str, found: str) -> None:
        """Keep a figure."""
        self.figures.append((what, found))
        say(f"{what}: {found}")

    def status(self) -> Json:
        """Return the sweep's status."""
        status: Json = self.plane.client().get(EXPERIMENTS, NAMESPACE, NAME).get("status", {})
        return status

    def wait(self, ended: int | None, seconds: float) -> Json:
        """Wait until so many trials have ended; None for all of it."""
        deadline, said = time.monotonic() + seconds, 0.0
        while True:
            status = self.status()
            runs = status.get("runs") or {}
            done = runs.get("succeeded", 0) + runs.get("failed", 0)
            conditions = {each["type"]: each for each in status.get("conditions", ())}
            verdict = conditions.get("Succeeded", {})
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"  {done} of {self.trials}, {self.programs.running} pods; {verdict.get('reason')}")
            if verdict.get("status") == "False" or self.programs.failures or time.monotonic() > deadline:
                sys.exit(f"after {done} trials: {verdict}; {self.programs.failures[:3]}")
            if status.get("finishedAt") if ended is None else done >= ended:
                return status
            time.sleep(0.5)

    def check(self, status: Json) -> None:
        """No trial has run twice, and none was left out."""
        twice = {index: number for index, number in self.programs.pods.items() if number > 1}
        runs = self._runs()
        children = Counter(run["trial"] for run in runs)
        parents = children.pop("parent", 0)
        found = (len(self.programs.pods), len(children), sum(children.values()), parents)
        if twice or found != (self.trials, self.trials, self.trials, 1):
            sys.exit(f"ran twice: {twice}; (trials that ran, trials, their runs, parents) = {found}")
        best = max(float(run["score"]) for run in runs if run["score"] is not None)
        told = float(status["bestRun"]["metrics"]["score"])
        if abs(told - best) > 1e-9 or status["runs"]["succeeded"] != self.trials:
            sys.exit(f"best {told}, and it was {best}; {status['runs']}")
        self.note("trials that ran twice or not", "0")
        self.note("best score of at most 1", f"{best:.6f}")

    def _runs(self) -> list[Json]:
        found: list[Json] = []
        token = ""
        with httpx.Client(headers={"User-Agent": PROGRAM}, timeout=60) as client:
            while True:
                query = {"experiment_ids": [self.status()["experimentId"]], "max_results": 1000, "page_token": token}
                answer = client.post(f"{self.tracking_uri}/api/2.0/mlflow/runs/search", json=query)
                page = answer.raise_for_status().json()
                found += [_run(run) for run in page.get("runs", ())]
                token = page.get("next_page_token", "")
                if not token:
                    return found

    def costs(self, requests: Counter[str], asked: Counter[str]) -> None:
        """Note what a trial cost the API server and MLflow."""
        for what, verbs in (("writes", WRITES), ("reads", LOOKS)):
            mine = Counter({each: number for each, number in requests.items() if each.split()[0] in verbs})
            self.note(f"API {what} a trial", f"{mine.total() / self.trials:.2f}  {_each(mine, self.trials)}")
        self.note("MLflow requests a trial", f"{asked.total() / self.trials:.2f}  {_each(asked, self.trials)}")

    def quiet(self, pid: int, seconds: float) -> None:
        """A while in which nothing is to do."""
        settled(pid, 5)
        before, asked, used = self.plane.requests(), self.access.counted(), cpu_seconds(pid)
        time.sleep(seconds)
        counted, after = self.plane.requests() - before, self.access.counted() - asked
        writes = sum(number for each, number in counted.items() if each.split()[0] in WRITES)
        reads = sum(number for each, number in counted.items() if each.split()[0] in LOOKS)
        self.note(
            f"in {seconds:.0f} quiet seconds",
            f"{writes} writes, {reads} reads, {after.total()} of MLflow, {cpu_seconds(pid) - used:.2f} s processor",
        )


def _run(run: Json) -> Json:
    tags = {each["key"]: each["value"] for each in run["data"].get("tags", ())}
    metrics = {each["key"]: each["value"] for each in run["data"].get("metrics", ())}
    return {"trial": tags[TRIAL_TAG], "score": metrics.get("score")}


def _each(counted: Counter[str], trials: int) -> str:
    return ", ".join(f"{number / trials:.2f} {what}" for what, number in counted.most_common(8))


@contextmanager
def profiled(pid: int, output: Path | None) -> Iterator[None]:
    """Have py-spy, where there is one, look at what a process spends its time on."""
    command = shutil.which("py-spy")
    if output is None or command is None:
        yield
        return
    arguments = [
        "record",
        "--pid",
        str(pid),
        "--rate",
        "50",
        "--format",
        "raw",
        "--output",
        str(output),
        "--nonblocking",
    ]
    with subprocess.Popen([command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as profiler:
        try:
            yield
        finally:
            profiler.send_signal(2)
            profiler.wait(60)


def sweep(bench: Bench, start: Callable[[], Process], options: argparse.Namespace) -> Process:
    """Run it, killing the operator on the way as often as was asked for; return the process that is left."""
    process = start()
    bench.memory.pid = process.process.pid
    settled(process.process.pid)
    say(f"the operator with nothing: {memory_mib(process.process.pid):.0f} MiB")
    client = bench.plane.client()
    client.create(
        CONFIG_MAPS,
        NAMESPACE,
        {"metadata": {"name": "project"}, "data": {"MLproject": MLPROJECT, "train.py": "print('played')\n"}},
        "bench",
    )
    before, asked, begin, used = bench.plane.requests(), bench.access.counted(), time.monotonic(), 0.0
    started = cpu_seconds(process.process.pid)
    client.create(EXPERIMENTS, NAMESPACE, experiment(options.trials, options.parallelism, options.algorithm), "bench")
    for number in range(options.kill):
        bench.wait(options.trials * (number + 1) // (options.kill + 1), options.patience)
        used += cpu_seconds(process.process.pid) - started
        kill(process)
        say("killed")
        process, started = start(), 0.0
        bench.memory.pid = process.process.pid
    pid = process.process.pid
    with profiled(pid, options.profile):
        status = bench.wait(None, options.patience)
    wall = time.monotonic() - begin
    used += cpu_seconds(pid) - started
    bench.note(
        f"{options.trials} trials, {options.algorithm}", f"{wall:.1f} s, {options.trials / wall * 60:.0f} a minute"
    )
    bench.note("pods at a time", f"{bench.programs.most} of {options.parallelism}, {options.seconds:.0f} s each")
    bench.note("the operator's processor time", f"{used:.1f} s, {used / options.trials * 1000:.0f} ms a trial")
    bench.note("its memory, MiB", f"{bench.memory.said()}; most {bench.memory.most:.0f}")
    bench.costs(bench.plane.requests() - before, bench.access.counted() - asked)
    for name, seconds in busy().items():
        say(f"  {seconds:6.1f} s of a processor: {name}")
    bench.check(status)
    return process


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description="What a sweep of many trials costs.")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--parallelism", type=int, default=50)
    parser.add_argument("--algorithm", choices=("Grid", "Random", "Bayesian"), default="Random")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each trial's program runs")
    parser.add_argument("--kill", type=int, default=0, metavar="TIMES", help="kill the operator on the way")
    parser.add_argument("--quiet", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--patience", type=float, default=3600.0, metavar="SECONDS")
    parser.add_argument("--profile", type=Path, help="where py-spy, if it is installed, writes its stacks")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        nodes = max(3, -(-2 * options.parallelism // 100))
        controllers = f"{CONTROLLERS},job-controller"
        plane = stack.enter_context(run_control_plane(directory, nodes, controllers=controllers, stages=STAGES))
        minio = stack.enter_context(run_minio(directory))
        access = Access(directory / "access.log")
        os.environ["GUNICORN_CMD_ARGS"] = access.arguments
        tracking = stack.enter_context(run_tracking(Cluster(ApiServer(plane.admin.kubeconfig), minio), directory, None))
        operators = (directory / f"operator-{number}" for number in range(options.kill + 1))

        def start() -> Process:
            return stack.enter_context(run_operator(plane, minio, next(operators), tracking))

        programs = Programs(plane.client(), tracking, options.seconds)
        bench = Bench(plane, tracking, access, programs, Memory(), options.trials)
        process = sweep(bench, start, options)
        bench.quiet(process.process.pid, options.quiet)
        for what, found in bench.figures:
            print(f"{what:36}{found}")


if __name__ == "__main__":
    main()
