from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.artifacts.store import ArtifactError, ArtifactMissing, ArtifactStore, Keys, Listed
from modelyard.settings import StoreSettings
from modelyard.sources import keep
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.limits import Limits
from modelyard.sources.s3 import S3Project, artifact_directory, keys_of, reading
from tests.unit.serving.fetch.minio import BUCKET, MinioStore, run_minio
from tests.unit.sources.test_archives import tarred, zipped

FILES = {"MLproject": b"name: churn", "a/train.py": b"print(1)"}
OWN = StoreSettings(artifact_store="s3://own", s3_endpoint="http://127.0.0.1:1", s3_region="us-east-1", git_managers=())


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as made:
        yield made


@pytest.fixture
def store(minio: MinioStore) -> ArtifactStore:
    return reading(OWN, f"s3://{BUCKET}", minio.endpoint, None, Keys(minio.access_key, minio.secret_key))


def brought(project: S3Project, root: Path) -> dict[str, bytes]:
    found = project.bring(root)
    return {file.path: file.source.read_bytes() for file in keep.on_disk(found) if file.source}


def test_all_files_below_a_prefix_are_the_project(minio: MinioStore, store: ArtifactStore, tmp_path: Path) -> None:
    minio.put("churn", FILES)
    minio.put("churn-2", {"other": b""})
    minio.client.put_object(Bucket=BUCKET, Key="churn/folder/", Body=b"")
    assert brought(S3Project(store, f"s3://{BUCKET}/churn/"), tmp_path) == FILES


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("churn.tar.gz", tarred(*FILES.items())),
        ("churn.TGZ", tarred(*((f"churn-1.4/{path}", data) for path, data in FILES.items()))),
        ("churn.zip", zipped(*FILES.items())),
        ("forge.zip", zipped(*((f"churn-1.4/{path}", data) for path, data in FILES.items()))),
    ],
    ids=["tar.gz", "tgz", "zip", "zip of a forge"],
)
def test_an_archive_is_the_project(
    minio: MinioStore, store: ArtifactStore, tmp_path: Path, name: str, data: bytes
) -> None:
    minio.put("archives", {name: data})
    assert brought(S3Project(store, f"s3://{BUCKET}/archives/{name}"), tmp_path) == FILES


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/print", f"s3://{BUCKET}/print/x.tgz"], ids=["directory", "archive"])
def test_the_fingerprint_is_another_after_any_change(minio: MinioStore, store: ArtifactStore, uri: str) -> None:
    minio.put("print", {"x.tgz": b"1"})
    first = S3Project(store, uri).fingerprint()
    assert S3Project(store, uri).fingerprint() == first
    minio.put("print", {"x.tgz": b"2"})
    assert S3Project(store, uri).fingerprint() != first


def test_what_is_not_there_is_named(store: ArtifactStore) -> None:
    with pytest.raises(SourceNotFound, match=r"spec\.project\.s3\.uri: there is no file below s3://models/nothing"):
        S3Project(store, f"s3://{BUCKET}/nothing").fingerprint()
    with pytest.raises(ArtifactMissing, match=r"s3://models/nothing\.zip does not exist"):
        S3Project(store, f"s3://{BUCKET}/nothing.zip").fingerprint()


@pytest.mark.parametrize("key", ["a/../../x", "/etc/x"])
def test_keys_that_lead_elsewhere_are_refused(key: str, tmp_path: Path) -> None:
    # MinIO itself takes no such key, other stores do.
    class Listing(ArtifactStore):
        def each(self, uri: str) -> Iterator[Listed]:  # noqa: ARG002
            return iter([Listed(key, 1, "etag", 0.0)])

    with pytest.raises(SourceNotFound, match="which is not taken"):
        S3Project(Listing(OWN), f"s3://{BUCKET}/x").bring(tmp_path)


def test_more_than_a_project_may_be_is_refused_before_it_is_read(minio: MinioStore, store: ArtifactStore) -> None:
    minio.put("many", {f"{index}.csv": b"0" * 100 for index in range(5)})
    for limits, said in ((Limits(count=4), "more than 4 files"), (Limits(total=499), "is larger than 499 bytes")):
        with pytest.raises(SourceNotFound, match=said):
            S3Project(store, f"s3://{BUCKET}/many", limits).fingerprint()


def test_reading_ends_at_its_deadline(minio: MinioStore, store: ArtifactStore, tmp_path: Path) -> None:
    minio.put("slow", {"x": b"1"})
    with pytest.raises(SourceUnreachable, match="was not read within 0 s"):
        S3Project(store, f"s3://{BUCKET}/slow", seconds=0).bring(tmp_path)


def test_wrong_credentials_are_told(minio: MinioStore) -> None:
    denied = reading(OWN, f"s3://{BUCKET}", minio.endpoint, None, Keys(minio.access_key, "wrong"))
    with pytest.raises(ArtifactError, match="refuses access to"):
        S3Project(denied, f"s3://{BUCKET}/churn").fingerprint()


def test_without_keys_only_what_is_public_is_read(minio: MinioStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The process's own are not for other stores.
    monkeypatch.setitem(os.environ, "AWS_ACCESS_KEY_ID", minio.access_key)
    monkeypatch.setitem(os.environ, "AWS_SECRET_ACCESS_KEY", minio.secret_key)
    minio.put("churn", FILES)
    anybody = reading(OWN, f"s3://{BUCKET}", minio.endpoint, None, Keys())
    with pytest.raises(ArtifactError, match="refuses access to"):
        S3Project(anybody, f"s3://{BUCKET}/churn").fingerprint()


def test_a_secret_needs_both_keys() -> None:
    assert keys_of("s", {"data": {"AWS_ACCESS_KEY_ID": "YQ==", "AWS_SECRET_ACCESS_KEY": "Yg=="}}) == Keys("a", "b")
    with pytest.raises(SourceNotFound, match=r"spec\.project\.s3\.secretRef: Secret s lacks AWS_ACCESS_KEY_ID"):
        keys_of("s", {"data": {"AWS_ACCESS_KEY_ID": "YQ=="}})


@pytest.mark.parametrize(
    ("uri", "directory"),
    [
        ("mlflow-artifacts:/1/abc/artifacts", "s3://own/artifacts/1/abc/artifacts"),
        ("mlflow-artifacts://mlflow:5000/1/abc/artifacts", "s3://own/artifacts/1/abc/artifacts"),
        ("s3://own/artifacts/1/abc/artifacts", "s3://own/artifacts/1/abc/artifacts"),
        ("s3://own/artifacts/../records", None),
        ("mlflow-artifacts:/../records", None),
        ("s3://own/records", None),
        ("s3://other/artifacts", None),
        ("file:///etc", None),
    ],
)
def test_artifacts_are_read_where_the_installation_keeps_them_alone(uri: str, directory: str | None) -> None:
    assert artifact_directory(uri, OWN.artifacts_destination) == directory
