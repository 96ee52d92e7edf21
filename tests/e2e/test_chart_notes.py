"""What the chart says after an installation works as it says."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from examples.demo.kubectl import Kubectl, condition, run
from examples.demo.steps import SYSTEM_NAMESPACE, Demo

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def kubectl(installation: Demo) -> Iterator[Kubectl]:
    namespace = f"notes-{uuid.uuid4().hex[:8]}"
    run("kubectl", "create", "namespace", namespace)
    yield Kubectl(namespace)
    run("kubectl", "delete", "namespace", namespace, "--wait=false")


def test_the_first_experiment_finds_the_better_run(kubectl: Kubectl) -> None:
    notes = run("helm", "get", "notes", "modelyard", "--namespace", SYSTEM_NAMESPACE)
    manifest = textwrap.dedent(notes.partition("<<EOF\n")[2].partition("  EOF\n")[0])
    kubectl("apply", "-f", "-", stdin=manifest)

    def ended(body: dict[str, Any]) -> bool:
        return condition(body, "Succeeded").get("status") in {"True", "False"}

    body = kubectl.wait_for("experiment", "first", ended, 400)
    assert condition(body, "Succeeded")["status"] == "True"
    assert [entry["value"] for entry in body["status"]["leaderboard"]] == ["0.9", "0.8"]
