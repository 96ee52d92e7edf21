"""A model's directory from a real store: what is there in the end, whatever happened on the way."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest

from modelyard_serving import logs
from modelyard_serving.config import Source
from modelyard_serving.digest import digest
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.fetch import connect, fetch, fetch_file, safe_path
from modelyard_serving.fetch.ranges import PART_BYTES
from modelyard_serving.fetch.store import ATTEMPTS
from modelyard_serving.fetch.transfer import Progress
from tests.unit.serving.fetch.minio import BUCKET, Answer, MinioStore, Proxy, noise

FILES = {
    "MLmodel": b"flavors: {}\n",
    "model.pkl": noise(PART_BYTES * 2 + 12345),
    "code/a b é+%.py": b"pass\n",
    "empty": b"",
}
SIZE = sum(map(len, FILES.values()))
DIGEST = digest({path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()})
HEX = DIGEST.removeprefix("sha256:")
BIG = "churn/1/model.pkl"
UNWELL: Answer = (503, {}, b"")
SOURCE = Source(BUCKET, "churn/1")


@dataclass
class Stored:
    """The model in the store, and the proxy in front of it."""

    minio: MinioStore
    proxy: Proxy
    directory: Path

    def fetch(self, **store: Any) -> Any:
        return fetch(self.minio.store(self.proxy.url, **store), SOURCE, DIGEST, self.directory)


@pytest.fixture
def stored(minio: MinioStore, proxy: Proxy, tmp_path: Path) -> Iterator[Stored]:
    minio.put("churn/1", FILES)
    # What must not be taken for a part of the model: a folder marker, and a sibling with the same beginning.
    minio.put("churn/1", {"code/": b""})
    minio.put("churn/10", {"MLmodel": b"another"})
    yield Stored(minio, proxy, tmp_path / "model")
    for entry in minio.client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        minio.client.delete_object(Bucket=BUCKET, Key=entry["Key"])


def refused(reason: Reason, act: Callable[[], object]) -> str:
    with pytest.raises(StartupError) as raised:
        act()
    assert raised.value.reason is reason
    return raised.value.message


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


class TestAll:
    def test_of_the_models_files_are_there_and_nothing_else(self, stored: Stored) -> None:
        fetched = stored.fetch()
        assert contents(fetched.path) == FILES
        assert (fetched.files, fetched.bytes, fetched.reused) == (len(FILES), SIZE, False)
        assert [path.name for path in stored.directory.iterdir()] == [HEX]

    def test_bytes_are_transferred_once_the_large_file_in_parts(self, stored: Stored) -> None:
        stored.fetch()
        assert stored.proxy.bytes() == SIZE
        assert sorted(str(each.range) for each in stored.proxy.downloads(BIG)) == [
            f"bytes=0-{PART_BYTES - 1}",
            f"bytes={PART_BYTES}-{2 * PART_BYTES - 1}",
            f"bytes={2 * PART_BYTES}-{len(FILES['model.pkl']) - 1}",
        ]

    def test_can_be_told_from_the_mlmodel_file_before_the_rest_is_there(self, stored: Stored) -> None:
        arrived = threading.Event()
        seen: list[bytes] = []

        def look(path: Path) -> None:
            seen.append(path.read_bytes())
            arrived.set()

        def wait(key: str, _: str, position: int, piece: bytes) -> bytes:
            assert key != BIG or arrived.wait(30)
            return piece

        stored.proxy.harm = wait
        fetched = fetch(stored.minio.store(stored.proxy.url), SOURCE, DIGEST, stored.directory, look)
        assert seen == [FILES["MLmodel"]]
        assert set(fetched.seconds) == {"list", "download", "verify"}
        assert all(0 <= seconds < 60 for seconds in fetched.seconds.values())

    def test_files_are_found_beyond_one_page_of_a_list(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("modelyard_serving.fetch.store.LIST_KEYS", 2)
        assert contents(stored.fetch().path) == FILES
        assert [each.key for each in stored.proxy.requests].count("") == 3


class TestDigest:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda minio: minio.put("churn/1", {"model.pkl": b"evil"}),
            lambda minio: minio.put("churn/1", {"more": b""}),
            lambda minio: minio.client.delete_object(Bucket=BUCKET, Key="churn/1/empty"),
        ],
        ids=["changed", "added", "missing"],
    )
    def test_other_files_than_registered_are_refused(self, spoil: Callable[[Any], object], stored: Stored) -> None:
        spoil(stored.minio)
        message = refused(Reason.DIGEST_MISMATCH, stored.fetch)
        assert message.startswith(f"{SOURCE} has digest sha256:")
        assert f"but {DIGEST} was registered" in message
        assert not list(stored.directory.iterdir())

    def test_bytes_that_are_changed_on_their_way_are_refused(self, stored: Stored) -> None:
        def flip(key: str, _: str, position: int, piece: bytes) -> bytes:
            return b"\0" + piece[1:] if key == BIG and position == 0 else piece

        stored.proxy.harm = flip
        refused(Reason.DIGEST_MISMATCH, stored.fetch)

    def test_a_verified_directory_is_used_again(self, stored: Stored) -> None:
        first = stored.fetch()
        stored.proxy.requests.clear()
        again = stored.fetch()
        assert again.reused
        assert again.path == first.path
        assert not stored.proxy.requests

    def test_a_spoilt_directory_is_fetched_again(self, stored: Stored) -> None:
        (stored.fetch().path / "model.pkl").write_bytes(b"evil")
        again = stored.fetch()
        assert not again.reused
        assert contents(again.path) == FILES

    def test_remains_that_are_no_part_of_the_model_do_no_harm(self, stored: Stored, tmp_path: Path) -> None:
        remains = stored.directory / f"{HEX}.incoming" / "files"
        (remains / "code/deep").mkdir(parents=True)
        (remains / "code/deep/evil.py").write_text("")
        (tmp_path / "victim").write_text("unharmed")
        (remains / "model.pkl").symlink_to(tmp_path / "victim")
        assert contents(stored.fetch().path) == FILES
        assert (tmp_path / "victim").read_text() == "unharmed"


class TestStreamsThatBreakOff:
    def test_go_on_from_there(self, stored: Stored) -> None:
        """A part's second request begins where its first one ended."""
        left = [4]

        def cut(key: str, _: str, position: int, piece: bytes) -> bytes | None:
            if key == BIG and position > 2_000_000 and left[0]:
                left[0] -= 1
                return None
            return piece

        stored.proxy.harm = cut
        assert contents(stored.fetch().path) == FILES
        # What was under way when the connection was cut comes twice; that is little.
        assert SIZE <= stored.proxy.bytes() < SIZE + 4 * 1_000_000
        assert len(stored.proxy.downloads(BIG)) == 3 + 4

    @pytest.mark.parametrize("times", [ATTEMPTS - 1, ATTEMPTS])
    def test_without_a_byte_are_asked_for_again_but_not_for_ever(self, times: int, stored: Stored) -> None:
        left = [times]

        def cut(key: str, _: str, __: int, piece: bytes) -> bytes | None:
            if key == "churn/1/MLmodel" and left[0]:
                left[0] -= 1
                return None
            return piece

        stored.proxy.harm = cut
        if times < ATTEMPTS:
            assert stored.fetch().files == len(FILES)
        else:
            assert "broke off" in refused(Reason.ARTIFACT_STORE_UNREACHABLE, stored.fetch)

    def test_of_an_object_that_was_replaced_meanwhile_begin_with_a_new_list(self, stored: Stored) -> None:
        """What was there first is not what was registered, what replaces it is."""
        stored.minio.put("churn/1", {"model.pkl": noise(PART_BYTES)})
        replaced: list[str] = []

        def replace(_: str, key: str, __: object) -> None:
            if key == BIG and not replaced:
                replaced.append(key)
                stored.minio.put("churn/1", {"model.pkl": FILES["model.pkl"]})

        stored.proxy.answer = replace
        assert contents(stored.fetch().path) == FILES

    def test_without_ranges_or_etags_are_still_complete(self, stored: Stored) -> None:
        """A store that answers every GET with the whole object, and names no ETag."""

        def plain(method: str, key: str, _: object) -> Answer | None:
            return (200, {}, FILES[key.removeprefix("churn/1/")]) if key else _list_without_etags(stored.minio)

        stored.proxy.answer = plain
        assert contents(stored.fetch().path) == FILES


