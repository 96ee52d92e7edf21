"""What path parameters name is fetched from real servers: a web server, MinIO, an MLflow tracking server."""

from __future__ import annotations

import gzip
import os
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from modelyard.projects.command import Download, invoke
from modelyard.projects.mlproject import EntryPoint, Parameter
from modelyard.sources import parameters
from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.presign import Signer
from tests.e2e.processes import free_port, running
from tests.unit.serving.fetch.minio import BUCKET, MinioStore, run_minio

Fetch = Callable[..., dict[str, bytes]]


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as made:
        yield made


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    stores = [f"--backend-store-uri=sqlite:///{directory}/mlflow.db", f"--artifacts-destination={directory}/artifacts"]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with running([*command, *stores], directory, os.environ | environment) as server:
        server.wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """URI, environment → the files that are there afterwards, by their path below the parameter's directory."""

    def run(uri: str, environment: Mapping[str, str] | None = None, pauses: tuple[float, ...] = ()) -> dict[str, bytes]:
        invocation = invoke(EntryPoint("main", "t {data}", {"data": Parameter("data", "path")}), {"data": uri})
        count = parameters.fetch(invocation.downloads, (), tmp_path, environment or {}, pauses)
        root = tmp_path / "workspace-data/param_0"
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert count == len(found)
        # The command names what was fetched.
        assert (tmp_path / shlex.split(invocation.command)[1].lstrip("/")).exists()
        return found

    return run


