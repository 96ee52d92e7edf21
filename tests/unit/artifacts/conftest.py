from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes import artifacts


@pytest.fixture
def bucket() -> Iterator[artifacts.Bucket]:
    with artifacts.bucket() as bucket:
        yield bucket
