"""A MinIO with the models, for the server that downloads what it serves."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from modelyard_serving.digest import digest, hash_directory
from tests.e2e.processes import free_port, program, running

BUCKET = "models"
USER = "bench"


@dataclass(frozen=True)
class Stored:
    """Something in the store, and what it must hash to."""

    uri: str
    digest: str


@dataclass(frozen=True)
class Store:
    """A running one."""

    client: Any
    environment: dict[str, str]
    """What boto3 reads, in a server's process."""

    def put_directory(self, directory: Path, name: str) -> Stored:
        """Upload a model."""
        for path in hash_directory(directory):
            self.client.upload_file(str(directory / path), BUCKET, f"{name}/{path}")
        return Stored(f"s3://{BUCKET}/{name}", digest(hash_directory(directory)))

    def put_file(self, path: Path, name: str) -> Stored:
        """Upload a file."""
        self.client.upload_file(str(path), BUCKET, name)
        return Stored(f"s3://{BUCKET}/{name}", f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


@contextmanager
def run_store(directory: Path) -> Iterator[Store]:
    """Run a MinIO, its data and log in `directory`."""
    port, password = free_port(), secrets.token_hex(16)
    endpoint = f"http://127.0.0.1:{port}"
    command = [program("minio"), "server", "--quiet", f"--address=127.0.0.1:{port}", str(directory / "data")]
    variables = {"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD": password, "HOME": str(directory)}
    environment = {
        "AWS_ACCESS_KEY_ID": USER,
        "AWS_SECRET_ACCESS_KEY": password,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
    }
    with running(command, directory, variables) as process:
        process.wait_for(f"{endpoint}/minio/health/live")
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=USER,
            aws_secret_access_key=password,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        yield Store(client, environment)
