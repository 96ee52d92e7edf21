"""`python -m modelyard.artifacts.bootstrap`: makes the artifact store ready, at install time; again is no error.

Waits for the S3 endpoint, creates the bucket where it is missing, and checks that the store honours conditional writes.
With `MODELYARD_MINIO_ADMIN=true` (the chart's own MinIO; AWS_* are then its root credentials) it also makes the users
of the installation: the writer (operator and tracking server) and the reader (model pods; artifacts only).
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from minio.credentials.providers import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from modelyard.artifacts.store import AlreadyExists, ArtifactError, ArtifactStore, connect
from modelyard.settings import SettingsError, StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DEADLINE_SECONDS = 300.0
_POLL_SECONDS = 1.0
_TRANSIENT = {"500", "502", "503", "ServiceUnavailable", "SlowDown", "InternalError", "XMinioServerNotInitialized"}


class BootstrapError(Exception):
    """The store cannot be used; the message says what it lacks."""


@dataclass(frozen=True)
class User:
    """A user of the bundled MinIO."""

    access_key: str
    secret_key: str


def ensure_bucket(
    s3: S3Client,
    settings: StoreSettings,
    deadline_seconds: float = _DEADLINE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the endpoint answers, then create the bucket where it is missing. Returns whether it was created.

    Raises `BootstrapError` where the endpoint does not answer in time or refuses the credentials.
    """
    where = settings.s3_endpoint or "AWS S3"
    deadline = time.monotonic() + deadline_seconds
    while True:
        try:
            return _create_if_missing(s3, settings)
        except ClientError as error:
            if str(error.response["Error"].get("Code")) not in _TRANSIENT:
                raise BootstrapError(f"{where} refuses the bucket {settings.bucket!r}: {error}") from error
            problem: Exception = error
        except BotoCoreError as error:
            problem = error
        if time.monotonic() >= deadline:
            raise BootstrapError(f"{where} did not answer within {deadline_seconds:.0f} s: {problem}") from problem
        pause(_POLL_SECONDS)


def _create_if_missing(s3: S3Client, settings: StoreSettings) -> bool:
    try:
        s3.head_bucket(Bucket=settings.bucket)
        return False
    except ClientError as error:
        if str(error.response["Error"].get("Code")) not in {"404", "NoSuchBucket"}:
            raise
    # AWS takes no location constraint for its first region, and demands one for all others.
    region: dict[str, Any] = {}
    if not settings.s3_endpoint and settings.s3_region != "us-east-1":
        region = {"CreateBucketConfiguration": {"LocationConstraint": settings.s3_region}}
    try:
        s3.create_bucket(Bucket=settings.bucket, **region)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        return False
    return True


def check_conditional_writes(s3: S3Client, settings: StoreSettings, store: ArtifactStore) -> None:
    """Write one object twice with `If-None-Match: *`. Raises `BootstrapError` where the second is not refused."""
    key = f"registry/.check-{uuid.uuid4().hex}"
    prefix = f"{settings.prefix}/" if settings.prefix else ""
    try:
        store.put_if_absent(key, b"1")
        try:
            store.put_if_absent(key, b"2")
        except AlreadyExists:
            return
        raise BootstrapError(
            f"{settings.s3_endpoint or 'AWS S3'} ignores conditional writes (If-None-Match: *): version numbers would "
            "not be safe on it. Use a store that honours them, such as AWS S3 or a recent MinIO."
        )
    finally:
        s3.delete_object(Bucket=settings.bucket, Key=prefix + key)


def writer_policy(settings: StoreSettings) -> dict[str, Any]:
    """Return the policy of the writer: everything in the bucket, nothing on it."""
    return _policy(
        {
            "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": [f"arn:aws:s3:::{settings.bucket}"],
        },
        {
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            "Resource": [f"arn:aws:s3:::{settings.bucket}/*"],
        },
    )


READABLE = ("artifacts", "prepared", "projects", "environments")
"""Directories: models, what was prepared of them, kept copies of projects, and the environments of their programs."""


def reader_policy(settings: StoreSettings) -> dict[str, Any]:
    """Return the policy of the reader: list and read what models and trials are run with, no records, no writes."""
    root = f"{settings.prefix}/" if settings.prefix else ""
    below = [f"{root}{directory}/*" for directory in READABLE]
    return _policy(
        {
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{settings.bucket}"],
            "Condition": {"StringLike": {"s3:prefix": below}},
        },
        {"Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{settings.bucket}/{keys}" for keys in below]},
    )


def _policy(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def ensure_user(admin: MinioAdmin, user: User, policy_name: str, policy: dict[str, Any]) -> None:
    """Create or update a user of MinIO and what it may do."""
    admin.policy_add(policy_name, policy=policy)
    admin.user_add(user.access_key, user.secret_key)
    try:
        admin.attach_policy([policy_name], user=user.access_key)
    except MinioAdminException as error:
        # MinIO answers so where the policy is attached already.
        if "PolicyChangeAlreadyApplied" not in str(error):
            raise


def run(settings: StoreSettings, environment: Mapping[str, str]) -> None:
    """Do everything. Raises `BootstrapError`, `SettingsError`."""
    s3 = connect(settings)
    created = ensure_bucket(s3, settings)
    print(f"bucket {settings.bucket}: {'created' if created else 'there already'}")
    check_conditional_writes(s3, settings, ArtifactStore(settings, client=s3))
    print("conditional writes: honoured")
    if environment.get("MODELYARD_MINIO_ADMIN", "").lower() != "true":
        return
    admin = _admin(settings, environment)
    ensure_user(admin, _user(environment, "WRITER"), f"{settings.bucket}-writer", writer_policy(settings))
    ensure_user(admin, _user(environment, "READER"), f"{settings.bucket}-reader", reader_policy(settings))
    print("users: writer and reader are there")


def _admin(settings: StoreSettings, environment: Mapping[str, str]) -> MinioAdmin:
    endpoint = urlsplit(settings.s3_endpoint or "")
    if not endpoint.netloc:
        raise SettingsError("MODELYARD_S3_ENDPOINT is not set: MODELYARD_MINIO_ADMIN needs the MinIO's URL")
    return MinioAdmin(
        endpoint=endpoint.netloc,
        credentials=StaticProvider(
            _variable(environment, "AWS_ACCESS_KEY_ID"), _variable(environment, "AWS_SECRET_ACCESS_KEY")
        ),
        region=settings.s3_region,
        secure=endpoint.scheme == "https",
    )


def _user(environment: Mapping[str, str], role: str) -> User:
    return User(
        _variable(environment, f"MODELYARD_{role}_ACCESS_KEY_ID"),
        _variable(environment, f"MODELYARD_{role}_SECRET_ACCESS_KEY"),
    )


def _variable(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def main() -> int:
    """Run the job; return its exit code."""
    try:
        run(StoreSettings.from_environment(), os.environ)
    except (BootstrapError, SettingsError, ArtifactError, MinioAdminException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
