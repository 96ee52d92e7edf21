"""The registry on a real API server and a real MinIO."""

# mypy: allow-untyped-calls

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from modelyard.artifacts.store import ArtifactStore, ArtifactStoreUnreachable
from modelyard.reconcile.registeredmodel import RegisteredModelReconciler
from modelyard.registry.registry import Registry
from tests.e2e.api_server import NAMESPACE
from tests.e2e.processes import wait_until
from tests.e2e.registry_fixtures import (
    Cluster,
    Minio,
    Operator,
    api_server,
    minio,
    name,
    now,
    operator,
    own_cluster,
    register,
)

__all__ = ["api_server", "minio", "name", "operator", "own_cluster"]

pytestmark = pytest.mark.timeout(600)


class Crash(Exception):
    """The process ends here."""


# The install-time job


def test_the_install_time_job_may_run_again(minio: Minio) -> None:
    done = minio.bootstrap()
    assert done.returncode == 0, done.stderr
    assert "there already" in done.stdout


def test_the_reader_reads_artifacts_and_nothing_else(minio: Minio, own_cluster: Cluster) -> None:
    artifact = own_cluster.put_model("reader")
    own_cluster.store.put("registry/secret.json", b"{}")
    reader = minio.client(minio.reader)
    assert len(ArtifactStore(minio.settings, client=reader).manifest(artifact).files) == 2
    bucket = minio.settings.bucket
    for refused in (
        lambda: reader.get_object(Bucket=bucket, Key="team/registry/secret.json"),
        lambda: reader.list_objects_v2(Bucket=bucket, Prefix="team/registry/"),
        lambda: reader.list_objects_v2(Bucket=bucket),
        lambda: reader.put_object(Bucket=bucket, Key="team/artifacts/x", Body=b""),
        lambda: reader.delete_object(Bucket=bucket, Key="team/artifacts/reader/MLmodel"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            refused()


def test_wrong_credentials_are_named_with_endpoint_and_bucket(minio: Minio) -> None:
    stranger = minio.client(replace(minio.writer, secret_key="wrong"))
    with pytest.raises(
        ArtifactStoreUnreachable, match=rf"{minio.settings.s3_endpoint} refuses access to s3://modelyard/"
    ):
        ArtifactStore(minio.settings, client=stranger).get("registry/x")


# Numbers and crashes


def test_twenty_registrations_at_once_get_twenty_numbers(own_cluster: Cluster, name: str) -> None:
    artifact = own_cluster.put_model("crowd")
    with ThreadPoolExecutor(20) as pool:
        numbers = list(pool.map(lambda _: register(own_cluster.registry, name, artifact), range(20)))
    assert sorted(numbers) == list(range(1, 21))
    status = own_cluster.model(name).status
    assert [version.version for version in status.versions] == list(range(1, 21))
    assert status.latest_version == 20


def test_the_same_key_at_once_is_one_version(own_cluster: Cluster, name: str) -> None:
    artifact = own_cluster.put_model("key")
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: register(own_cluster.registry, name, artifact, "run-1"), range(8)))
    assert set(numbers) == {1}
    assert len(own_cluster.model(name).status.versions) == 1


class Mortal:
    """A process that ends at its n-th write to the cluster or to the store."""

    def __init__(self, cluster: Cluster, crash_at: int) -> None:
        self._left = crash_at
        client = cluster.new_client(lambda method, path: self._write(path) if method != "GET" else None)
        store = cluster.new_store(self._write)
        self.registry = Registry(client, store, now)
        self.reconciler = RegisteredModelReconciler(client, store, now)

    def _write(self, what: str) -> None:
        self._left -= 1
        if self._left == 0:
            raise Crash(what)


