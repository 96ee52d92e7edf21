"""The Secret with which a namespace's model pods read artifacts."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode

import pytest

from modelyard.desired.reader import Reader, control_token, reader_secret

READER = Reader("reader", "secret", None, "eu-central-1")
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "MODELYARD_CONTROL_TOKEN"}


@pytest.mark.parametrize(
    ("endpoint", "keys"),
    [(None, KEYS), ("http://minio:9000", {*KEYS, "AWS_ENDPOINT_URL_S3"})],
)
def test_it_is_the_environment_of_the_pods(endpoint: str | None, keys: set[str]) -> None:
    body = reader_secret("ml", Reader("reader", "secret", endpoint, "eu-central-1"))
    values = {name: b64decode(value).decode() for name, value in body["data"].items()}
    assert values.keys() == keys
    assert (values["AWS_ACCESS_KEY_ID"], values.get("AWS_ENDPOINT_URL_S3")) == ("reader", endpoint)
    assert values["MODELYARD_CONTROL_TOKEN"] == control_token(READER, "ml")


def test_the_token_is_worked_out_from_the_key_and_the_namespace() -> None:
    expected = hmac.new(b"secret", b"modelyard-control/ml", hashlib.sha256).hexdigest()
    assert control_token(READER, "ml") == expected
    others = {control_token(READER, "other"), control_token(Reader("reader", "another", None, "r"), "ml")}
    assert expected not in others
    assert len(others) == 2
