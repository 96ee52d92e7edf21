from __future__ import annotations

import re
import tomllib

import pytest

from tests.bench.serving.environments import REQUIREMENTS
from tests.cluster.paths import REPOSITORY

LOCKED = {
    (package["name"], package["version"]) for package in tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
}


@pytest.mark.parametrize("peer", ["mlflow", "mlserver"])
@pytest.mark.parametrize("library", ["scikit-learn", "pandas", "cloudpickle", "mlflow"])
def test_a_peer_has_the_libraries_that_the_models_are_saved_with(peer: str, library: str) -> None:
    (pinned,) = re.findall(rf"^{library}==(\S+)", (REQUIREMENTS / f"{peer}.txt").read_text(), re.MULTILINE)
    assert (library, pinned) in LOCKED