class TestAfterARestart:
    def test_goes_on_with_the_parts_on_disk(self, stored: Stored) -> None:
        # By bytes: how many pieces those are depends on how busy the machine is.
        def unreachable(key: str, asked: str, position: int, piece: bytes) -> bytes | None:
            return None if key == BIG and stored.proxy.bytes(BIG) > 3_500_000 else piece

        stored.proxy.harm = unreachable
        refused(Reason.ARTIFACT_STORE_UNREACHABLE, stored.fetch)
        first = stored.proxy.bytes()
        assert first > 2_000_000

        stored.proxy.harm = None
        stored.proxy.requests.clear()
        assert contents(stored.fetch().path) == FILES
        # Small files come again, and what had left the proxy but was not written.
        assert stored.proxy.bytes(BIG) < len(FILES["model.pkl"]) - first + 2_000_000

    def test_parts_that_were_spoilt_meanwhile_are_downloaded_once_more(self, stored: Stored) -> None:
        seen: list[str] = []

        def unreachable(key: str, asked: str, position: int, piece: bytes) -> bytes | None:
            seen.append(asked)
            return None if len(seen) > 60 and key == BIG else piece

        stored.proxy.harm = unreachable
        refused(Reason.ARTIFACT_STORE_UNREACHABLE, stored.fetch)
        with (stored.directory / f"{HEX}.incoming/files/model.pkl").open("r+b") as file:
            file.write(b"evil" * 10)
        stored.proxy.harm = None
        assert contents(stored.fetch().path) == FILES

    @pytest.mark.parametrize("text", [b"", b"{}\n", b"\xff" * 200], ids=["empty", "another", "noise"])
    def test_a_journal_that_says_nothing_counts_as_none(self, text: bytes, stored: Stored) -> None:
        area = stored.directory / f"{HEX}.incoming"
        for name in ("files", "journals"):
            (area / name).mkdir(parents=True)
        (area / "files/model.pkl").write_bytes(b"evil")
        (area / "journals" / hashlib.sha256(b"model.pkl").hexdigest()).write_bytes(text)
        assert contents(stored.fetch().path) == FILES