class Web(ThreadingHTTPServer):
    """Answers with what `pages` says for a path: the next of its answers, and the last one ever after."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.pages: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}


class _Page(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        answers = self.server.pages.get(self.path, [(404, {}, b"")])
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_web_page_is_one_file_named_by_its_path(web: Web, fetch: Fetch) -> None:
    web.pages = {
        "/data/a%20b.csv?version=1": [(302, {"Location": "/moved"}, b"")],
        "/moved": [(200, {"Content-Encoding": "gzip"}, gzip.compress(b"1,2\n"))],
    }
    assert fetch(f"{web.url}/data/a%20b.csv?version=1") == {"a%20b.csv": b"1,2\n"}


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (404, SourceNotFound, r"parameter data: http://127\.0\.0\.1:\d+/x does not exist"),
        (403, SourceNotFound, r"http://127\.0\.0\.1:\d+/x may not be read: the server answers 403"),
        (410, SourceNotFound, "the server answers 410"),
        (503, SourceUnreachable, r"parameter data: http://127\.0\.0\.1:\d+/x: the server answers 503"),
        (429, SourceUnreachable, "the server answers 429"),
    ],
)
def test_a_refusal_names_the_parameter_and_no_secret(
    web: Web, fetch: Fetch, status: int, kind: type[SourceError], says: str
) -> None:
    web.pages = {"/x?token=s3cret": [(status, {}, b"")]}
    with pytest.raises(kind, match=says) as caught:
        fetch(f"{web.url.replace('//', '//me:s3cret@')}/x?token=s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_server_that_fails_is_asked_again_and_that_is_told(
    web: Web, fetch: Fetch, capsys: pytest.CaptureFixture[str]
) -> None:
    web.pages = {"/x": [(503, {}, b""), (200, {"Content-Length": "10"}, b"short"), (200, {}, b"1,2\n")]}
    assert fetch(f"{web.url}/x", pauses=(0.0, 0.0)) == {"x": b"1,2\n"}
    told = capsys.readouterr().err.splitlines()
    assert [line.partition("/x: ")[2].partition(";")[0] for line in told] == [
        "the server answers 503 Service Unavailable",
        "peer closed connection without sending complete message body (received 5 bytes, expected 10)",
    ]


def test_a_server_that_is_not_there_is_unreachable(fetch: Fetch) -> None:
    with pytest.raises(SourceUnreachable, match=r"parameter data: http://127\.0\.0\.1:\d+/x: .*[Rr]efused"):
        fetch(f"http://127.0.0.1:{free_port()}/x")


def test_redirects_without_end_are_no_file(web: Web, fetch: Fetch) -> None:
    web.pages = {"/x": [(302, {"Location": "/x"}, b"")]}
    with pytest.raises(SourceNotFound, match="maximum allowed redirects"):
        fetch(f"{web.url}/x")


def s3(minio: MinioStore) -> dict[str, str]:
    return {**minio.env, "AWS_ENDPOINT_URL_S3": minio.endpoint}


def test_an_object_is_a_file_and_a_prefix_a_directory(minio: MinioStore, fetch: Fetch, tmp_path: Path) -> None:
    minio.put("sales", {"2024.csv": b"a", "more/ü +#?&~.csv": b"b", "more/": b"", "2024.csv.bak": b"c"})
    minio.client.put_object(
        Bucket=BUCKET, Key="sales/x.csv.gz", Body=gzip.compress(b"x", mtime=0), ContentEncoding="gzip"
    )
    assert fetch(f"s3://{BUCKET}/sales/", s3(minio)) == {
        "sales/2024.csv": b"a",
        "sales/2024.csv.bak": b"c",
        "sales/more/ü +#?&~.csv": b"b",
        "sales/x.csv.gz": gzip.compress(b"x", mtime=0),
    }


def test_a_key_that_begins_like_another_is_a_file_of_its_own(minio: MinioStore, fetch: Fetch) -> None:
    minio.put("alike", {"a.csv": b"a", "a.csv.bak": b"b"})
    assert fetch(f"s3://{BUCKET}/alike/a.csv", s3(minio)) == {"a.csv": b"a"}


def test_a_prefix_of_many_objects_is_fetched_whole(minio: MinioStore, fetch: Fetch) -> None:
    with ThreadPoolExecutor(16) as pool:
        for index in range(1005):
            pool.submit(minio.put, "many", {f"{index:04}": b"x"})
    assert len(fetch(f"s3://{BUCKET}/many", s3(minio))) == 1005


@pytest.mark.parametrize(
    ("uri", "changes", "says"),
    [
        (f"s3://{BUCKET}/none.csv", {}, f"s3://{BUCKET}/none.csv does not exist"),
        ("s3://no-such-bucket/none.csv", {}, "s3://no-such-bucket/none.csv does not exist"),
        (f"s3://{BUCKET}/none.csv", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "may not be read: the server answers 403"),
        (f"s3://{BUCKET}/none.csv", {"AWS_ACCESS_KEY_ID": ""}, "may not be read: the server answers 403"),
        (f"s3://{BUCKET}", {"AWS_ACCESS_KEY_ID": ""}, "may not be read: the server answers 403"),
    ],
)
def test_what_s3_does_not_give_is_named(
    minio: MinioStore, fetch: Fetch, uri: str, changes: dict[str, str], says: str
) -> None:
    with pytest.raises(SourceNotFound, match=says):
        fetch(uri, s3(minio) | changes)


def test_a_public_bucket_is_read_without_keys(minio: MinioStore, fetch: Fetch) -> None:
    minio.client.create_bucket(Bucket="public")
    minio.client.put_object(Bucket="public", Key="a.csv", Body=b"a")
    minio.client.put_bucket_policy(
        Bucket="public",
        Policy='{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject",'
        '"Resource":"arn:aws:s3:::public/*"}]}',
    )
    # Nobody but the owner may list it.
    assert fetch("s3://public/a.csv", {"AWS_ENDPOINT_URL": minio.endpoint}) == {"a.csv": b"a"}


def test_urls_are_signed_as_amazon_shows() -> None:
    """The example of Signature Version 4 by query parameters, with its bucket in the path."""
    example = Signer(
        "https://s3.amazonaws.com", "us-east-1", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    )
    url = example.get("examplebucket", "test.txt", datetime(2013, 5, 24, tzinfo=UTC))
    assert url.startswith("https://s3.amazonaws.com/examplebucket/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
    assert "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" in url
    assert Signer.of({"AWS_REGION": "eu-west-1"}).get("b", "k") == "https://s3.eu-west-1.amazonaws.com/b/k"


class Mlflow:
    """Writes to a tracking server by its REST API, as its client does."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def post(self, path: str, **body: Any) -> Any:
        response = httpx.post(f"{self.uri}/api/2.0/mlflow/{path}", json=body, timeout=30)
        assert response.is_success, response.text
        return response.json()

    def run(self, experiment: str, location: str | None = None) -> dict[str, Any]:
        body = {"name": experiment, **({"artifact_location": location} if location else {})}
        made = self.post("experiments/create", **body)
        info: dict[str, Any] = self.post("runs/create", experiment_id=made["experiment_id"])["run"]["info"]
        return info

    def put(self, at: str, path: str, content: bytes) -> None:
        base = at.removeprefix("mlflow-artifacts:/")
        url = f"{self.uri}/api/2.0/mlflow-artifacts/artifacts/{quote(f'{base}/{path}')}"
        httpx.put(url, content=content, timeout=30).raise_for_status()


