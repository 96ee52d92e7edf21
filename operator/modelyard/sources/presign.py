"""URLs by which objects in S3 are read and listed.

AWS Signature Version 4 with the signature in the query:
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

_SECONDS = 3600
_UNRESERVED = "-_.~"


@dataclass(frozen=True)
class Signer:
    """Signs with the keys of a process's environment; without keys its URLs are unsigned, for what is public.

    `endpoint` is http(s)://host[:port]; the bucket is in the path.
    """

    endpoint: str
    region: str
    access_key: str = ""
    secret_key: str = ""
    token: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Signer:
        """Return the signer by AWS's own variables."""
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""
        return cls(
            endpoint.rstrip("/") or f"https://s3.{region}.amazonaws.com",
            region,
            environment.get("AWS_ACCESS_KEY_ID", ""),
            environment.get("AWS_SECRET_ACCESS_KEY", ""),
            environment.get("AWS_SESSION_TOKEN", ""),
        )

    def get(self, bucket: str, key: str, now: datetime | None = None) -> str:
        """Return the URL of an object; `now` is when it begins to be valid."""
        return self._url(f"/{bucket}/{key}", {}, now)

    def list(self, bucket: str, prefix: str, continuation: str = "") -> str:
        """Return the URL of a page of ListObjectsV2, with URL-encoded keys."""
        asked = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        return self._url(f"/{bucket}", asked | ({"continuation-token": continuation} if continuation else {}))

    def _url(self, path: str, asked: Mapping[str, str], now: datetime | None = None) -> str:
        path = quote(path, safe=f"/{_UNRESERVED}")
        if not self.access_key:
            return f"{self.endpoint}{path}?{_query(asked)}".rstrip("?")
        at = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{at[:8]}/{self.region}/s3/aws4_request"
        given = dict(asked) | {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": at,
            "X-Amz-Expires": str(_SECONDS),
            "X-Amz-SignedHeaders": "host",
        }
        if self.token:
            given["X-Amz-Security-Token"] = self.token
        host = urlsplit(self.endpoint).netloc
        request = "\n".join(["GET", path, _query(given), f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
        text = "\n".join(["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(request.encode()).hexdigest()])
        key = f"AWS4{self.secret_key}".encode()
        for part in (at[:8], self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        return f"{self.endpoint}{path}?{_query(given)}&X-Amz-Signature={signature}"


def _query(asked: Mapping[str, str]) -> str:
    return "&".join(f"{quote(name, safe=_UNRESERVED)}={quote(asked[name], safe=_UNRESERVED)}" for name in sorted(asked))
