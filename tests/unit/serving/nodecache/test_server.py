"""The cache between real pods' downloads and a real store: what leaves the store, and what anyone gets."""

from __future__ import annotations

import hashlib
import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelyard_serving.config import Source
from modelyard_serving.digest import digest
from modelyard_serving.fetch import fetch
from modelyard_serving.fetch.cache import NodeCache
from modelyard_serving.fetch.ranges import PART_BYTES
from modelyard_serving.fetch.store import StoredObject
from tests.e2e.processes import free_port, wait_until
from tests.unit.serving.fetch.minio import BUCKET, Answer, MinioStore, Proxy, noise
from tests.unit.serving.nodecache.harness import Cache, as_process, in_thread

FILES = {"MLmodel": b"flavors: {}\n", "model.pkl": noise(PART_BYTES + 4_000_000), "code/a.py": b"pass\n", "empty": b""}
SIZE = sum(map(len, FILES.values()))
DIGEST = digest({path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()})
SOURCE = Source(BUCKET, "churn/1")
BIG = "churn/1/model.pkl"
OBJECTS = 3
"""What of the model is worth a request: the empty file is not."""


@pytest.fixture(autouse=True)
def model(minio: MinioStore) -> None:
    minio.put("churn/1", FILES)


@pytest.fixture
def cache(proxy: Proxy, tmp_path: Path) -> Iterator[Cache]:
    with in_thread(tmp_path / "cache", proxy.url) as made:
        yield made


@dataclass
class Pod:
    """One of the node's model pods."""

    minio: MinioStore
    proxy: Proxy
    directory: Path

    def start(self, cache: Cache | str) -> None:
        """Download the model, and see that it is the one that was registered."""
        url = cache if isinstance(cache, str) else cache.url
        fetched = fetch(self.minio.store(self.proxy.url, url), SOURCE, DIGEST, self.directory)
        assert {path: (fetched.path / path).read_bytes() for path in FILES} == FILES

    def big(self) -> tuple[str, StoredObject]:
        """(a presigned URL, what it leads to) of the large file."""
        store = self.minio.store(self.proxy.url)
        (item,) = store.list(Source(BUCKET, BIG))
        store.close()
        return store.url(item), item


@pytest.fixture
def pod(minio: MinioStore, proxy: Proxy, tmp_path: Path) -> Pod:
    return Pod(minio, proxy, tmp_path / "pod")


class TestTenPods:
    def test_that_start_together_download_once(
        self, minio: MinioStore, proxy: Proxy, cache: Cache, tmp_path: Path
    ) -> None:
        pods = [Pod(minio, proxy, tmp_path / f"pod-{number}") for number in range(10)]
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda pod: pod.start(cache), pods))
        assert proxy.bytes() == SIZE
        # What pods are given is counted after they have it.
        wait_until("all downloads are counted", lambda: cache.metric("downloads_total") == OBJECTS)
        wait_until("all bytes are counted", lambda: cache.metric('bytes_total{source="cache"}') == 10 * SIZE)
        assert cache.metric("store_bytes_total") == SIZE
        asked = [cache.metric(f'requests_total{{result="{each}"}}') for each in ("hit", "joined", "miss")]
        assert sum(asked) == 10 * OBJECTS
        assert asked[2] == OBJECTS

    def test_that_start_one_after_another_too(
        self, minio: MinioStore, proxy: Proxy, cache: Cache, tmp_path: Path
    ) -> None:
        for number in range(10):
            Pod(minio, proxy, tmp_path / f"pod-{number}").start(cache)
        assert proxy.bytes() == SIZE
        # The store was asked about each of them all the same.
        confirmed = [each for each in proxy.requests if each.status == 304]
        assert len(confirmed) == 10 * OBJECTS

    def test_of_a_cache_that_has_been_started_again_need_not_download(
        self, minio: MinioStore, proxy: Proxy, tmp_path: Path
    ) -> None:
        for number in range(2):
            with as_process(tmp_path / "cache", proxy.url) as (cache, _):
                Pod(minio, proxy, tmp_path / f"pod-{number}").start(cache)
                # A pod may have the last byte before the cache has put the object away.
                wait_until("all of it is kept", lambda: len(cache.objects) == OBJECTS)
        assert proxy.bytes() == SIZE

    def test_over_two_processes_on_one_directory_get_what_they_ask_for(
        self, minio: MinioStore, proxy: Proxy, tmp_path: Path
    ) -> None:
        pods = [Pod(minio, proxy, tmp_path / f"pod-{number}") for number in range(6)]
        with (
            as_process(tmp_path / "cache", proxy.url) as (one, _),
            as_process(tmp_path / "cache", proxy.url) as (two, _),
        ):
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda pod, cache: pod.start(cache), pods, [one, two] * 3))
            wait_until("the downloads end", lambda: one.incoming == [])
            assert len(one.objects) == OBJECTS
        assert proxy.bytes() <= 2 * SIZE


