from __future__ import annotations

import hashlib
import socket
from dataclasses import replace

import pytest

from modelyard.artifacts.store import (
    AlreadyExists,
    ArtifactMissing,
    ArtifactStore,
    ArtifactStoreUnreachable,
    Location,
)
from modelyard.artifacts.verify import Verifier
from tests.fakes.artifacts import MLMODEL, SETTINGS, Bucket


def test_keys_are_below_the_prefix(bucket: Bucket) -> None:
    store = bucket.store()
    store.put("registry/a", b"1")
    assert bucket.s3.get_object(Bucket="models", Key="team/registry/a")["Body"].read() == b"1"
    assert store.get("registry/a").data == b"1"
    assert store.exists("registry/a")
    assert not store.exists("registry/b")


def test_a_conditional_write_happens_once(bucket: Bucket) -> None:
    store = bucket.store()
    store.put_if_absent("a", b"1")
    with pytest.raises(AlreadyExists, match="s3://models/team/a exists already"):
        store.put_if_absent("a", b"2")
    assert store.get("a").data == b"1"


def test_a_write_that_replaces_only_what_was_read(bucket: Bucket) -> None:
    store = bucket.store()
    store.put("a", b"1")
    read = store.get("a")
    store.put_if_unchanged("a", b"2", read.etag)
    with pytest.raises(AlreadyExists):
        store.put_if_unchanged("a", b"3", read.etag)
    assert store.get("a").data == b"2"


def test_keys_are_listed_in_order_and_after_a_key(bucket: Bucket) -> None:
    store = bucket.store()
    for name in ("v/3", "v/1", "v/2", "w/1"):
        store.put(name, b"")
    assert store.keys("v/") == ["v/1", "v/2", "v/3"]
    assert store.keys("v/", after="v/1") == ["v/2", "v/3"]
    assert store.get_many(store.keys("v/")) == [b"", b"", b""]


def test_an_object_that_is_missing(bucket: Bucket) -> None:
    with pytest.raises(ArtifactMissing, match="s3://models/team/no does not exist"):
        bucket.store().get("no")


def test_a_manifest_of_a_directory(bucket: Bucket) -> None:
    uri = bucket.put_model("1/model")
    bucket.put(f"{uri}/", b"")
    bucket.put(f"{uri}-other/file", b"not part of it")
    manifest = bucket.store().manifest(uri)
    assert [(file.path, file.size) for file in manifest.files] == [("MLmodel", len(MLMODEL)), ("model.pkl", 7)]
    assert manifest.files[1].sha256 == hashlib.sha256(b"weights").hexdigest()


def test_an_empty_directory_has_no_manifest(bucket: Bucket) -> None:
    with pytest.raises(ArtifactMissing, match="there is no file below s3://models/team/artifacts/no"):
        bucket.store().manifest("s3://models/team/artifacts/no")


def test_a_bucket_that_does_not_exist(bucket: Bucket) -> None:
    store = ArtifactStore(replace(SETTINGS, artifact_store="s3://other"), client=bucket.s3)
    with pytest.raises(ArtifactStoreUnreachable, match="AWS S3 has no bucket 'other'"):
        store.get("a")


def test_an_endpoint_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        store = ArtifactStore(replace(SETTINGS, s3_endpoint=endpoint))
        with pytest.raises(ArtifactStoreUnreachable, match=rf"{endpoint} \(bucket 'models'\) does not answer"):
            store.get("a")


@pytest.mark.parametrize("uri", ["", "s3://", "file:///a", "/a"])
def test_a_location_is_an_s3_uri(uri: str) -> None:
    with pytest.raises(ValueError, match="is not s3://"):
        Location.parse(uri)


def test_a_second_look_costs_one_list(bucket: Bucket) -> None:
    uri = bucket.put_model("1")
    verifier = Verifier(bucket.store())
    first = verifier.manifest(uri)
    bucket.requests.clear()
    assert verifier.manifest(uri) == first
    assert bucket.requests == ["ListObjectsV2"]


def test_a_change_is_seen(bucket: Bucket) -> None:
    uri = bucket.put_model("1")
    verifier = Verifier(bucket.store())
    first = verifier.manifest(uri)
    bucket.put(f"{uri}/model.pkl", b"weightz")
    assert verifier.manifest(uri).digest != first.digest
    bucket.delete(f"{uri}/model.pkl")
    assert [file.path for file in verifier.manifest(uri).files] == ["MLmodel"]
    bucket.delete(f"{uri}/MLmodel")
    assert verifier.manifest(uri).files == ()


def test_a_manifest_of_an_earlier_life_is_believed_while_the_entity_tags_are_the_same(bucket: Bucket) -> None:
    uri = bucket.put_model("1")
    earlier = bucket.store().manifest(uri)
    bucket.requests.clear()
    assert Verifier(bucket.store()).manifest(uri, lambda: earlier) == earlier
    assert bucket.requests == ["ListObjectsV2"]
    bucket.put(f"{uri}/model.pkl", b"weightz")
    assert Verifier(bucket.store()).manifest(uri, lambda: earlier).digest != earlier.digest
