from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.config import Config
from botocore.session import Session

from modelyard_serving.fetch.sign import BotocoreSigner, KeySigner, signer

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sec/ret"}
NO_CONFIG = {"AWS_CONFIG_FILE": "/nonexistent"}
NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


class Clock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW.astimezone(tz)

    @classmethod
    def utcnow(cls) -> Any:
        return NOW.replace(tzinfo=None)


def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelyard_serving.fetch.sign.datetime", Clock)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW.replace(tzinfo=None))


def parsed(url: str) -> tuple[str, str, str, dict[str, list[str]]]:
    split = urlsplit(url)
    return split.scheme, split.netloc, split.path, parse_qs(split.query, keep_blank_values=True)


@pytest.mark.parametrize("token", [None, "to/ken=="])
@pytest.mark.parametrize("endpoint", [None, "http://minio:9000", "https://s3.example.com", "http://proxy:80/s3"])
@pytest.mark.parametrize("bucket", ["models", "my.models"])
@pytest.mark.parametrize("key", ["churn/1/MLmodel", "a b/é+%~&=/(x)!'*.pkl"])
def test_urls_are_those_that_botocore_signs(
    token: str | None, endpoint: str | None, bucket: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen(monkeypatch)
    theirs: Any = Session().create_client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=endpoint,
        aws_access_key_id="AKID",
        aws_secret_access_key="sec/ret",
        aws_session_token=token,
        config=Config(signature_version="s3v4", s3={"addressing_style": "auto" if endpoint else "virtual"}),
    )
    ours = KeySigner("AKID", "sec/ret", token, "eu-central-1", endpoint)
    expected = theirs.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key})
    assert parsed(ours.get(bucket, key)) == parsed(expected)
    listed = theirs.generate_presigned_url(
        "list_objects_v2",
        Params={"Bucket": bucket, "Prefix": key, "MaxKeys": 7, "ContinuationToken": "t/=", "EncodingType": "url"},
    )
    given = parsed(ours.list(bucket, {"prefix": key, "max-keys": "7", "continuation-token": "t/="}))
    # botocore leaves the slash out that stands for an empty key where the bucket is in the host.
    assert (*given[:2], given[2].rstrip("/"), given[3]) == (
        *parsed(listed)[:2],
        parsed(listed)[2].rstrip("/"),
        given[3],
    )


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({"AWS_ENDPOINT_URL_S3": "http://a", "AWS_ENDPOINT_URL": "http://b"}, "http://a"),
        ({"AWS_ENDPOINT_URL": "http://b"}, "http://b"),
        ({}, None),
    ],
)
def test_plain_environments_need_no_botocore(env: dict[str, str], endpoint: str | None) -> None:
    assert signer(None, {**KEYS, **NO_CONFIG, **env, "AWS_DEFAULT_REGION": "eu-west-1"}) == KeySigner(
        "AKID", "sec/ret", None, "eu-west-1", endpoint
    )


@pytest.mark.parametrize(
    "env",
    [
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_PROFILE": "team"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_DEFAULT_REGION": "cn-north-1"},
        {"AWS_CONFIG_FILE": __file__},
    ],
)
def test_the_rest_is_left_to_botocore(env: dict[str, str]) -> None:
    assert isinstance(signer(None, {**KEYS, **NO_CONFIG, **env}), BotocoreSigner)


def test_where_botocore_signs_for_aws_the_region_is_in_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, **NO_CONFIG}.items():
        monkeypatch.setenv(name, value)
    url = BotocoreSigner(None, "cn-north-1").get("models", "a/b")
    assert url.startswith("https://models.s3.cn-north-1.amazonaws.com.cn/a/b?")


def test_botocores_own_places_for_credentials_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**KEYS, **NO_CONFIG}.items():
        monkeypatch.setenv(name, value)
    url = BotocoreSigner("http://minio:9000").in_region("eu-west-1").get("models", "a/b")
    assert url.startswith("http://minio:9000/models/a/b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F")
    assert "eu-west-1" in url