class TestNobodyReads:
    """Through the cache what the store would not give him."""

    def test_with_other_credentials(self, minio: MinioStore, proxy: Proxy, cache: Cache, pod: Pod) -> None:
        pod.start(cache)
        _, item = pod.big()
        forged = minio.store(proxy.url, secret_key="guessed").url(item)
        proxy.requests.clear()
        answer = cache.ask(forged, item)
        assert answer.status_code == 403
        assert FILES["model.pkl"][:100] not in answer.content
        assert proxy.bytes() == 0

    def test_without_a_signature(self, cache: Cache, pod: Pod) -> None:
        pod.start(cache)
        url, item = pod.big()
        assert cache.ask(url.partition("?")[0], item).status_code == 400

    def test_with_the_signature_of_another_object(self, cache: Cache, pod: Pod) -> None:
        pod.start(cache)
        url, item = pod.big()
        assert cache.ask(url.replace("model.pkl", "MLmodel"), item).status_code == 403

    def test_after_the_object_has_been_deleted(self, minio: MinioStore, cache: Cache, pod: Pod) -> None:
        pod.start(cache)
        url, item = pod.big()
        minio.client.delete_object(Bucket=BUCKET, Key=BIG)
        assert cache.ask(url, item).status_code == 404

    def test_what_has_been_replaced(self, minio: MinioStore, cache: Cache, pod: Pod) -> None:
        pod.start(cache)
        url, item = pod.big()
        minio.put("churn/1", {"model.pkl": b"new"})
        assert cache.ask(url, item).status_code == 412

    def test_while_an_authorised_pod_downloads(self, minio: MinioStore, proxy: Proxy, cache: Cache, pod: Pod) -> None:
        _, item = pod.big()
        forged = minio.store(proxy.url, secret_key="guessed").url(item)
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(cache.ask, forged, item) for _ in range(3)]
            pod.start(cache)
        assert {answer.result().status_code for answer in answers} == {403}

    def test_where_the_store_knows_no_conditions(self, proxy: Proxy, cache: Cache, pod: Pod) -> None:
        """It answers with the object instead of 304, which is as good a confirmation."""
        pod.start(cache)
        url, item = pod.big()
        whole: Answer = (200, {"ETag": str(item.etag)}, FILES["model.pkl"])
        proxy.answer = lambda _, key, __: whole if key else None
        assert cache.ask(url, item).content == FILES["model.pkl"]


class TestOtherHosts:
    @pytest.mark.parametrize(
        "url",
        [
            "http://169.254.169.254/latest/meta-data/iam/?X-Amz-Signature=a",
            "http://127.0.0.1:1/models/a?X-Amz-Signature=a",
            "https://{host}/models/a?X-Amz-Signature=a",
            "http://{host}.evil.example/models/a?X-Amz-Signature=a",
            "http://localhost:{port}/models/a?X-Amz-Signature=a",
        ],
    )
    def test_are_not_asked(self, url: str, proxy: Proxy, cache: Cache) -> None:
        address = url.format(host=proxy.url.removeprefix("http://"), port=proxy.url.rpartition(":")[2])
        answer = cache.ask(address, StoredObject("", "", 1, '"x"'))
        assert answer.status_code in (400, 403)
        assert proxy.requests == []

    def test_are_not_asked_because_the_store_says_so(
        self, proxy: Proxy, cache: Cache, pod: Pod, tmp_path: Path
    ) -> None:
        url, item = pod.big()
        with in_thread(tmp_path / "other", "http://127.0.0.1:1") as inner:
            proxy.answer = lambda *_: (302, {"Location": f"{inner.url}/metrics"}, b"")
            answer = cache.ask(url, item)
        assert answer.status_code == 502
        assert b"modelyard" not in answer.content


