"""The Secret with which a namespace's model pods read artifacts, and by which they know the operator."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from dataclasses import dataclass

from modelyard.desired.common import Json, labels

READER_SECRET = "modelyard-artifacts-reader"  # noqa: S105 - the name of an object
CONTROL_TOKEN = "MODELYARD_CONTROL_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Reader:
    """How model pods reach the artifact store."""

    access_key: str
    secret_key: str
    endpoint: str | None
    region: str


def control_token(reader: Reader, namespace: str) -> str:
    """Return what the operator shows to the namespace's model pods: 64 hex digits.

    It is worked out from a secret that both have anyway, so that nothing has to be kept, and it differs between
    namespaces, so that who can read the Secret of one has no say in another.
    """
    message = f"modelyard-control/{namespace}".encode()
    return hmac.new(reader.secret_key.encode(), message, hashlib.sha256).hexdigest()


def reader_secret(namespace: str, reader: Reader) -> Json:
    """Return the Secret; its keys become the pods' environment."""
    values = {
        "AWS_ACCESS_KEY_ID": reader.access_key,
        "AWS_SECRET_ACCESS_KEY": reader.secret_key,
        "AWS_DEFAULT_REGION": reader.region,
        CONTROL_TOKEN: control_token(reader, namespace),
    }
    if reader.endpoint:
        values["AWS_ENDPOINT_URL_S3"] = reader.endpoint
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": READER_SECRET,
            "namespace": namespace,
            "labels": labels("artifacts-reader", "modelyard"),
        },
        "data": {name: b64encode(value.encode()).decode() for name, value in values.items()},
    }
