"""The part of a boto3 client for S3 that the artifact store uses, on a dictionary: a tenth of what moto costs."""

# ruff: noqa: N803 - the parameters are named as boto3 names them
from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class MemoryS3:
    """One bucket, with conditional writes. `client` is what the artifact store takes."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._objects: dict[str, bytes] = {}

    @property
    def client(self) -> S3Client:
        """This, as a client."""
        return cast("S3Client", self)

    def put_object(
        self, *, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str | None = None, IfMatch: str | None = None
    ) -> dict[str, Any]:
        self._check(Bucket)
        present = self._objects.get(Key)
        if (IfNoneMatch and present is not None) or (IfMatch and (present is None or _etag(present) != IfMatch)):
            raise _error("PreconditionFailed")
        self._objects[Key] = Body
        return {"ETag": _etag(Body)}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self._check(Bucket)
        if Key not in self._objects:
            raise _error("NoSuchKey")
        body = self._objects[Key]
        return {"Body": StreamingBody(io.BytesIO(body), len(body)), "ETag": _etag(body)}

    def get_paginator(self, operation: str) -> MemoryS3:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str, StartAfter: str = "") -> Iterator[dict[str, Any]]:
        self._check(Bucket)
        keys = [key for key in sorted(self._objects) if key.startswith(Prefix) and key > StartAfter]
        contents = [
            {"Key": key, "Size": len(body), "ETag": _etag(body), "LastModified": _NOW}
            for key, body in ((key, self._objects[key]) for key in keys)
        ]
        yield {"Contents": contents}

    def _check(self, bucket: str) -> None:
        if bucket != self._bucket:
            raise _error("NoSuchBucket")


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, "S3")
