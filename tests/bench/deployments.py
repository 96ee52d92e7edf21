"""What a thousand ModelDeployments cost an API server, and how fast they follow, beside plain Deployments.

`make bench-deployments` runs it: a control plane of its own, nodes that are objects only, a MinIO with one model in
Production, and the operator as a process. Targets and the other operator's figures are those of one machine with two
cores; KServe 0.20 was measured there with an InferenceService for each ModelDeployment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import urllib3

from modelyard.api import ModelDeployment
from modelyard.api.names import API_VERSION, DEPLOYMENT_LABEL
from modelyard.cluster.client import Client
from modelyard.cluster.resources import DEPLOYMENTS, ResourceType, of_kind
from tests.bench.kwok import NAMESPACE, ControlPlane, busy, cpu_seconds, memory_mib, run_control_plane
from tests.e2e.api_server import ApiServer
from tests.e2e.operator_process import MAIN
from tests.e2e.processes import Process, free_port, running, wait_until
from tests.e2e.registry_fixtures import Cluster, Minio, run_minio

Json = dict[str, Any]
MODEL_DEPLOYMENTS = of_kind(ModelDeployment)
MODEL = "churn"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
LOOKS = {"get", "list"}
CLIENTS = 8


def say(text: str) -> None:
    """Say how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Watch:
    """Follows a kind and remembers when an object was first seen to be as something asks for."""

    def __init__(self, client: Client, resource: ResourceType, key: Callable[[Json], str | None]) -> None:
        """`key` names the state that an object is in, or is None where nobody asks for it."""
        self._key = key
        self._changed = threading.Condition()
        self.seen: dict[str, float] = {}
        # The answer never ends, so it is read as it comes.
        api = client._api
        headers: dict[str, str] = {}
        api.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        url = f"{api.configuration.host}{resource.path(NAMESPACE)}?watch=true"
        self._answer = api.rest_client.pool_manager.request("GET", url, headers=headers, preload_content=False)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        rest = b""
        for chunk in self._chunks():
            now = time.monotonic()
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                key = self._key(json.loads(line)["object"])
                if key is not None:
                    with self._changed:
                        self.seen.setdefault(key, now)
                        self._changed.notify_all()

    def _chunks(self) -> Iterator[bytes]:
        # It ends with the API server.
        with suppress(urllib3.exceptions.HTTPError):
            yield from self._answer.stream(1 << 16)

    def wait(self, keys: set[str], seconds: float) -> float:
        """Wait until all keys were seen; return when the last was. Ends the measurement where it takes too long."""
        deadline, said = time.monotonic() + seconds, time.monotonic()
        with self._changed:
            while not keys <= self.seen.keys():
                if time.monotonic() > deadline:
                    missing = sorted(keys - self.seen.keys())
                    sys.exit(f"not within {seconds:.0f} s: {len(missing)} of {len(keys)}, {missing[:3]} among them")
                self._changed.wait(1)
                if time.monotonic() - said > 5:
                    said = time.monotonic()
                    say(f"  {len(keys & self.seen.keys())} of {len(keys)}")
            return max(self.seen[key] for key in keys)


def ready(body: Json) -> str | None:
    """Name a ModelDeployment that is ready."""
    conditions = body.get("status", {}).get("conditions", ())
    good = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return str(body["metadata"]["name"]) if good else None


def available(body: Json) -> str | None:
    """Name a Deployment whose pod is there."""
    return str(body["metadata"]["name"]) if body.get("status", {}).get("availableReplicas") else None


def requested(body: Json) -> str | None:
    """Name a model's Deployment and the memory that its pods ask for, which is what the edits change."""
    owner = body["metadata"].get("labels", {}).get(DEPLOYMENT_LABEL)
    container = body["spec"]["template"]["spec"]["containers"][0]
    return owner and f"{owner} {container.get('resources', {}).get('requests', {}).get('memory')}"


def deployment(number: int) -> Json:
    """Return a ModelDeployment that asks for a Deployment, a Service, an Ingress and an autoscaler."""
    name = f"model-{number:04d}"
    return {
        "apiVersion": API_VERSION,
        "kind": ModelDeployment.kind_name,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"name": MODEL, "stage": "Production"},
            "rest": {
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
                "ingress": {"host": f"{name}.example.org", "className": "nginx"},
                "autoscaling": {"minReplicas": 1, "maxReplicas": 3, "targetCPU": 80},
            },
        },
    }


def plain(number: int) -> Json:
    """Return a Deployment that nobody's operator makes."""
    name = f"plain-{number:04d}"
    container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
        },
    }