class TestEntries:
    @pytest.mark.parametrize(
        "spoil",
        [lambda data: b"evil" + data[4:], lambda data: data[: len(data) // 2], lambda data: data + b"x", lambda _: b""],
        ids=["changed", "cut short", "longer", "empty"],
    )
    def test_that_are_spoilt_are_dropped_and_downloaded_anew(
        self, spoil: Any, proxy: Proxy, cache: Cache, pod: Pod
    ) -> None:
        url, item = pod.big()
        assert cache.ask(url, item).content == FILES["model.pkl"]
        wait_until("the download ends", lambda: cache.metric("downloads_total") == 1)
        (entry,) = cache.objects
        entry.write_bytes(spoil(entry.read_bytes()))
        assert cache.ask(url, item).content == FILES["model.pkl"]
        assert cache.metric("poisoned_total") == 1
        wait_until("the download ends", lambda: cache.metric("downloads_total") == 2)
        assert cache.ask(url, item).headers["X-Modelyard-Cache"] == "hit"
        assert proxy.bytes(BIG) == 2 * item.size

    def test_give_ranges(self, cache: Cache, pod: Pod) -> None:
        url, item = pod.big()
        for _ in range(2):  # From the store, then from the directory.
            answer = cache.ask(url, item, Range="bytes=1000-1999")
            assert (answer.status_code, answer.content) == (206, FILES["model.pkl"][1000:2000])
            assert answer.headers["Content-Range"] == f"bytes 1000-1999/{item.size}"
            assert cache.ask(url, item, Range=f"bytes={item.size}-").status_code == 416
            wait_until("the download ends", lambda: cache.incoming == [])


class TestRoom:
    def test_is_made_by_removing_what_was_not_used_for_longest(
        self, minio: MinioStore, proxy: Proxy, tmp_path: Path
    ) -> None:
        files = {name: noise(1_000_000) for name in "abcd"}
        minio.put("rooms", files)
        store = minio.store(proxy.url)
        items = {item.key[-1]: item for item in store.list(Source(BUCKET, "rooms/"))}
        with in_thread(tmp_path / "cache", proxy.url, limit=3_100_000) as cache:
            for name in "abcadab":
                assert cache.ask(store.url(items[name]), items[name]).content == files[name]
                wait_until("the download ends", lambda: cache.incoming == [])
            # d took the place of b, and b that of c.
            assert cache.metric("evictions_total") == 2
            assert [len(proxy.downloads(f"rooms/{name}")) for name in "abcd"] == [1, 2, 1, 1]
            assert cache.metric("size_bytes") <= cache.metric("limit_bytes") == 3_100_000
        store.close()

    def test_for_an_object_larger_than_the_bound_is_not_made(self, proxy: Proxy, pod: Pod, tmp_path: Path) -> None:
        with in_thread(tmp_path / "cache", proxy.url, limit=1_000_000) as cache:
            pod.start(cache)
            assert cache.metric('requests_total{result="passed"}') == 1
            size = len(FILES["model.pkl"])
            wait_until("all bytes are counted", lambda: cache.metric('bytes_total{source="store"}') == size)
            wait_until("the downloads end", lambda: cache.incoming == [])
            assert len(cache.objects) == OBJECTS - 1

    def test_that_the_disk_does_not_have_is_passed_by(
        self, cache: Cache, pod: Pod, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, written = os.pwrite, [0]

        def full(fd: int, data: Any, offset: int) -> int:
            if threading.current_thread().name.startswith("part"):
                written[0] += len(data)
                if written[0] > 5_000_000:
                    raise OSError(28, "No space left on device")
            return real(fd, data, offset)

        monkeypatch.setattr("os.pwrite", full)
        pod.start(cache)
        assert cache.metric("faults_total") >= 1
        wait_until("nothing is left of it", lambda: cache.incoming == [])
        assert all(path.stat().st_size < 1000 for path in cache.objects)


class TestAPodStarts:
    def test_without_a_cache(self, proxy: Proxy, pod: Pod) -> None:
        pod.start(f"http://127.0.0.1:{free_port()}")
        assert proxy.bytes() == SIZE

    def test_with_one_that_dies_in_the_middle(self, proxy: Proxy, pod: Pod, tmp_path: Path) -> None:
        with as_process(tmp_path / "cache", proxy.url) as (cache, process):

            def kill(key: str, _: str, position: int, piece: bytes) -> bytes:
                if key == BIG and position > 4_000_000 and process.poll() is None:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                return piece

            proxy.harm = kill
            pod.start(cache)
            assert process.wait(10) == -signal.SIGKILL

    @pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", b"", b"SSH-2.0\r\n\r\n"])
    def test_with_something_else_at_its_address(self, answer: bytes, proxy: Proxy, pod: Pod) -> None:
        with _answering(answer) as url:
            pod.start(url)
        assert proxy.bytes() == SIZE

    def test_with_one_that_says_nothing(self, proxy: Proxy, pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("modelyard_serving.fetch.cache.READ_SECONDS", 0.2)
        with _answering(None) as url:
            pod.start(url)
        assert proxy.bytes() == SIZE

    def test_with_one_that_lies(self, proxy: Proxy, pod: Pod) -> None:
        """Bytes of the right size and the wrong content: they are downloaded once more, from the store."""
        size = len(FILES["model.pkl"])
        with _answering(_head(size) + bytes(size)) as url:
            pod.start(url)
        assert proxy.bytes(BIG) == size

    def test_with_one_that_cuts_streams_short(self, proxy: Proxy, pod: Pod) -> None:
        """What has arrived is not asked for again, and the cache is not asked again."""
        size = len(FILES["model.pkl"])
        with _answering(_head(size) + FILES["model.pkl"][:1_000_000]) as url:
            pod.start(url)
        assert proxy.bytes(BIG) == size - 1_000_000


def test_a_cache_that_has_failed_is_not_asked_again(pod: Pod) -> None:
    url, item = pod.big()
    cache = NodeCache(f"http://127.0.0.1:{free_port()}")
    assert cache.usable
    with pytest.raises(Exception, match="cannot reach"), cache.open(item, url, 0):
        pass
    assert not cache.usable


class TestHttp:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/objects", 404), ("POST", "/healthz", 404)],
    )
    def test_knows_three_paths(self, method: str, path: str, status: int, cache: Cache) -> None:
        assert httpx.request(method, cache.url + path).status_code == status

    @pytest.mark.parametrize(("body", "status"), [(b"", 400), (b"[" * 60_000, 400), (b"x" * 70_000, 413)])
    def test_reads_no_more_than_a_request_has(self, body: bytes, status: int, cache: Cache) -> None:
        assert httpx.post(f"{cache.url}/objects", content=body).status_code == status


class TestProcess:
    def test_ends_at_once_when_told_to(self, proxy: Proxy, tmp_path: Path) -> None:
        with as_process(tmp_path / "cache", proxy.url) as (_, process):
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0

    def test_takes_little_memory(self, proxy: Proxy, pod: Pod, tmp_path: Path) -> None:
        with as_process(tmp_path / "cache", proxy.url) as (cache, process):
            pod.start(cache)
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 60 * 1024

    def test_says_what_it_lacks(self, tmp_path: Path) -> None:
        with as_process(tmp_path / "cache", "ftp://store") as (_, process):
            assert "MODELYARD_NODE_CACHE_ENDPOINTS: 'ftp://store' is no http(s)://host" in process.stdout.read()
            assert process.wait() == 1


def _head(size: int) -> bytes:
    """Of an answer with the whole of an object."""
    lines = ["HTTP/1.1 206 Partial Content", f"Content-Length: {size}", f"Content-Range: bytes 0-{size - 1}/{size}"]
    return "\r\n".join([*lines, "", ""]).encode()


class _answering:  # noqa: N801 - used like a function
    """A server that answers every connection with the same bytes, or never."""

    def __init__(self, answer: bytes | None) -> None:
        done = threading.Event()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                asked = b""
                while b"}" not in asked:
                    asked += self.request.recv(65536)
                if answer is None:
                    done.wait(30)
                else:
                    self.request.sendall(answer)

        class Quiet(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away."""

        self._done = done
        self._server = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._server.shutdown()
        self._server.server_close()
