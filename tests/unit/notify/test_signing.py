"""Signatures, held against the library that receivers use."""

from __future__ import annotations

import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from modelyard.notify.signing import BadSecret, parse_secret, signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = '{"data":"Über"}'.encode()


def test_the_standards_own_library_accepts_a_signature() -> None:
    headers = signed_headers(parse_secret(SECRET.encode()), "ml/churn/7", int(time.time()), BODY)
    assert Webhook(SECRET).verify(BODY, headers) == {"data": "Über"}
    assert headers["webhook-id"] == "ml/churn/7"


@pytest.mark.parametrize("changed", [BODY + b" ", BODY.replace(b"data", b"date")])
def test_another_body_is_not_accepted(changed: bytes) -> None:
    headers = signed_headers(parse_secret(SECRET.encode()), "ml/churn/7", int(time.time()), BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(changed, headers)


def test_an_id_has_no_full_stop_which_separates_what_is_signed() -> None:
    headers = signed_headers(b"k" * 24, "ml/churn.v2/7", 1, b"{}")
    assert headers["webhook-id"] == "ml/churn%2Ev2/7"


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (b"whsec_AAECAwQFBgcICQoLDA0ODw==", bytes(range(16))),
        (b"whsec_AAECAwQFBgcICQoLDA0ODw", bytes(range(16))),
        (b"  whsec_AAECAwQFBgcICQoLDA0ODw==\n", bytes(range(16))),
        (b"a passphrase of 25 letters", b"a passphrase of 25 letters"),
        (b"a passphrase of 25 letters\n", b"a passphrase of 25 letters"),
    ],
)
def test_secrets_in_both_spellings(secret: bytes, key: bytes) -> None:
    assert parse_secret(secret) == key


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (b"whsec_not*base64", "no base64"),
        (b"whsec_", "has 0 bytes"),
        (b"hunter2", "has 7 bytes: it needs 16"),
        (b"\n", "has 0 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_repeated(secret: bytes, message: str) -> None:
    with pytest.raises(BadSecret, match=message) as refused:
        parse_secret(secret)
    assert "hunter2" not in str(refused.value)
