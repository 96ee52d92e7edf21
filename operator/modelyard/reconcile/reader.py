"""Gives namespaces what their model pods and validation Jobs read artifacts with."""

from __future__ import annotations

from base64 import b64decode

from modelyard.cluster.client import Client
from modelyard.cluster.ensure import ensure
from modelyard.cluster.resources import SECRETS
from modelyard.desired.reader import CONTROL_TOKEN, READER_SECRET, Reader, reader_secret
from modelyard.settings import Settings


def ensure_reader_secret(client: Client, settings: Settings, namespace: str) -> None:
    """Give the namespace the installation's read-only credentials, unless it brings its own Secret."""
    if not (settings.reader_access_key and settings.reader_secret_key):
        return
    reader = Reader(
        access_key=settings.reader_access_key,
        secret_key=settings.reader_secret_key,
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
    )
    manifest = reader_secret(namespace, reader)
    present = client.find(SECRETS, namespace, READER_SECRET)
    ours = manifest["metadata"]["labels"].items()
    if present is None or ours <= present["metadata"].get("labels", {}).items():
        ensure(client, manifest, present)


def control_token_of(client: Client, namespace: str) -> str | None:
    """Return what the namespace's model pods know the operator by; None where its own Secret has no such key."""
    secret = client.find(SECRETS, namespace, READER_SECRET)
    value = ((secret or {}).get("data") or {}).get(CONTROL_TOKEN)
    return b64decode(value).decode() if value else None
