from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError
from botocore.stub import Stubber
from moto import mock_aws

from modelyard_serving import artifacts
from modelyard_serving.artifacts import fetch, s3_client, safe_path
from modelyard_serving.config import Source
from modelyard_serving.digest import digest, hash_directory
from modelyard_serving.errors import Reason, StartupError

SOURCE = Source("models", "churn/1")
DIGEST = "sha256:" + "0" * 64
FILES = {"MLmodel": b"flavors: {}\n", "model.pkl": b"m" * 3_000_000, "code/a.py": b"pass\n", "empty": b""}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        for path, content in FILES.items():
            client.put_object(Bucket="models", Key=f"churn/1/{path}", Body=content)
        # What must not be taken for a part of the model: a folder marker, and a sibling with the same beginning.
        client.put_object(Bucket="models", Key="churn/1/code/", Body=b"")
        client.put_object(Bucket="models", Key="churn/10/MLmodel", Body=b"another")
        yield s3_client()


@pytest.fixture
def registered(tmp_path: Path) -> str:
    """The digest of the files as they were registered."""
    for path, content in FILES.items():
        (tmp_path / "registered" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "registered" / path).write_bytes(content)
    return digest(hash_directory(tmp_path / "registered"))


def refused(reason: Reason, act: Callable[[], object]) -> str:
    with pytest.raises(StartupError) as raised:
        act()
    assert raised.value.reason is reason
    return raised.value.message


def test_the_directory_holds_exactly_the_models_files(s3: Any, registered: str, tmp_path: Path) -> None:
    fetched = fetch(s3, SOURCE, registered, tmp_path / "model")
    written = [path for path in fetched.path.rglob("*") if path.is_file()]
    assert {str(path.relative_to(fetched.path)): path.read_bytes() for path in written} == FILES
    assert (fetched.files, fetched.bytes, fetched.reused) == (4, sum(map(len, FILES.values())), False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s3: s3.put_object(Bucket="models", Key="churn/1/model.pkl", Body=b"evil"),
        lambda s3: s3.put_object(Bucket="models", Key="churn/1/more", Body=b""),
        lambda s3: s3.delete_object(Bucket="models", Key="churn/1/empty"),
    ],
    ids=["changed", "added", "missing"],
)
def test_other_files_than_registered_are_refused(
    spoil: Callable[[Any], object], s3: Any, registered: str, tmp_path: Path
) -> None:
    spoil(s3)
    message = refused(Reason.DIGEST_MISMATCH, lambda: fetch(s3, SOURCE, registered, tmp_path / "model"))
    assert message.startswith("s3://models/churn/1 has digest sha256:")
    assert f"but {registered} was registered" in message
    assert not (tmp_path / "model" / registered.removeprefix("sha256:")).exists()


def test_a_verified_directory_is_used_again(s3: Any, registered: str, tmp_path: Path) -> None:
    first = fetch(s3, SOURCE, registered, tmp_path / "model")
    with Stubber(s3):  # Any call would fail.
        again = fetch(s3, SOURCE, registered, tmp_path / "model")
    assert again.reused
    assert again.path == first.path


def test_a_spoilt_directory_is_fetched_again(s3: Any, registered: str, tmp_path: Path) -> None:
    first = fetch(s3, SOURCE, registered, tmp_path / "model")
    (first.path / "model.pkl").write_bytes(b"evil")
    again = fetch(s3, SOURCE, registered, tmp_path / "model")
    assert not again.reused
    assert (again.path / "model.pkl").read_bytes() == FILES["model.pkl"]


def test_remains_of_a_broken_download_do_no_harm(s3: Any, registered: str, tmp_path: Path) -> None:
    remains = tmp_path / "model" / f"{registered.removeprefix('sha256:')}.incoming"
    remains.mkdir(parents=True)
    (remains / "evil.py").write_text("")
    fetched = fetch(s3, SOURCE, registered, tmp_path / "model")
    assert not (fetched.path / "evil.py").exists()


