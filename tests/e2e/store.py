"""Reaches into the installation's artifact store, to do what nobody should."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from examples.demo.kubectl import run


@contextmanager
def port_forward(namespace: str, target: str, port: int, local: int = 0) -> Iterator[str]:
    """Forward a local port to a Service; yield `http://127.0.0.1:<port>`."""
    command = ["kubectl", "-n", namespace, "port-forward", target, f"{local or ''}:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
            assert found, f"kubectl port-forward {target} said {line!r}"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(timeout=10)


def secret(namespace: str, name: str) -> dict[str, str]:
    """Return a Secret's values."""
    data = json.loads(run("kubectl", "-n", namespace, "get", "secret", name, "-o", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


class ArtifactAccess:
    """Changes and removes files behind Modelyard's back, and puts them back."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, uri: str) -> bytes:
        """Return what is at an s3:// URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Put a file at an s3:// URI."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self._client.put_object(Bucket=bucket, Key=key, Body=content)

    @contextmanager
    def changed(self, directory: str, name: str) -> Iterator[None]:
        """Add a byte to a file."""
        bucket, key = self._place(directory, name)
        content = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        self._client.put_object(Bucket=bucket, Key=key, Body=content + b"\n")
        try:
            yield
        finally:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)

    @contextmanager
    def removed(self, directory: str, name: str) -> Iterator[None]:
        """Remove a file."""
        bucket, key = self._place(directory, name)
        content = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        self._client.delete_object(Bucket=bucket, Key=key)
        try:
            yield
        finally:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)

    @staticmethod
    def _place(directory: str, name: str) -> tuple[str, str]:
        bucket, _, prefix = directory.removeprefix("s3://").partition("/")
        return bucket, f"{prefix.rstrip('/')}/{name}"


def connect(endpoint: str, credentials: dict[str, str]) -> ArtifactAccess:
    """Return access with the installation's own writer."""
    return ArtifactAccess(
        boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
    )
