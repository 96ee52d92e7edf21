"""Presigned URLs: what a request to the store is made of, and what a node cache may be given.

AWS Signature Version 4 with the signature in the query:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

SECONDS = 3600
"""How long a URL is valid. It is used at once; a download through the cache may go on with it for that long."""

_AWS = (".amazonaws.com", ".amazonaws.com.cn")
_OTHERS_PARTITION = ("cn-", "us-iso", "eu-iso", "us-gov-")
_ONLY_BOTOCORE_KNOWS = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


class Signer(Protocol):
    """Makes URLs that the store accepts. Raises what botocore raises where there are no credentials."""

    def get(self, bucket: str, key: str) -> str:
        """The URL of an object."""
        ...

    def list(self, bucket: str, parameters: Mapping[str, str]) -> str:
        """The URL of a page of ListObjectsV2; the parameters: `prefix`, `max-keys`, perhaps `continuation-token`."""
        ...

    def in_region(self, region: str) -> Signer:
        """The same for a bucket that lies in `region`."""
        ...


@dataclass(frozen=True)
class KeySigner:
    """Signs with keys that are given."""

    access_key: str
    secret_key: str
    token: str | None
    region: str
    endpoint: str | None
    """`http(s)://host[:port]`, with the bucket in the path; None for AWS."""

    def get(self, bucket: str, key: str) -> str:
        """The URL of an object."""
        return self._sign(bucket, key, {})

    def list(self, bucket: str, parameters: Mapping[str, str]) -> str:
        """The URL of a page of ListObjectsV2."""
        return self._sign(bucket, "", {"list-type": "2", "encoding-type": "url", **parameters})

    def in_region(self, region: str) -> KeySigner:
        """The same for a bucket that lies in `region`."""
        return replace(self, region=region)

    def _sign(self, bucket: str, key: str, parameters: Mapping[str, str]) -> str:
        base, path = self._place(bucket, key)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        query = {
            **parameters,
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": now,
            "X-Amz-Expires": str(SECONDS),
            "X-Amz-SignedHeaders": "host",
        }
        if self.token:
            query["X-Amz-Security-Token"] = self.token
        text = "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()))
        request = f"GET\n{path}\n{text}\nhost:{_host(base)}\n\nhost\nUNSIGNED-PAYLOAD"
        hashed = hashlib.sha256(request.encode()).hexdigest()
        secret = f"AWS4{self.secret_key}".encode()
        for word in (now[:8], self.region, "s3", "aws4_request"):
            secret = hmac.digest(secret, word.encode(), "sha256")
        signature = hmac.digest(secret, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashed}".encode(), "sha256").hex()
        return f"{base}{path}?{text}&X-Amz-Signature={signature}"

    def _place(self, bucket: str, key: str) -> tuple[str, str]:
        """(scheme and host, path). At AWS the host has the bucket, unless a dot in it would not fit the certificate."""
        path = f"/{quote(key, safe='/')}"
        if self.endpoint:
            split = urlsplit(self.endpoint)
            return f"{split.scheme}://{split.netloc}", f"{split.path.rstrip('/')}/{bucket}{path}"
        if "." in bucket or bucket != bucket.lower():
            return f"https://s3.{self.region}.amazonaws.com", f"/{bucket}{path}"
        return f"https://{bucket}.s3.{self.region}.amazonaws.com", path


class BotocoreSigner:
    """Signs as botocore does, which knows every place credentials and endpoints come from (and takes half a second)."""

    def __init__(self, endpoint: str | None, region: str | None = None) -> None:
        self._endpoint = endpoint
        self._region = region
        self._made: Any = None

    def get(self, bucket: str, key: str) -> str:
        """The URL of an object."""
        return self._sign("get_object", {"Bucket": bucket, "Key": key})

    def list(self, bucket: str, parameters: Mapping[str, str]) -> str:
        """The URL of a page of ListObjectsV2."""
        names = {"prefix": "Prefix", "max-keys": "MaxKeys", "continuation-token": "ContinuationToken"}
        given: dict[str, Any] = {names[name]: value for name, value in parameters.items()}
        given["MaxKeys"] = int(given["MaxKeys"])
        return self._sign("list_objects_v2", {"Bucket": bucket, "EncodingType": "url", **given})

    def in_region(self, region: str) -> BotocoreSigner:
        """The same for a bucket that lies in `region`."""
        return BotocoreSigner(self._endpoint, region)

    def _sign(self, operation: str, parameters: Mapping[str, Any]) -> str:
        if self._made is None:
            made = self._client("auto")
            # With its default botocore signs for the endpoint that AWS has for all regions, which may redirect.
            aws = (urlsplit(made.meta.endpoint_url).hostname or "").endswith(_AWS)
            self._made = self._client("virtual") if aws else made
        return str(self._made.generate_presigned_url(operation, Params=dict(parameters), ExpiresIn=SECONDS))

    def _client(self, addressing: str) -> Any:
        from botocore.config import Config  # noqa: PLC0415 - heavy
        from botocore.session import Session  # noqa: PLC0415

        style: Any = {"addressing_style": addressing}
        config = Config(connect_timeout=5, read_timeout=60, signature_version="s3v4", s3=style)
        return Session().create_client("s3", endpoint_url=self._endpoint, region_name=self._region, config=config)


def signer(endpoint: str | None, env: Mapping[str, str] = os.environ) -> Signer:
    """Who signs: this module, where keys, region and endpoint are plainly in the environment; else botocore."""
    access_key, secret_key = env.get("AWS_ACCESS_KEY_ID"), env.get("AWS_SECRET_ACCESS_KEY")
    endpoint = endpoint or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    region = env.get("AWS_DEFAULT_REGION") or "us-east-1"
    config = Path(env.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()
    plain = not any(env.get(name) for name in _ONLY_BOTOCORE_KNOWS) and not config.is_file()
    if endpoint:
        split = urlsplit(endpoint)
        plain = plain and split.scheme in ("http", "https") and not (split.query or split.username)
    else:
        plain = plain and not region.startswith(_OTHERS_PARTITION) and region != "aws-global"
    if not (access_key and secret_key and plain):
        return BotocoreSigner(endpoint)
    return KeySigner(access_key, secret_key, env.get("AWS_SESSION_TOKEN") or None, region, endpoint)


def _host(base: str) -> str:
    """The Host header that http.client sends: without the scheme's own port."""
    split = urlsplit(base)
    default = {"http": 80, "https": 443}[split.scheme]
    return split.netloc if split.port != default else split.netloc.rpartition(":")[0]
