"""Finds the files that a `path` parameter's URI names: what MLflow's artifact repositories do, by plain requests.

`http(s)` is one file; `s3` an object or all below a prefix; `runs:/`, `models:/` and `mlflow-artifacts:/` are asked of
the tracking server (REST API: https://mlflow.org/docs/latest/api_reference/rest-api.html, as MLflow 3.17 serves it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit

import httpx

from modelyard.sources.errors import SourceError, SourceNotFound, SourceUnreachable
from modelyard.sources.presign import Signer

_PROXY = "/api/2.0/mlflow-artifacts/artifacts"
_OBJECT = re.compile(r"<Contents>.*?<Key>([^<]*)</Key>.*?</Contents>", re.DOTALL)
_NEXT = re.compile(r"<NextContinuationToken>([^<]*)</NextContinuationToken>")
_DEPTH = 64
_NOT_FOUND = "does not exist"

Json = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """One file: its path below what the URI names, empty where the URI names the file itself; and where to get it."""

    path: str
    url: str


def shown(uri: str) -> str:
    """Return a URI without what may be secret in it: user, password, query."""
    return re.sub(r"(?<=//)[^/@\s]*@", "", uri).partition("?")[0]


def refused(uri: str, response: httpx.Response) -> SourceError:
    """Return the error that an answer is; `uri` is what was asked for, as the user wrote it."""
    status = response.status_code
    if status >= 500 or status == 429:
        return SourceUnreachable(f"{shown(uri)}: the server answers {status} {response.reason_phrase}")
    if status == 404:
        return SourceNotFound(f"{shown(uri)} {_NOT_FOUND}")
    if status in (401, 403):
        return SourceNotFound(f"{shown(uri)} may not be read: the server answers {status} {response.reason_phrase}")
    return SourceNotFound(f"{shown(uri)}: the server answers {status} {response.reason_phrase}")


class Places:
    """Finds files, with the AWS keys and the tracking server of an environment. Every method raises `SourceError`."""

    def __init__(self, http: httpx.Client, environment: Mapping[str, str]) -> None:
        self._http = http
        self._signer = Signer.of(environment)
        self._tracking = environment.get("MLFLOW_TRACKING_URI", "").rstrip("/")

    def find(self, uri: str) -> Iterator[Found]:
        """Yield the files of a URI; at least one, where nothing is raised."""
        scheme = urlsplit(uri).scheme
        kinds = {"s3": self._s3, "runs": self._run, "models": self._model, "mlflow-artifacts": self._artifacts}
        if scheme in ("http", "https"):
            return iter([Found("", uri)])
        if scheme not in kinds:
            raise SourceNotFound(f"{shown(uri)}: {scheme or 'no scheme'} cannot be fetched")
        return kinds[scheme](uri)

    def _s3(self, uri: str, below: str = "") -> Iterator[Found]:
        # A key may have any character: urlsplit would take ? and # for the end of the path.
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        key = "/".join(part for part in (key.rstrip("/"), below) if part)
        prefix = f"{key}/" if key else ""
        keys = self._keys(uri, bucket, prefix)
        first = next(keys, None)
        if first is None:
            if not key:
                raise SourceNotFound(f"{uri} holds nothing")
            yield Found("", self._signer.get(bucket, key))
            return
        yield Found(first.removeprefix(prefix), self._signer.get(bucket, first))
        for name in keys:
            yield Found(name.removeprefix(prefix), self._signer.get(bucket, name))

    def _keys(self, uri: str, bucket: str, prefix: str) -> Iterator[str]:
        continuation = ""
        while True:
            response = self._get(uri, self._signer.list(bucket, prefix, continuation))
            if response.status_code == 403 and prefix:
                return  # Who may not list may be allowed to read the one object.
            if not response.is_success:
                raise refused(uri, response)
            # Objects whose names end with a slash are what tools make of empty directories.
            yield from (key for key in map(unquote_plus, _OBJECT.findall(response.text)) if not key.endswith("/"))
            found = _NEXT.search(response.text)
            if not found:
                return
            continuation = found[1].replace("&amp;", "&")

    def _run(self, uri: str) -> Iterator[Found]:
        run_id, _, path = uri.removeprefix("runs:").strip("/").partition("/")
        run = self._ask(uri, "GET", f"runs/get?run_id={quote(run_id)}")["run"]
        try:
            yield from self._stored(uri, run["info"]["artifact_uri"], path)
            return
        except SourceNotFound as error:
            missing = error
        # What a run logs as its model is kept apart from its artifacts, and found below their names all the same.
        name, _, rest = path.partition("/")
        for output in reversed(run.get("outputs", {}).get("model_outputs", [])):
            info = self._ask(uri, "GET", f"logged-models/{quote(output['model_id'])}")["model"]["info"]
            if info["name"] == name:
                yield from self._stored(uri, info["artifact_uri"], rest)
                return
        raise missing

    def _model(self, uri: str) -> Iterator[Found]:
        name, _, rest = unquote(uri.removeprefix("models:").strip("/")).partition("/")
        if "@" in name:
            model, _, alias = name.rpartition("@")
            query = f"registered-models/alias?name={quote(model, safe='')}&alias={quote(alias, safe='')}"
            version = str(self._ask(uri, "GET", query)["model_version"]["version"])
        elif re.fullmatch(r"m-[0-9a-f]{32}", name):
            info = self._ask(uri, "GET", f"logged-models/{name}")["model"]["info"]
            yield from self._stored(uri, info["artifact_uri"], rest)
            return
        else:
            model = name
            wanted, _, rest = rest.partition("/")
            version = wanted if wanted.isdigit() else self._in_stage(uri, model, wanted)
        query = f"model-versions/get-download-uri?name={quote(model, safe='')}&version={version}"
        yield from self._stored(uri, self._ask(uri, "GET", query)["artifact_uri"], rest)

    def _in_stage(self, uri: str, model: str, stage: str) -> str:
        stages = [] if stage.lower() == "latest" else [stage]
        answer = self._ask(uri, "POST", "registered-models/get-latest-versions", {"name": model, "stages": stages})
        versions = [int(version["version"]) for version in answer.get("model_versions", [])]
        if not versions:
            raise SourceNotFound(f"{uri} {_NOT_FOUND}: the model has no version in stage {stage}")
        return str(max(versions))

    def _stored(self, uri: str, at: str, below: str) -> Iterator[Found]:
        """Yield the files below a place that the tracking server named."""
        scheme = urlsplit(at).scheme
        if scheme == "s3":
            return self._s3(at, below)
        if scheme == "mlflow-artifacts" or (scheme in ("http", "https") and _PROXY in at):
            return self._artifacts(uri, at, below)
        if scheme in ("runs", "models"):
            return self.find(f"{at}/{below}".rstrip("/"))
        raise SourceNotFound(f"{uri} is at {shown(at)}, which the tracking server does not serve")

    def _artifacts(self, uri: str, at: str = "", below: str = "") -> Iterator[Found]:
        at = at or uri
        parts = urlsplit(at)
        path = unquote(parts.path).partition(_PROXY)[2] if _PROXY in at else unquote(parts.path)
        root = self._tracking
        if parts.netloc:
            scheme = parts.scheme if parts.scheme in ("http", "https") else urlsplit(root).scheme or "http"
            root = f"{scheme}://{parts.netloc}"
        if not root:
            raise SourceNotFound(f"{uri} needs a tracking server, and MLFLOW_TRACKING_URI names none")
        path = "/".join(part for part in f"{path}/{below}".split("/") if part)
        return self._walk(uri, f"{root}{_PROXY}", path, "", _DEPTH)

    def _walk(self, uri: str, proxy: str, path: str, inside: str, depth: int) -> Iterator[Found]:
        response = self._get(uri, f"{proxy}?path={quote(path, safe='')}")
        if not response.is_success:
            raise refused(uri, response)
        files = response.json().get("files", [])
        if not files and not inside:
            # A file has nothing below it, as what does not exist has; asking for it tells them apart.
            url = f"{proxy}/{quote(path)}"
            with self._http.stream("GET", url) as answer:
                if not answer.is_success:
                    raise refused(uri, answer)
            yield Found("", url)
        for file in files:
            name = file["path"].rpartition("/")[2]
            if not file.get("is_dir"):
                yield Found(f"{inside}{name}", f"{proxy}/{quote(f'{path}/{name}')}")
            elif depth:
                yield from self._walk(uri, proxy, f"{path}/{name}", f"{inside}{name}/", depth - 1)

    def _ask(self, uri: str, method: str, what: str, body: Json | None = None) -> Json:
        if not self._tracking:
            raise SourceNotFound(f"{uri} needs a tracking server, and MLFLOW_TRACKING_URI names none")
        response = self._http.request(method, f"{self._tracking}/api/2.0/mlflow/{what}", json=body)
        if response.is_success:
            answer: Json = response.json()
            return answer
        error = refused(uri, response)
        if isinstance(error, SourceUnreachable):
            raise error
        try:
            message = str(response.json().get("message", ""))
        except ValueError:
            message = ""
        raise SourceNotFound(f"{error}: {message}" if message else str(error))

    def _get(self, uri: str, url: str) -> httpx.Response:
        response = self._http.get(url)
        if response.status_code >= 500:
            raise refused(uri, response)
        return response