def in_threads(act: Callable[[Any], object], arguments: list[Any]) -> None:
    """Do something for each argument, several at a time."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(act, arguments))


@contextmanager
def run_operator(
    plane: ControlPlane, minio: Minio, directory: Path, tracking_uri: str = "http://127.0.0.1:9"
) -> Iterator[Process]:
    """Run the operator's process, with an identity of its own."""
    directory.mkdir(exist_ok=True)
    port, settings = free_port(), minio.settings
    environment = {
        **minio.writer.environment,
        "AWS_DEFAULT_REGION": settings.s3_region,
        "KUBECONFIG": str(plane.operator_kubeconfig),
        "MODELYARD_ARTIFACT_STORE": settings.artifact_store,
        "MODELYARD_S3_ENDPOINT": str(settings.s3_endpoint),
        "MODELYARD_TRACKING_URI": tracking_uri,
        # Nodes that are objects only build nothing.
        "MODELYARD_ENVIRONMENTS": "false",
        "MODELYARD_SERVING_IMAGE": "serving",
        "MODELYARD_TRAINING_IMAGE": "training",
        "MODELYARD_OPERATOR_IMAGE": "operator",
        "MODELYARD_READER_ACCESS_KEY_ID": minio.reader.access_key,
        "MODELYARD_READER_SECRET_ACCESS_KEY": minio.reader.secret_key,
    }
    with running([sys.executable, "-c", MAIN, str(port)], directory, environment) as process:
        process.wait_for(f"http://127.0.0.1:{port}/healthz")
        yield process


def settled(pid: int, seconds: float = 2.0) -> float:
    """Wait until the operator does nothing for a while; return when it began to."""
    used, since = cpu_seconds(pid), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        now = cpu_seconds(pid)
        if now - used > 0.05 * seconds:
            used, since = now, time.monotonic()
    return since


def writes(counted: Counter[str]) -> int:
    """Return how many of the operator's requests change something."""
    return sum(number for request, number in counted.items() if request.split()[0] in WRITES)


def looks(counted: Counter[str]) -> int:
    """Return how many of the operator's requests read."""
    return sum(number for request, number in counted.items() if request.split()[0] in LOOKS)