@pytest.mark.parametrize("write", [1, 2])
def test_a_crash_while_registering(own_cluster: Cluster, name: str, write: int) -> None:
    artifact = own_cluster.put_model("crash")
    register(own_cluster.registry, name, artifact)
    with pytest.raises(Crash):
        register(Mortal(own_cluster, write).registry, name, artifact)
    own_cluster.new_reconciler()(NAMESPACE, name)
    committed = write > 1
    assert [v.version for v in own_cluster.model(name).status.versions] == ([1, 2] if committed else [1])
    assert register(own_cluster.registry, name, artifact) == (3 if committed else 2)


@pytest.mark.parametrize("write", [1, 2])
def test_a_crash_while_promoting(own_cluster: Cluster, name: str, write: int) -> None:
    for content in (b"one", b"two"):
        register(own_cluster.registry, name, own_cluster.put_model(f"promote-{content.decode()}", content))
    own_cluster.patch(name, {"stages": {"production": 1}})
    own_cluster.new_reconciler()(NAMESPACE, name)
    own_cluster.patch(name, {"stages": {"production": 2, "staging": 1}})
    with pytest.raises(Crash):
        Mortal(own_cluster, write).reconciler(NAMESPACE, name)
    own_cluster.new_reconciler()(NAMESPACE, name)
    status = own_cluster.model(name).status
    assert {key: stage.version for key, stage in status.stages.items()} == {"production": 2, "staging": 1}
    assert status.records.sequence == 4
    assert [(t.version, t.from_, t.to) for t in status.transitions] == [
        (1, "Production", "Staging"),
        (2, "None", "Production"),
        (1, "None", "Production"),
    ]


def test_a_converged_model_is_not_written(own_cluster: Cluster, name: str) -> None:
    register(own_cluster.registry, name, own_cluster.put_model("converged"))
    own_cluster.patch(name, {"stages": {"production": 1}})
    own_cluster.new_reconciler()(NAMESPACE, name)
    before = own_cluster.model(name).metadata.resource_version
    own_cluster.new_reconciler()(NAMESPACE, name)
    assert own_cluster.model(name).metadata.resource_version == before


def test_a_model_that_is_applied_again_gets_everything_back(own_cluster: Cluster, name: str) -> None:
    for number in (1, 2):
        register(own_cluster.registry, name, own_cluster.put_model(f"again-{number}"))
    own_cluster.registry.edit_version(NAMESPACE, name, 1, "mlflow", lambda m: replace(m, tags={"a": "b"}))
    spec = {"stages": {"production": 2}}
    own_cluster.apply(name, spec, "argocd-controller")
    # What never was in Git's manifest: the MLflow client's tag, description, alias and the other stage.
    own_cluster.patch(
        name, {"aliases": {"champion": 1}, "tags": {"t": "x"}, "description": "d", "stages": {"staging": 1}}
    )
    own_cluster.new_reconciler()(NAMESPACE, name)
    before, (_, state) = own_cluster.model(name), own_cluster.registry.read(NAMESPACE, name)
    own_cluster.kubectl("delete", "registeredmodel", name)
    own_cluster.apply(name, spec, "argocd-controller")
    own_cluster.new_reconciler()(NAMESPACE, name)
    after = own_cluster.model(name)
    assert (after.status.versions, after.status.stages, after.status.transitions) == (
        before.status.versions,
        before.status.stages,
        before.status.transitions,
    )
    assert (after.aliases, after.tags, after.description) == ({"champion": 1}, {"t": "x"}, "d")
    assert Registry(own_cluster.client, own_cluster.store, now).read(NAMESPACE, name)[1] == state
    assert after.spec.aliases == {}, "the operator writes no spec"


def test_kubectl_shows_stages_and_reasons(own_cluster: Cluster, operator: Operator, name: str) -> None:
    register(own_cluster.registry, name, own_cluster.put_model("columns"))
    own_cluster.patch(name, {"stages": {"production": 1, "staging": 7}})
    columns = ("get", "registeredmodel", name, "--no-headers")
    wait_until("the verdict", lambda: "VersionNotFound" in own_cluster.kubectl(*columns))
    assert own_cluster.kubectl(*columns).split()[:5] == [name, "1", "1", "False", "VersionNotFound"]
