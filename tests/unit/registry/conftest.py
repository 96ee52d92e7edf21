from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import artifacts
from tests.unit.registry.world import World


@pytest.fixture
def bucket() -> Iterator[artifacts.Bucket]:
    with artifacts.bucket() as bucket:
        yield bucket


@pytest.fixture
def world(bucket: artifacts.Bucket) -> World:
    return World(bucket)
