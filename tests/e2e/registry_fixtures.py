"""A registry on real parts and nothing else: an API server of its own, MinIO, and the stock MLflow server.

They run as local processes on free ports, from the binaries that the local cluster is built of, so that no installed
operator works on the same objects. The operator's part is played by its reconciler in a thread.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import pytest

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.artifacts.store import ArtifactStore, connect
from modelyard.cluster.client import Client, Conflict
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate, Registry
from modelyard.settings import StoreSettings
from tests.e2e.api_server import NAMESPACE, ApiServer, run_api_server
from tests.e2e.processes import free_port, program, running


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the CRDs of this checkout."""
    with run_api_server(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@dataclass(frozen=True)
class User:
    """Credentials for MinIO."""

    access_key: str
    secret_key: str

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 reads."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@dataclass(frozen=True)
class Minio:
    """A MinIO with the bucket and users that the install-time job makes."""

    settings: StoreSettings
    root: User
    writer: User
    reader: User

    def client(self, user: User) -> Any:
        """Return a boto3 client for one of the users."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in user.environment.items():
                patch.setenv(name, value)
            return connect(self.settings)

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        """Run the install-time job."""
        environment = {
            **os.environ,
            **self.root.environment,
            "MODELYARD_ARTIFACT_STORE": self.settings.artifact_store,
            "MODELYARD_S3_ENDPOINT": str(self.settings.s3_endpoint),
            "MODELYARD_MINIO_ADMIN": "true",
        }
        for role, user in (("WRITER", self.writer), ("READER", self.reader)):
            environment[f"MODELYARD_{role}_ACCESS_KEY_ID"] = user.access_key
            environment[f"MODELYARD_{role}_SECRET_ACCESS_KEY"] = user.secret_key
        command = [sys.executable, "-m", "modelyard.artifacts.bootstrap"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=330)


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A MinIO, with the install-time job done."""
    with run_minio(tmp_path_factory.mktemp("minio")) as made:
        yield made


@contextmanager
def run_minio(directory: Path) -> Iterator[Minio]:
    """Run a MinIO, its data and log in `directory`, with the install-time job done."""
    port = free_port()
    made = Minio(
        StoreSettings(
            artifact_store="s3://modelyard/team",
            s3_endpoint=f"http://127.0.0.1:{port}",
            s3_region="us-east-1",
            git_managers=("argocd-controller",),
        ),
        root=User("root", secrets.token_hex(16)),
        writer=User("modelyard", secrets.token_hex(16)),
        reader=User("reader", secrets.token_hex(16)),
    )
    root = {"MINIO_ROOT_USER": made.root.access_key, "MINIO_ROOT_PASSWORD": made.root.secret_key}
    command = [program("minio"), "server", "--quiet", f"--address=127.0.0.1:{port}", str(directory / "data")]
    with running(command, directory, {**root, "HOME": str(directory)}):
        # The job itself waits for the endpoint.
        done = made.bootstrap()
        assert done.returncode == 0, done.stderr
        yield made


class Cluster:
    """One namespace of the API server, with a registry and what a user and an operator do there."""

    def __init__(self, server: ApiServer, minio: Minio) -> None:
        self.server = server
        self.kubeconfig = server.kubeconfig
        self.minio = minio
        self.s3 = minio.client(minio.writer)
        self.client = self.new_client()
        self.store = self.new_store()
        self.registry = Registry(self.client, self.store, now)

    def new_client(self, on_request: Callable[[str, str], None] | None = None) -> Client:
        configuration = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.retries = False
        return Client(kubernetes.client.ApiClient(configuration), on_request)

    def new_store(self, on_write: Callable[[str], None] | None = None) -> ArtifactStore:
        return ArtifactStore(self.minio.settings, client=self.s3, on_write=on_write)

    def new_reconciler(self) -> RegisteredModelReconciler:
        return RegisteredModelReconciler(self.client, self.store, now)

    def put_model(self, name: str, content: bytes = b"weights") -> str:
        """Write a model's directory; return its s3:// URI."""
        settings = self.minio.settings
        for path, data in (("MLmodel", b"flavors: {sklearn: {}}\n"), ("model.pkl", content)):
            self.s3.put_object(Bucket=settings.bucket, Key=f"{settings.prefix}/artifacts/{name}/{path}", Body=data)
        return f"{settings.artifacts_destination}/{name}"

    def delete_file(self, uri: str) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.delete_object(Bucket=bucket, Key=key)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.server.kubectl(*arguments, stdin=stdin)

    def apply(self, name: str, spec: dict[str, Any], manager: str) -> None:
        """Apply a manifest on the server's side, as Git's hands do."""
        manifest = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "RegisteredModel",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }
        self.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(manifest))

    def patch(self, name: str, spec: dict[str, Any]) -> None:
        self.kubectl("patch", "registeredmodel", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def model(self, name: str) -> RegisteredModel:
        return RegisteredModel.parse(self.client.get(REGISTERED_MODELS, NAMESPACE, name))


@pytest.fixture(scope="session")
def own_cluster(api_server: ApiServer, minio: Minio) -> Cluster:
    """An API server and a MinIO, and no operator."""
    return Cluster(api_server, minio)


class Operator:
    """Reconciles what has changed, as the operator's process does, until it is stopped."""

    def __init__(self, cluster: Cluster, namespace: str = NAMESPACE) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._reconciler = cluster.new_reconciler()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failures: list[Exception] = []

    def __enter__(self) -> Operator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=60)
        assert self.failures == [], self.failures

    def _run(self) -> None:
        seen: dict[str, str] = {}
        while not self._stopped.wait(0.05):
            for body in self._cluster.client.list_all(REGISTERED_MODELS, self._namespace):
                metadata = body["metadata"]
                if seen.get(metadata["uid"]) == metadata["resourceVersion"]:
                    continue
                try:
                    self._reconciler(self._namespace, metadata["name"])
                except Conflict:
                    # Others wrote it every time: the operator's queue tries again.
                    continue
                except Exception as error:
                    self.failures.append(error)
                seen[metadata["uid"]] = metadata["resourceVersion"]


