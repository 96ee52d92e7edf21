from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.serving.fetch.minio import MinioStore, Proxy, proxied, run_minio


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioStore]:
    with run_minio(tmp_path_factory.mktemp("minio")) as store:
        yield store


@pytest.fixture
def proxy(minio: MinioStore) -> Iterator[Proxy]:
    with proxied(minio.endpoint) as made:
        yield made