class TestReasons:
    @pytest.mark.parametrize(
        "source", [Source(BUCKET, "churn/2"), Source(BUCKET, "chur"), Source("no-such-bucket", "churn/1")]
    )
    def test_nothing_there(self, source: Source, stored: Stored, tmp_path: Path) -> None:
        message = refused(Reason.ARTIFACT_NOT_FOUND, lambda: fetch(stored.minio.store(), source, DIGEST, tmp_path))
        assert str(source) in message

    def test_other_keys(self, stored: Stored) -> None:
        assert "SignatureDoesNotMatch" in refused(
            Reason.ARTIFACT_ACCESS_DENIED, lambda: stored.fetch(secret_key="wrong-secret")
        )

    @pytest.mark.parametrize(
        ("code", "status", "reason", "requests"),
        [
            ("AccessDenied", 403, Reason.ARTIFACT_ACCESS_DENIED, 1),
            ("ExpiredToken", 400, Reason.ARTIFACT_ACCESS_DENIED, 1),
            ("NoSuchBucket", 404, Reason.ARTIFACT_NOT_FOUND, 1),
            ("InternalError", 500, Reason.ARTIFACT_STORE_UNREACHABLE, ATTEMPTS),
            ("SlowDown", 503, Reason.ARTIFACT_STORE_UNREACHABLE, ATTEMPTS),
            ("MovedPermanently", 301, Reason.ARTIFACT_STORE_UNREACHABLE, 1),
        ],
    )
    def test_answers_of_the_store(self, code: str, status: int, reason: Reason, requests: int, stored: Stored) -> None:
        body = f"<Error><Code>{code}</Code><Message>says the store</Message></Error>".encode()
        stored.proxy.answer = lambda *_: (status, {"Location": "http://127.0.0.1:1/"}, body)
        message = refused(reason, stored.fetch)
        assert f"{code} ({status}): says the store" in message
        assert len(stored.proxy.requests) == requests

    def test_a_fault_that_passes_does_not_matter(self, stored: Stored) -> None:
        faults = iter([UNWELL] * 2)
        stored.proxy.answer = lambda *_: next(faults, None)
        assert contents(stored.fetch().path) == FILES

    def test_a_file_that_vanishes_meanwhile(self, stored: Stored) -> None:
        gone: Answer = (404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
        stored.proxy.answer = lambda _, key, __: gone if key == BIG else None
        refused(Reason.ARTIFACT_NOT_FOUND, stored.fetch)

    def test_a_store_that_does_not_answer(self, minio: MinioStore, tmp_path: Path) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
            message = refused(
                Reason.ARTIFACT_STORE_UNREACHABLE, lambda: fetch(minio.store(endpoint), SOURCE, DIGEST, tmp_path)
            )
        assert endpoint in message

    def test_a_list_that_is_none(self, stored: Stored) -> None:
        stored.proxy.answer = lambda *_: (200, {}, b"<html>")
        assert "no XML" in refused(Reason.ARTIFACT_STORE_UNREACHABLE, stored.fetch)

    def test_no_credentials(self, tmp_path: Path) -> None:
        env = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"}
        with pytest.MonkeyPatch.context() as patch:
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
                patch.delenv(name, raising=False)
            for name, value in env.items():
                patch.setenv(name, value)
            store = connect("http://127.0.0.1:1", env=env)
            refused(Reason.ARTIFACT_ACCESS_DENIED, lambda: fetch(store, SOURCE, DIGEST, tmp_path))

    def test_a_disk_that_cannot_be_written(self, stored: Stored, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        stored.directory = tmp_path / "file"
        assert "cannot write" in refused(Reason.LOAD_FAILED, stored.fetch)

    def test_a_full_disk(self, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.pwrite", full)
        assert "No space left on device" in refused(Reason.LOAD_FAILED, stored.fetch)


class TestNames:
    @pytest.mark.parametrize(
        "path", ["../x", "a/../../x", "/etc/passwd", "a//b", ".", "./a", "..", "", "a\nb", "a\\b", "a\0b"]
    )
    def test_that_could_leave_the_directory_are_refused(self, path: str) -> None:
        with pytest.raises(StartupError, match="unsafe name"):
            safe_path(path)

    @pytest.mark.parametrize("path", ["MLmodel", "code/a.py", "..a", "a..b/.c", "é", " "])
    def test_that_are_ordinary_pass(self, path: str) -> None:
        assert safe_path(path) == path

    def test_of_keys_that_climb_out_are_not_written(self, stored: Stored, tmp_path: Path) -> None:
        listed = _list_without_etags(stored.minio)
        stored.proxy.answer = lambda *_: (200, {}, listed[2].replace(b"churn/1/empty", b"churn/1/../../evil"))
        refused(Reason.MODEL_INVALID, stored.fetch)
        assert not list(tmp_path.rglob("evil"))


class TestSingleFile:
    URI = f"s3://{BUCKET}/{BIG}"
    DIGEST = "sha256:" + hashlib.sha256(FILES["model.pkl"]).hexdigest()

    def test_is_verified_and_used_again(self, stored: Stored, tmp_path: Path) -> None:
        store = stored.minio.store(stored.proxy.url)
        path = fetch_file(self.URI, self.DIGEST, tmp_path, store)
        assert path == tmp_path / self.DIGEST.removeprefix("sha256:") / "model.pkl"
        assert path.read_bytes() == FILES["model.pkl"]
        assert fetch_file(self.URI, self.DIGEST, tmp_path, store) == path
        assert stored.proxy.bytes() == len(FILES["model.pkl"])

    def test_with_another_content_is_refused(self, stored: Stored, tmp_path: Path) -> None:
        refused(Reason.DIGEST_MISMATCH, lambda: fetch_file(self.URI, DIGEST, tmp_path, stored.minio.store()))
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("uri", "reason"),
        [
            (f"s3://{BUCKET}/churn/1/model", Reason.ARTIFACT_NOT_FOUND),
            (f"s3://{BUCKET}/churn/1/", Reason.CONFIG_INVALID),
            ("file:///etc/passwd", Reason.CONFIG_INVALID),
        ],
    )
    def test_that_is_not_there(self, uri: str, reason: Reason, stored: Stored, tmp_path: Path) -> None:
        refused(reason, lambda: fetch_file(uri, DIGEST, tmp_path, stored.minio.store()))


def test_a_long_download_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    clock = iter([0.0, 4.0, 10.0, 12.0, 25.0])
    # Not for all: other threads of this process may ask for the time, too.
    monkeypatch.setattr("modelyard_serving.fetch.transfer.time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(logs, "event", lambda name, **fields: told.append({"event": name, **fields}))
    progress = Progress("s3://models/churn", 1000)
    for _ in range(4):
        progress.add(100)
    assert [(each["event"], each["bytes"], each["percent"], each["seconds_left"]) for each in told] == [
        ("downloading", 200, 20, 40),
        ("downloading", 400, 40, 38),
    ]


def _list_without_etags(minio: MinioStore) -> Answer:
    entries = "".join(
        f"<Contents><Key>churn/1/{quote(path)}</Key><Size>{len(content)}</Size></Contents>"
        for path, content in FILES.items()
    )
    text = f"<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{entries}</ListBucketResult>"
    return 200, {}, text.encode()