@pytest.fixture
def operator(own_cluster: Cluster) -> Iterator[Operator]:
    """The operator's part, while a test runs."""
    with Operator(own_cluster) as running_operator:
        yield running_operator


@pytest.fixture(scope="session")
def tracking_uri(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stock MLflow server with our store, started as the chart starts it."""
    with run_tracking(own_cluster, tmp_path_factory.mktemp("tracking"), f"modelyard://{NAMESPACE}") as uri:
        yield uri


@contextmanager
def run_tracking(cluster: Cluster, directory: Path, registry_uri: str | None) -> Iterator[str]:
    """Run the stock MLflow server as the chart does, its database in `directory`; without a URI its own registry."""
    settings, port = cluster.minio.settings, free_port()
    environment = {
        **cluster.minio.writer.environment,
        "AWS_DEFAULT_REGION": settings.s3_region,
        "KUBECONFIG": str(cluster.kubeconfig),
        "MODELYARD_ARTIFACT_STORE": settings.artifact_store,
        "MODELYARD_S3_ENDPOINT": str(settings.s3_endpoint),
        "MODELYARD_GIT_MANAGERS": ",".join(settings.git_managers),
        "MODELYARD_TRANSITION_TIMEOUT": "30",
        "MLFLOW_S3_ENDPOINT_URL": str(settings.s3_endpoint),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [
        str(Path(sys.executable).parent / "mlflow"),
        "server",
        "--host=127.0.0.1",
        f"--port={port}",
        "--workers=1",
        "--gunicorn-opts=--worker-class gthread --threads 8 --timeout 120",
        f"--backend-store-uri=sqlite:///{directory / 'mlflow.db'}",
        "--serve-artifacts",
        f"--artifacts-destination={settings.artifacts_destination}",
        "--default-artifact-root=mlflow-artifacts:/",
        *([f"--registry-store-uri={registry_uri}"] if registry_uri else []),
    ]
    with running(command, directory, environment) as server:
        server.wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def name(own_cluster: Cluster) -> Iterator[str]:
    """The name of a model that exists, with nothing in it."""
    made = f"churn-{uuid.uuid4().hex[:8]}"
    own_cluster.registry.ensure_model(NAMESPACE, made, "test")
    yield made
    own_cluster.client.delete(REGISTERED_MODELS, NAMESPACE, made)


def register(registry: Registry, name: str, artifact: str, key: str | None = None) -> int:
    candidate = Candidate(source=artifact, artifact=artifact, created_by="test")
    if key:
        return registry.register_once(NAMESPACE, name, candidate, key).version
    return registry.register_version(NAMESPACE, name, candidate).version