def test_a_runs_artifacts_come_by_the_tracking_server(tracking: str, fetch: Fetch, tmp_path: Path) -> None:
    mlflow, environment = Mlflow(tracking), {"MLFLOW_TRACKING_URI": f"{tracking}/"}
    run = mlflow.run("artifacts")
    for path in ("data/a b.csv", "data/more/ü.csv", "top.txt"):
        mlflow.put(run["artifact_uri"], path, path.encode())
    assert fetch(f"runs:/{run['run_id']}/data", environment) == {
        "data/a b.csv": b"data/a b.csv",
        "data/more/ü.csv": "data/more/ü.csv".encode(),
    }


def test_one_artifact_is_a_file(tracking: str, fetch: Fetch) -> None:
    mlflow = Mlflow(tracking)
    run = mlflow.run("one artifact")
    mlflow.put(run["artifact_uri"], "data/a b.csv", b"1")
    assert fetch(f"runs:/{run['run_id']}/data/a b.csv", {"MLFLOW_TRACKING_URI": tracking}) == {"a b.csv": b"1"}


@pytest.mark.parametrize("host", [False, True])
def test_artifacts_are_named_by_their_place_on_the_proxy(tracking: str, fetch: Fetch, host: bool) -> None:
    mlflow = Mlflow(tracking)
    run = mlflow.run(f"proxy {host}")
    mlflow.put(run["artifact_uri"], "a.csv", b"1")
    uri = run["artifact_uri"]
    if host:
        uri = uri.replace("mlflow-artifacts:/", f"mlflow-artifacts://{tracking.removeprefix('http://')}/")
    assert fetch(f"{uri}/a.csv", {"MLFLOW_TRACKING_URI": tracking}) == {"a.csv": b"1"}


def test_a_run_whose_artifacts_are_in_s3_is_read_there(tracking: str, minio: MinioStore, fetch: Fetch) -> None:
    run = Mlflow(tracking).run("in s3", f"s3://{BUCKET}/runs")
    minio.put(run["artifact_uri"].removeprefix(f"s3://{BUCKET}/"), {"data/a.csv": b"1"})
    environment = {"MLFLOW_TRACKING_URI": tracking, **s3(minio)}
    assert fetch(f"runs:/{run['run_id']}/data", environment) == {"data/a.csv": b"1"}


def logged_model(mlflow: Mlflow, experiment: str) -> tuple[dict[str, Any], dict[str, Any]]:
    run = mlflow.run(experiment)
    made = mlflow.post("logged-models", experiment_id=run["experiment_id"], name="model", source_run_id=run["run_id"])
    model: dict[str, Any] = made["model"]["info"]
    mlflow.post("runs/outputs", run_id=run["run_id"], models=[{"model_id": model["model_id"], "step": 0}])
    mlflow.put(model["artifact_uri"], "MLmodel", b"flavors: {}")
    mlflow.put(model["artifact_uri"], "data/x.bin", b"x")
    return run, model


