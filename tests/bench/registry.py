"""How a model with thousands of versions behaves, beside MLflow's own registry, through the same server and client.

`make bench-registry` runs it: an API server, a MinIO, two stock MLflow servers (one on Modelyard's registry, one on
MLflow's in SQLite) and the operator, each a process of its own. Every version has tags and a description. Registering
is measured for the first and the last ones of each size, the two servers taking turns; searching and starting cold at
each size.
"""

# mypy: allow-untyped-calls

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate, Registry
from tests.e2e.api_server import NAMESPACE, run_api_server
from tests.e2e.processes import running, wait_until
from tests.e2e.registry_fixtures import Cluster, now, run_minio, run_tracking

SIZES = (1000, 5000)
MEASURED = 15
MODEL = "churn"
TAGS = {"team": "risk", "data_version": "v2.3.1", "training_set": "customers-2026-01", "approved": "no"}
DESCRIPTION = "Trained on the customers of the last twelve months; see the notebook for what was left out. " * 4
LIMIT_KIB = 512


def timed(act: Callable[[], object]) -> float:
    """Return how long it takes, in milliseconds."""
    begin = time.perf_counter()
    act()
    return (time.perf_counter() - begin) * 1000


class Bench:
    """One model in both registries."""

    def __init__(self, cluster: Cluster, ours: MlflowClient, theirs: MlflowClient, database: Path) -> None:
        """`database` is the file of MLflow's own registry."""
        self.cluster = cluster
        self.database = database
        self.clients = {"modelyard": ours, "mlflow": theirs}
        self.source = cluster.put_model("bench")
        for client in self.clients.values():
            client.create_registered_model(MODEL)

    def register(self, which: str) -> float:
        """Register one version through a server; return the milliseconds."""
        client = self.clients[which]
        return timed(
            lambda: client.create_model_version(
                MODEL, self.source, tags=TAGS, description=DESCRIPTION, await_creation_for=0
            )
        )

    def register_some(self) -> dict[str, float]:
        """Register some versions in turns; return each one's median."""
        turns = [{which: self.register(which) for which in self.clients} for _ in range(MEASURED)]
        return {which: statistics.median(turn[which] for turn in turns) for which in self.clients}

    def fill(self, size: int) -> None:
        """Register until there are that many, in both registries by their own code without a server in between."""
        registry = Registry(self.cluster.client, self.cluster.store, now)
        have = registry.read(NAMESPACE, MODEL)[1].latest_version
        candidate = Candidate(
            source=self.source, artifact=self.source, created_by="mlflow", tags=TAGS, description=DESCRIPTION
        )
        theirs = SqlAlchemyStore(f"sqlite:///{self.database}")
        tags = [ModelVersionTag(key, value) for key, value in TAGS.items()]
        for number in range(have, size):
            registry.register_version(NAMESPACE, MODEL, candidate)
            theirs.create_model_version(MODEL, self.source, tags=tags, description=DESCRIPTION)
            if number % 500 == 0:
                print(f"  {number} of {size} versions", file=sys.stderr, flush=True)

    def search(self, which: str, max_results: int, filter_string: str) -> float:
        """Return the median of a search's milliseconds."""
        client = self.clients[which]
        return statistics.median(
            timed(lambda: client.search_model_versions(filter_string, max_results=max_results)) for _ in range(5)
        )

    def object_kib(self) -> float:
        """Return how large the object is as the API server stores it, with its managed fields."""
        body = self.cluster.client.get(REGISTERED_MODELS, NAMESPACE, MODEL)
        return len(json.dumps(body, separators=(",", ":"))) / 1024

    def cold_read(self) -> float:
        """Return how long a process needs that knows nothing yet, in milliseconds."""
        registry = Registry(self.cluster.client, self.cluster.store, now)
        return timed(lambda: registry.read(NAMESPACE, MODEL))


@contextmanager
def operator(cluster: Cluster, directory: Path, tracking_uri: str) -> Iterator[None]:
    """Run the operator as a process."""
    settings = cluster.minio.settings
    environment = {
        **cluster.minio.writer.environment,
        "KUBECONFIG": str(cluster.kubeconfig),
        "MODELYARD_ARTIFACT_STORE": settings.artifact_store,
        "MODELYARD_S3_ENDPOINT": str(settings.s3_endpoint),
        "MODELYARD_TRACKING_URI": tracking_uri,
        "MODELYARD_SERVING_IMAGE": "none",
        "MODELYARD_TRAINING_IMAGE": "none",
        "MODELYARD_OPERATOR_IMAGE": "none",
    }
    with running([sys.executable, "-m", "modelyard"], directory, environment) as process:
        process.wait_for("http://127.0.0.1:8080/healthz")
        yield


def measure(bench: Bench, first: dict[str, float], size: int) -> list[str]:
    """Fill up to a size and return the table's rows for it."""
    bench.fill(size)
    wait_until("the operator", lambda: bench.cluster.model(MODEL).status.latest_version >= size, 60)
    last = bench.register_some()
    every = f"name = '{MODEL}'"
    rows = [
        f"| {size} | object | {bench.object_kib():.0f} KiB of {LIMIT_KIB} | |",
        f"| {size} | read by a new process | {bench.cold_read():.0f} ms | |",
    ]
    for what, ours, theirs in (
        ("register the next", last["modelyard"], last["mlflow"]),
        ("register the first", first["modelyard"], first["mlflow"]),
        *(
            (label, *(bench.search(which, page, text) for which in ("modelyard", "mlflow")))
            for label, page, text in (
                ("search, 100 newest", 100, every),
                ("search, 1,000 in a page", 1000, every),
                ("search by a tag, none found", 1000, "tag.team = 'none'"),
            )
        ),
    ):
        rows.append(f"| {size} | {what} | {ours:.0f} ms | {theirs:.0f} ms |")
    rows.append(f"| {size} | next : first | {last['modelyard'] / first['modelyard']:.2f} | |")
    return rows


def main() -> int:
    """Measure and print a table."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parts = {part: directory / part for part in ("api", "minio", "ours", "theirs", "operator")}
        for part in parts.values():
            part.mkdir()
        server = stack.enter_context(run_api_server(parts["api"]))
        cluster = Cluster(server, stack.enter_context(run_minio(parts["minio"])))
        ours = stack.enter_context(run_tracking(cluster, parts["ours"], f"modelyard://{NAMESPACE}"))
        theirs = stack.enter_context(run_tracking(cluster, parts["theirs"], None))
        stack.enter_context(operator(cluster, parts["operator"], ours))
        bench = Bench(cluster, MlflowClient(ours), MlflowClient(theirs), parts["theirs"] / "mlflow.db")
        print(f"registering {MEASURED} versions in turns", flush=True)
        first = bench.register_some()
        print("| versions | what | Modelyard | MLflow, SQLite |\n|---|---|---|---|", flush=True)
        for size in SIZES:
            print("\n".join(measure(bench, first, size)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
