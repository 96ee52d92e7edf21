"""Signatures by the Standard Webhooks specification, symmetric scheme `v1`. Pure.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"
_SHORTEST = 16
"""Bytes. The specification asks for 24; what is shorter than a block cipher's key is a mistake."""


class BadSecret(ValueError):
    """The signing secret cannot be used; the message says why and does not contain it."""


def parse_secret(secret: bytes) -> bytes:
    """Return the key: what `whsec_<base64>` stands for, or else the bytes as they are.

    White space at the ends, which editors and `echo` leave, does not count. Raises `BadSecret`.
    """
    text = secret.strip()
    if text.startswith(_PREFIX.encode()):
        encoded = text.removeprefix(_PREFIX.encode())
        try:
            key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
        except binascii.Error as error:
            raise BadSecret(f"the signing secret starts with {_PREFIX} but the rest is no base64") from error
    else:
        key = text
    if len(key) < _SHORTEST:
        raise BadSecret(f"the signing secret has {len(key)} bytes: it needs {_SHORTEST}, better 24")
    return key


def signed_headers(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the three headers for `body`, sent at `timestamp` (seconds since 1970).

    The parts of what is signed are separated by full stops, so the id must have none: one is written `%2E`.
    """
    webhook_id = message_id.replace(".", "%2E")
    content = f"{webhook_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
