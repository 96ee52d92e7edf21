from __future__ import annotations

from pathlib import Path

import pytest

from modelyard_serving.config import Config, Source, termination_log
from modelyard_serving.errors import Reason, StartupError
from modelyard_serving.server import GRACE_SECONDS

TOKEN = "0123456789abcdef" * 4
DIGEST = "sha256:" + "0a" * 32
REQUIRED = {
    "MODELYARD_MODEL_NAME": "churn",
    "MODELYARD_MODEL_VERSION": "3",
    "MODELYARD_MODEL_SOURCE": "s3://models/churn/2024-01-15",
    "MODELYARD_MODEL_DIGEST": DIGEST,
}


def test_the_defaults_need_four_variables() -> None:
    config = Config.from_env(REQUIRED)
    assert config == Config(
        model_name="churn",
        model_version="3",
        source=Source("models", "churn/2024-01-15"),
        digest=DIGEST,
        model_uri="models:/churn/3",
        model_dir=Path("/tmp/model"),
        port=8080,
        drain_seconds=5.0,
        max_body_bytes=64 * 1024 * 1024,
        termination_log=Path("/dev/termination-log"),
        recent_requests=0,
        control_token=None,
    )
    assert config.keep_alive_seconds >= 75


def test_every_setting_has_a_variable() -> None:
    config = Config.from_env(
        REQUIRED
        | {
            "MLFLOW_MODEL_URI": "models:/churn@champion",
            "MODELYARD_MODEL_DIR": "/data",
            "MODELYARD_HOST": "::",
            "MODELYARD_PORT": "9000",
            "MODELYARD_THREADS": "2",
            "MODELYARD_MAX_BODY_BYTES": "1000",
            "MODELYARD_DRAIN_SECONDS": "0.5",
            "MODELYARD_SHUTDOWN_SECONDS": "7",
            "MODELYARD_KEEP_ALIVE_SECONDS": "100",
            "MODELYARD_TERMINATION_LOG": "/data/log",
            "MODELYARD_RECENT_REQUESTS": "256",
            "MODELYARD_CONTROL_TOKEN": TOKEN,
            "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000",
        }
    )
    assert config == Config(
        model_name="churn",
        model_version="3",
        source=Source("models", "churn/2024-01-15"),
        digest=DIGEST,
        model_uri="models:/churn@champion",
        model_dir=Path("/data"),
        host="::",
        port=9000,
        threads=2,
        max_body_bytes=1000,
        drain_seconds=0.5,
        shutdown_seconds=7,
        keep_alive_seconds=100,
        s3_endpoint="http://minio:9000",
        termination_log=Path("/data/log"),
        recent_requests=256,
        control_token=TOKEN,
    )
    assert TOKEN not in repr(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELYARD_MODEL_NAME", ""),
        ("MODELYARD_MODEL_VERSION", ""),
        ("MODELYARD_MODEL_SOURCE", ""),
        ("MODELYARD_MODEL_SOURCE", "/local/path"),
        ("MODELYARD_MODEL_SOURCE", "s3://bucket-alone"),
        ("MODELYARD_MODEL_SOURCE", "s3://bucket/"),
        ("MODELYARD_MODEL_SOURCE", "s3:///prefix"),
        ("MODELYARD_MODEL_SOURCE", "models:/churn/3"),
        ("MODELYARD_MODEL_DIGEST", ""),
        ("MODELYARD_MODEL_DIGEST", "0a" * 32),
        ("MODELYARD_MODEL_DIGEST", DIGEST[:-1]),
        ("MODELYARD_MODEL_DIGEST", DIGEST.upper()),
        ("MODELYARD_PORT", "0"),
        ("MODELYARD_PORT", "65536"),
        ("MODELYARD_PORT", "http"),
        ("MODELYARD_THREADS", "0"),
        ("MODELYARD_DRAIN_SECONDS", "-1"),
        ("MODELYARD_DRAIN_SECONDS", "nan"),
        ("MODELYARD_MAX_BODY_BYTES", "64Mi"),
        ("MODELYARD_RECENT_REQUESTS", "-1"),
        ("MODELYARD_RECENT_REQUESTS", "10001"),
        ("MODELYARD_RECENT_REQUESTS", "many"),
        ("MODELYARD_CONTROL_TOKEN", "too short"),
        ("MODELYARD_CONTROL_TOKEN", "with spaces, and long enough"),
        ("MODELYARD_CONTROL_TOKEN", "ümlaut" * 5),
    ],
)
def test_an_error_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(StartupError) as raised:
        Config.from_env(REQUIRED | {name: value})
    assert raised.value.reason is Reason.CONFIG_INVALID
    assert raised.value.line.startswith(f"ConfigInvalid: {name} ")


@pytest.mark.parametrize("missing", REQUIRED)
def test_required_variables_are_required(missing: str) -> None:
    with pytest.raises(StartupError, match=f"ConfigInvalid: {missing} is not set"):
        Config.from_env({name: value for name, value in REQUIRED.items() if name != missing})


@pytest.mark.parametrize("value", ["s3://models/churn/", "s3://models/churn//", "s3://models/churn"])
def test_slashes_at_the_end_of_the_source_do_not_matter(value: str) -> None:
    assert Config.from_env(REQUIRED | {"MODELYARD_MODEL_SOURCE": value}).source == Source("models", "churn")


@pytest.mark.parametrize("own", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_the_endpoint_that_boto3_knows_comes_first(own: str) -> None:
    env = REQUIRED | {own: "http://a", "MLFLOW_S3_ENDPOINT_URL": "http://b"}
    assert Config.from_env(env).s3_endpoint is None


def test_an_error_does_not_repeat_a_secret() -> None:
    with pytest.raises(StartupError) as raised:
        Config.from_env(REQUIRED | {"MODELYARD_CONTROL_TOKEN": "hush-hush"})
    assert "hush" not in raised.value.line


def test_with_ten_seconds_of_draining_the_process_ends_within_25_seconds() -> None:
    config = Config.from_env(REQUIRED | {"MODELYARD_DRAIN_SECONDS": "10"})
    assert config.drain_seconds + config.shutdown_seconds + GRACE_SECONDS < 25


def test_the_termination_log_is_known_without_a_valid_configuration() -> None:
    assert termination_log({}) == Path("/dev/termination-log")
    assert termination_log({"MODELYARD_TERMINATION_LOG": "/x"}) == Path("/x")