class Bench:
    """The measurements, in their order; each leaves its figures in `figures`."""

    def __init__(self, plane: ControlPlane, minio: Minio, count: int) -> None:
        self.plane, self.minio, self.count = plane, minio, count
        self.client = plane.client()
        self.figures: list[tuple[str, str, str, str]] = []

    def note(self, what: str, found: str, target: str = "", kserve: str = "") -> None:
        """Keep a figure."""
        self.figures.append((what, found, target, kserve))
        say(f"{what}: {found}")

    def plain(self) -> None:
        """Plain Deployments: what the control plane itself needs."""
        watch = Watch(self.client, DEPLOYMENTS, available)
        begin = time.monotonic()
        in_threads(lambda body: self.client.apply(DEPLOYMENTS, body, "bench"), [plain(n) for n in range(self.count)])
        end = watch.wait({f"plain-{number:04d}" for number in range(self.count)}, 600)
        self.note("plain Deployments available", f"{end - begin:.1f} s", "", "18 s")
        in_threads(
            lambda number: self.client.delete(DEPLOYMENTS, NAMESPACE, f"plain-{number:04d}"), list(range(self.count))
        )
        names = {f"plain-{number:04d}" for number in range(self.count)}
        wait_until("deletion", lambda: not names & {name for _, name in self.client.list_names(DEPLOYMENTS)}, 300)

    def ready(self, pid: int) -> None:
        """All at once, until all are ready."""
        watch = Watch(self.client, MODEL_DEPLOYMENTS, ready)
        before, used, all_used = self.plane.requests(), cpu_seconds(pid), busy()
        begin = time.monotonic()
        bodies = [deployment(number) for number in range(self.count)]
        in_threads(lambda body: self.client.apply(MODEL_DEPLOYMENTS, body, "bench"), bodies)
        say(f"created within {time.monotonic() - begin:.1f} s")
        end = watch.wait({body["metadata"]["name"] for body in bodies}, 900)
        settled(pid)
        counted = self.plane.requests() - before
        self.note(f"{self.count} ModelDeployments Ready", f"{end - begin:.1f} s", "60 s", "125 s")
        self.note("writes for each", f"{writes(counted) / self.count:.2f}", "6", "12 + 3 dry-runs")
        self.note("reads for each", f"{looks(counted) / self.count:.2f}", "2", "21")
        self.note("the operator's processor time", f"{cpu_seconds(pid) - used:.1f} s", "", "48 s")
        self.note(
            "its memory", f"{memory_mib(pid):.0f} MiB (most {memory_mib(pid, 'VmHWM'):.0f})", "175 MiB", "175 MiB"
        )
        for name, seconds in busy().items():
            say(f"  {seconds - all_used.get(name, 0.0):6.1f} s of a processor: {name}")
        for request, number in counted.most_common(20):
            say(f"  {number:6d} {request}")

    def edits(self, spaced: int, at_once: int) -> None:
        """How long an edit needs to be in the Deployment."""
        watch = Watch(self.client, DEPLOYMENTS, requested)
        took = []
        for number in range(spaced):
            name, begin = f"model-{number % self.count:04d}", time.monotonic()
            self._edit(name, f"{100 + number}Mi")
            took.append(watch.wait({f"{name} {100 + number}Mi"}, 30) - begin)
            time.sleep(0.3)
        p50, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
        self.note(
            "a spaced edit in the Deployment",
            f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms",
            "p95 50 ms",
            "p95 43 ms",
        )
        names = [f"model-{number:04d}" for number in range(min(at_once, self.count))]
        begin = time.monotonic()
        in_threads(lambda name: self._edit(name, "99Mi"), names)
        end = watch.wait({f"{name} 99Mi" for name in names}, 60)
        self.note(f"{len(names)} edits at once, all in", f"{end - begin:.2f} s", "1 s", "5.5 s")

    def _edit(self, name: str, memory: str) -> None:
        patch = {"spec": {"rest": {"resources": {"requests": {"memory": memory}}}}}
        self.client.merge_patch(MODEL_DEPLOYMENTS, NAMESPACE, name, patch, "bench")

    def quiet(self, pid: int, seconds: float) -> None:
        """A while in which nothing is to do."""
        settled(pid, 5)
        before, used = self.plane.requests(), cpu_seconds(pid)
        time.sleep(seconds)
        counted = self.plane.requests() - before
        self.note(f"writes in {seconds:.0f} quiet seconds", str(writes(counted)), "0", "0")
        self.note("reads in that time", f"{looks(counted)} ({cpu_seconds(pid) - used:.1f} s of a processor)")

    def restart(self, pid: int, begin: float, before: Counter[str]) -> None:
        """A new process, until it has looked at everything."""
        end = settled(pid)
        counted = self.plane.requests() - before
        self.note("a restart is over within", f"{end - begin:.1f} s", "", "18 s")
        self.note("writes of a restart", str(writes(counted)), "0", "1,000")
        self.note("reads of a restart", str(looks(counted)))
        self.note("memory after it", f"{memory_mib(pid):.0f} MiB (most {memory_mib(pid, 'VmHWM'):.0f})", "175 MiB")


def promote(plane: ControlPlane, minio: Minio) -> None:
    """Register one version and put it into Production, as users do."""
    cluster = Cluster(ApiServer(plane.admin.kubeconfig), minio)
    source = cluster.put_model(MODEL)
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "RegisteredModel",
        "metadata": {"name": MODEL, "namespace": NAMESPACE},
        "spec": {"versions": [{"version": 1, "source": source}], "stages": {"production": 1}},
    }
    plane.admin.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    wait_until(
        "the promotion",
        lambda: (
            "production" in plane.admin.get("registeredmodel", MODEL, NAMESPACE).get("status", {}).get("stages", {})
        ),
        60,
    )


def report(figures: list[tuple[str, str, str, str]]) -> None:
    """Print the table."""
    print(f"{'':36}{'found':34}{'target':12}KServe 0.20")
    for what, found, target, kserve in figures:
        print(f"{what:36}{found:34}{target:12}{kserve}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description="What many ModelDeployments cost.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--quiet", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--no-plain", action="store_true", help="leave the plain Deployments out")
    options = parser.parse_args()
    nodes = max(3, -(-2 * options.count // 100))
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        directory = Path(place)
        with run_control_plane(directory, nodes) as plane, run_minio(directory) as minio:
            bench = Bench(plane, minio, options.count)
            if not options.no_plain:
                bench.plain()
            with run_operator(plane, minio, directory / "first") as process:
                pid = process.process.pid
                promote(plane, minio)
                settled(pid)
                say(f"the operator with nothing: {memory_mib(pid):.0f} MiB")
                bench.ready(pid)
                bench.edits(spaced=40, at_once=50)
                bench.quiet(pid, options.quiet)
            before, begin = plane.requests(), time.monotonic()
            with run_operator(plane, minio, directory / "second") as process:
                bench.restart(process.process.pid, begin, before)
            report(bench.figures)


if __name__ == "__main__":
    main()
