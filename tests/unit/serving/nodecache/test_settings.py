from __future__ import annotations

from pathlib import Path

import pytest

from modelyard_serving.nodecache.settings import Settings, SettingsError, quantity

ENV = {
    "MODELYARD_NODE_CACHE_ENDPOINTS": "http://minio:9000, https://*.s3.example.com",
    "MODELYARD_NODE_CACHE_DIR": "/cache",
    "MODELYARD_NODE_CACHE_SIZE": "10Gi",
}


def test_are_read_from_the_environment() -> None:
    settings = Settings.from_env({**ENV, "MODELYARD_PORT": "9090"})
    assert (settings.directory, settings.port) == (Path("/cache"), 9090)
    assert settings.limit == int(10 * 2**30 * 0.95)
    assert settings.endpoints.allow("https", "bucket.s3.example.com", 443)


@pytest.mark.parametrize(
    ("text", "size"), [("1", 1), ("5k", 5000), ("1.5Gi", 1610612736), ("2M", 2_000_000), ("1Ei", 2**60)]
)
def test_quantities(text: str, size: int) -> None:
    assert quantity(text) == size


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, "") for name in ENV]
    + [
        ("MODELYARD_NODE_CACHE_SIZE", "10 Gi"),
        ("MODELYARD_NODE_CACHE_SIZE", "10m"),
        ("MODELYARD_NODE_CACHE_ENDPOINTS", "minio:9000"),
        ("MODELYARD_PORT", "http"),
        ("MODELYARD_PORT", "70000"),
    ],
)
def test_the_first_that_is_wrong_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**ENV, name: value})