MODEL = {"MLmodel": b"flavors: {}", "data/x.bin": b"x"}


def test_a_runs_model_is_found_below_the_run(tracking: str, fetch: Fetch) -> None:
    run, _ = logged_model(Mlflow(tracking), "model of a run")
    found = fetch(f"runs:/{run['run_id']}/model", {"MLFLOW_TRACKING_URI": tracking})
    assert found == {f"model/{path}": content for path, content in MODEL.items()}


def test_registered_models_are_named_by_version_stage_and_alias(
    tracking: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    mlflow, environment = Mlflow(tracking), {"MLFLOW_TRACKING_URI": tracking}
    _, model = logged_model(mlflow, "registered")
    name = "churn model"
    mlflow.post("registered-models/create", name=name)
    source = f"models:/{model['model_id']}"
    mlflow.post("model-versions/create", name=name, source=source, model_id=model["model_id"])
    mlflow.post("model-versions/transition-stage", name=name, version="1", stage="Production")
    mlflow.post("registered-models/alias", name=name, alias="champion", version="1")
    names = {"1": "1", "Production": "Production", "latest": "latest"}
    cases = {f"models:/{name}/{key}": value for key, value in names.items()}
    cases |= {f"models:/{name}@champion": f"{name}@champion", source: model["model_id"]}
    for uri, directory in cases.items():
        root = tmp_path_factory.mktemp("fetched")
        parameters.fetch([Download("data", uri, "/d")], (), root, environment, ())
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        assert found == {f"d/{directory}/{path}": content for path, content in MODEL.items()}, uri
    root = tmp_path_factory.mktemp("fetched")
    parameters.fetch([Download("data", f"models:/{name}/1/data/x.bin", "/d")], (), root, environment, ())
    assert (root / "d/x.bin").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        (f"runs:/{'0' * 32}/data", rf"runs:/{'0' * 32}/data does not exist: Run with id={'0' * 32} not found"),
        ("models:/no-such-model/1", "models:/no-such-model/1 does not exist: "),
        ("models:/no-such-model/Production", "models:/no-such-model/Production"),
        ("models:/no-such-model@x", "models:/no-such-model@x"),
        ("mlflow-artifacts:/no/such/file", "mlflow-artifacts:/no/such/file"),
    ],
)
def test_what_the_tracking_server_does_not_have_is_named(tracking: str, fetch: Fetch, uri: str, says: str) -> None:
    with pytest.raises(SourceNotFound, match=f"parameter data: {says}"):
        fetch(uri, {"MLFLOW_TRACKING_URI": tracking})


def test_a_tracking_servers_uri_needs_a_tracking_server(fetch: Fetch) -> None:
    for uri in ("runs:/1/a", "mlflow-artifacts:/1/a"):
        with pytest.raises(SourceNotFound, match="needs a tracking server, and MLFLOW_TRACKING_URI names none"):
            fetch(uri, {})


@contextmanager
def listing(web: Web, *names: str) -> Iterator[str]:
    """A proxy of artifacts that lies."""
    files = ",".join(f'{{"path":"{name}","is_dir":false}}' for name in names)
    web.pages = {"/api/2.0/mlflow-artifacts/artifacts?path=a": [(200, {}, f'{{"files":[{files}]}}'.encode())]}
    yield web.url


def test_a_name_that_leads_elsewhere_is_not_taken(web: Web, fetch: Fetch, tmp_path: Path) -> None:
    with listing(web, "..") as uri, pytest.raises(SourceNotFound, match=r"has a file named '\.\.', which is not taken"):
        fetch("mlflow-artifacts:/a", {"MLFLOW_TRACKING_URI": uri})


def test_local_paths_have_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "workspace/raw").mkdir(parents=True)
    assert parameters.fetch((), ["/workspace/raw"], tmp_path, {}) == 0
    with pytest.raises(
        SourceNotFound, match=r"Got value /workspace/x for a path parameter, but no such file or directory was found\."
    ):
        parameters.fetch((), ["/workspace/x"], tmp_path, {})
