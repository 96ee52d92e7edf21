"""The chart as it comes: SQLite and MinIO, each on a volume."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from examples.demo.kubectl import CommandFailed, run
from tests.e2e.release import Release, installed

pytestmark = pytest.mark.timeout(1500)

PUT = """
import boto3, os, sys
client = boto3.client("s3", endpoint_url=os.environ["MODELYARD_S3_ENDPOINT"])
client.put_object(Bucket="modelyard", Key=sys.argv[1], Body=b"x")
"""


@pytest.fixture(scope="module")
def release(cluster: None) -> Iterator[Release]:
    yield from installed({})


def test_every_part_answers_by_its_names(release: Release) -> None:
    assert set(release.pods()) == {"operator", "tracking", "minio"}
    release.test()
    assert "pod/yard-modelyard-test" not in release.names("pods")


def test_operator_may_make_its_secret_and_no_other(release: Release) -> None:
    account = f"system:serviceaccount:{release.namespace}:yard-modelyard-operator"

    def apply(name: str) -> str:
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}}
        arguments = ("--server-side", "--field-manager=test", f"--as={account}", "-f", "-")
        return release.kubectl("apply", *arguments, stdin=json.dumps(body))

    assert "applied" in apply("modelyard-artifacts-reader")
    release.kubectl("delete", "secret", "modelyard-artifacts-reader")
    with pytest.raises(CommandFailed, match="forbidden"):
        apply("another")
    for verb, resource in (("list", "secrets"), ("patch", "experiments"), ("create", "pods"), ("get", "nodes")):
        with pytest.raises(CommandFailed):
            release.kubectl("auth", "can-i", verb, resource, f"--as={account}", "--quiet")


def test_artifacts_go_through_the_tracking_server_and_the_reader_cannot_write(release: Release) -> None:
    release.call("PUT", "/api/2.0/mlflow-artifacts/artifacts/note.txt", {"some": "artifact"})
    listed = release.call("GET", "/api/2.0/mlflow-artifacts/artifacts")
    assert [entry["path"] for entry in listed["files"]] == ["note.txt"]
    passwords = release.passwords()
    reader = {
        key: passwords[f"yard-modelyard-store-reader/{key}"] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    }
    with pytest.raises(CommandFailed, match="AccessDenied"):
        release.python(PUT, "artifacts/forged", environment=reader)


def test_upgrade_keeps_passwords_and_touches_only_what_changes(release: Release) -> None:
    passwords, pods = release.passwords(), release.pods()
    release.apply()
    assert release.passwords() == passwords
    assert release.pods() == pods
    release.apply(tracking={"threads": 4})
    assert release.passwords() == passwords
    changed = {component for component, uid in release.pods().items() if pods[component] != uid}
    assert changed == {"tracking"}


def test_a_restarted_store_has_its_bucket_and_users(release: Release) -> None:
    release.restart("minio")
    release.test()


def test_uninstalling_leaves_the_volumes_and_a_second_installation_takes_them_up(release: Release) -> None:
    release.record("kept")
    before = release.passwords()
    said = release.uninstall()
    assert "[PersistentVolumeClaim] yard-modelyard-tracking" in said
    assert release.names("all", "secrets", "serviceaccounts", "roles", "rolebindings", "persistentvolumeclaims") == {
        "persistentvolumeclaim/yard-modelyard-tracking",
        "persistentvolumeclaim/data-yard-modelyard-minio-0",
        "serviceaccount/default",
    }
    assert "yard-modelyard" not in run("kubectl", "get", "clusterroles,clusterrolebindings", "-o", "name")
    release.reinstall()
    assert set(before.values()) & set(release.passwords().values()) == {
        "modelyard-root",
        "modelyard-writer",
        "modelyard-reader",
    }
    assert "kept" in release.recorded()
    listed = release.call("GET", "/api/2.0/mlflow-artifacts/artifacts")
    assert [entry["path"] for entry in listed["files"]] == ["note.txt"]
