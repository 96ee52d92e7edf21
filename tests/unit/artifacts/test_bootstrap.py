from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from modelyard.artifacts import bootstrap
from modelyard.artifacts.bootstrap import BootstrapError
from modelyard.artifacts.store import ArtifactStore
from tests.fakes.artifacts import SETTINGS, Bucket


def test_a_bucket_is_created_once(bucket: Bucket) -> None:
    settings = replace(SETTINGS, artifact_store="s3://new")
    assert bootstrap.ensure_bucket(bucket.s3, settings)
    assert not bootstrap.ensure_bucket(bucket.s3, settings)


def test_an_endpoint_that_starts_later_is_waited_for(bucket: Bucket) -> None:
    failures = [EndpointConnectionError(endpoint_url="http://minio"), _error("ServiceUnavailable")]
    bucket.before_request(lambda _: _raise_next(failures))
    pauses: list[float] = []
    assert not bootstrap.ensure_bucket(bucket.s3, SETTINGS, pause=pauses.append)
    assert len(pauses) == 2


def test_an_endpoint_that_never_answers_is_named(bucket: Bucket) -> None:
    failures = [EndpointConnectionError(endpoint_url="http://minio")] * 9
    bucket.before_request(lambda _: _raise_next(failures))
    with pytest.raises(BootstrapError, match=r"AWS S3 did not answer within 0 s.*http://minio"):
        bootstrap.ensure_bucket(bucket.s3, SETTINGS, deadline_seconds=0)


def test_refused_credentials_are_not_waited_out(bucket: Bucket) -> None:
    failures: list[Exception] = [_error("403")]
    bucket.before_request(lambda _: _raise_next(failures))
    with pytest.raises(BootstrapError, match="refuses the bucket 'models'"):
        bootstrap.ensure_bucket(bucket.s3, SETTINGS, pause=lambda _: pytest.fail("waited"))


def test_conditional_writes_are_checked_and_nothing_is_left(bucket: Bucket) -> None:
    bootstrap.check_conditional_writes(bucket.s3, SETTINGS, bucket.store())
    assert bucket.store().keys("") == []


def test_a_store_that_ignores_conditions_is_refused(bucket: Bucket) -> None:
    class Careless(ArtifactStore):
        def put_if_absent(self, key: str, data: bytes) -> None:
            self.put(key, data)

    with pytest.raises(BootstrapError, match=r"ignores conditional writes \(If-None-Match: \*\)"):
        bootstrap.check_conditional_writes(bucket.s3, SETTINGS, Careless(SETTINGS, client=bucket.s3))


def test_the_reader_may_only_read_what_models_and_trials_are_run_with() -> None:
    listing, reading = bootstrap.reader_policy(SETTINGS)["Statement"]
    assert listing["Action"] == ["s3:ListBucket"]
    below = ["team/artifacts/*", "team/prepared/*", "team/projects/*", "team/environments/*"]
    assert listing["Condition"] == {"StringLike": {"s3:prefix": below}}
    assert reading["Action"] == ["s3:GetObject"]
    assert reading["Resource"] == [f"arn:aws:s3:::models/{keys}" for keys in below]


def _error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "HeadBucket")


def _raise_next(failures: list[Any]) -> None:
    if failures:
        raise failures.pop(0)
