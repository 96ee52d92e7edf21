"""A bucket in memory, with the artifact store on it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest import mock

from moto import mock_aws

from modelyard.artifacts.store import ArtifactStore, connect
from modelyard.settings import StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SETTINGS = StoreSettings(
    artifact_store="s3://models/team", s3_endpoint=None, s3_region="us-east-1", git_managers=("argocd-controller",)
)

MLMODEL = b"flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {pickled_model: model.pkl}\n"


class Bucket:
    """The bucket of `SETTINGS`. `requests` names every S3 operation that was asked for."""

    def __init__(self, s3: S3Client) -> None:
        self.s3 = s3
        self.requests: list[str] = []
        self._hooks: list[Callable[..., None]] = []
        s3.create_bucket(Bucket=SETTINGS.bucket)
        self.before_request(self.requests.append)

    def before_request(self, act: Callable[[str], None]) -> None:
        """Call `act` with the operation's name before every S3 request; the caller gets what it raises."""
        self._hooks.append(lambda model, **_: act(model.name))
        self.s3.meta.events.register("before-call.s3", self._hooks[-1])

    def close(self) -> None:
        """Leave the client, which is shared, as it was."""
        for hook in self._hooks:
            self.s3.meta.events.unregister("before-call.s3", hook)

    def store(self, on_write: Callable[[str], None] | None = None) -> ArtifactStore:
        """Return an artifact store on the bucket."""
        return ArtifactStore(SETTINGS, client=self.s3, on_write=on_write)

    def put(self, uri: str, data: bytes) -> None:
        """Write one object at an s3:// URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, uri: str) -> None:
        """Delete one object at an s3:// URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.delete_object(Bucket=bucket, Key=key)

    def put_model(self, name: str, content: bytes = b"weights") -> str:
        """Write a model's directory below the artifacts; return its s3:// URI."""
        uri = f"{SETTINGS.artifacts_destination}/{name}"
        self.put(f"{uri}/MLmodel", MLMODEL)
        self.put(f"{uri}/model.pkl", content)
        return uri


@contextmanager
def bucket() -> Iterator[Bucket]:
    """Give an empty bucket."""
    with mock_aws():
        made = Bucket(_client())
        try:
            yield made
        finally:
            made.close()


@functools.cache
def _client() -> S3Client:
    # Making one costs more than most tests.
    with mock.patch.dict(os.environ, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}):
        return connect(SETTINGS)