@pytest.mark.parametrize("source", [Source("models", "churn/2"), Source("models", "chur"), Source("absent", "churn/1")])
def test_nothing_there(source: Source, s3: Any, registered: str, tmp_path: Path) -> None:
    message = refused(Reason.ARTIFACT_NOT_FOUND, lambda: fetch(s3, source, registered, tmp_path))
    assert str(source) in message


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("AccessDenied", 403, Reason.ARTIFACT_ACCESS_DENIED),
        ("InvalidAccessKeyId", 403, Reason.ARTIFACT_ACCESS_DENIED),
        ("SignatureDoesNotMatch", 403, Reason.ARTIFACT_ACCESS_DENIED),
        ("NoSuchBucket", 404, Reason.ARTIFACT_NOT_FOUND),
        ("InternalError", 500, Reason.ARTIFACT_STORE_UNREACHABLE),
    ],
)
def test_answers_of_the_store_become_reasons(code: str, status: int, reason: Reason, s3: Any, tmp_path: Path) -> None:
    with Stubber(s3) as stub:
        for _ in range(artifacts.ATTEMPTS):
            stub.add_client_error("list_objects_v2", code, "says the store", status)
        message = refused(reason, lambda: fetch(s3, SOURCE, DIGEST, tmp_path))
    assert code in message


def test_a_store_that_does_not_answer(registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "test")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        message = refused(
            Reason.ARTIFACT_STORE_UNREACHABLE, lambda: fetch(s3_client(endpoint), SOURCE, registered, tmp_path)
        )
    assert endpoint in message


def test_no_credentials(registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    refused(Reason.ARTIFACT_ACCESS_DENIED, lambda: fetch(s3_client("http://127.0.0.1:1"), SOURCE, registered, tmp_path))


def test_a_disk_that_cannot_be_written(s3: Any, registered: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(Reason.LOAD_FAILED, lambda: fetch(s3, SOURCE, registered, tmp_path / "file"))


class Breaking:
    """A body that breaks off after its first chunk, as often as it is told to."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield self._real.read(10)
        raise ResponseStreamingError(error="connection reset")


@pytest.mark.parametrize("breaks", [0, artifacts.ATTEMPTS - 1, artifacts.ATTEMPTS])
def test_a_stream_that_breaks_off_starts_again(
    breaks: int, s3: Any, registered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = s3.get_object, {"model.pkl": breaks}

    def get_object(Bucket: str, Key: str) -> Any:  # noqa: N803 - boto3's own names
        answer = real(Bucket=Bucket, Key=Key)
        if Key.endswith("model.pkl") and left["model.pkl"]:
            left["model.pkl"] -= 1
            return {**answer, "Body": Breaking(answer["Body"])}
        return answer

    monkeypatch.setattr(s3, "get_object", get_object)
    if breaks < artifacts.ATTEMPTS:
        assert fetch(s3, SOURCE, registered, tmp_path).files == 4
    else:
        refused(Reason.ARTIFACT_STORE_UNREACHABLE, lambda: fetch(s3, SOURCE, registered, tmp_path))


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", ".", "./a", "..", "", "a\nb", "a\\b", "a\0b"]
)
def test_a_name_that_could_leave_the_directory_is_refused(path: str) -> None:
    with pytest.raises(StartupError, match="unsafe name"):
        safe_path(path)


@pytest.mark.parametrize("path", ["MLmodel", "code/a.py", "..a", "a..b/.c", "é", " "])
def test_ordinary_names_pass(path: str) -> None:
    assert safe_path(path) == path


def test_a_key_that_climbs_out_is_not_written(s3: Any, registered: str, tmp_path: Path) -> None:
    s3.put_object(Bucket="models", Key="churn/1/../../evil", Body=b"")
    refused(Reason.MODEL_INVALID, lambda: fetch(s3, SOURCE, registered, tmp_path / "a" / "b"))
    assert not list(tmp_path.rglob("evil"))


def test_waiting_is_bounded() -> None:
    config: Any = s3_client("http://127.0.0.1:1").meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 60)
    assert config.retries["total_max_attempts"] <= 3


def test_unknown_errors_of_botocore_count_as_unreachable(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_object(**_: object) -> Any:
        raise ReadTimeoutError(endpoint_url="http://minio")

    monkeypatch.setattr(s3, "get_object", get_object)
    assert "http://minio" in refused(Reason.ARTIFACT_STORE_UNREACHABLE, lambda: fetch(s3, SOURCE, DIGEST, tmp_path))


def test_a_file_that_vanishes_meanwhile(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_object(**_: object) -> Any:
        raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject")

    monkeypatch.setattr(s3, "get_object", get_object)
    refused(Reason.ARTIFACT_NOT_FOUND, lambda: fetch(s3, SOURCE, DIGEST, tmp_path))
