"""One PUT each: what the store takes is what lies on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard_serving.preparation.upload import ATTEMPTS, Uploaded, UploadFailed, put
from tests.unit.serving.preparation.store import Store, running


@pytest.fixture
def store() -> Iterator[Store]:
    with running() as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"onnx" * 100000)
    return path


def test_the_file_arrives_whole_and_its_hash_is_told(store: Store, file: Path) -> None:
    sent = put(f"{store.url}/b/k?X-Amz-Signature=s", file)
    assert store.objects["/b/k"] == file.read_bytes()
    assert sent == Uploaded(hashlib.sha256(file.read_bytes()).hexdigest(), 400000)


def test_a_store_at_fault_is_asked_again_after_a_while(store: Store, file: Path) -> None:
    slept: list[float] = []
    store.statuses = [503, 500]
    put(f"{store.url}/b/k?s", file, slept.append)
    assert (len(slept), "/b/k" in store.objects) == (2, True)


@pytest.mark.parametrize(("statuses", "pauses"), [([403], 0), ([503] * ATTEMPTS, ATTEMPTS - 1)])
def test_a_refusal_is_told_without_the_signature(store: Store, file: Path, statuses: list[int], pauses: int) -> None:
    slept: list[float] = []
    store.statuses = list(statuses)
    with pytest.raises(UploadFailed, match=f"model.onnx: .*answers {statuses[0]}.*Refused") as refused:
        put(f"{store.url}/b/k?X-Amz-Signature=secret", file, slept.append)
    assert "secret" not in str(refused.value)
    assert (len(slept), store.objects) == (pauses, {})


def test_a_store_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(UploadFailed, match=r"127\.0\.0\.1:9 does not take it: ConnectionRefusedError"):
        put("http://127.0.0.1:9/b/k?s", file, lambda _: None)
