"""What tests of Experiments share: a namespace of their own with restricted Pod Security, a bell, and small trials."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from examples.demo.kubectl import Kubectl, run
from examples.demo.steps import Demo
from tests.e2e.bell import Bell, ringing
from tests.e2e.trials import Trials


@pytest.fixture(scope="session")
def tracking(installation: Demo) -> MlflowClient:
    """The client of the installation's tracking server."""
    return MlflowClient(installation.tracking_uri)


@pytest.fixture(scope="module")
def team(installation: Demo) -> Iterator[Kubectl]:
    """A namespace that nothing else is in; its pods are held to the restricted standard."""
    namespace = f"team-{uuid.uuid4().hex[:8]}"
    run("kubectl", "create", "namespace", namespace)
    run("kubectl", "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        yield Kubectl(namespace)
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def bell() -> Iterator[Bell]:
    """What the module's trials report to."""
    with ringing() as made:
        yield made


@pytest.fixture
def own_bell() -> Iterator[Bell]:
    """What one test's trials report to."""
    with ringing() as made:
        yield made


@pytest.fixture
def trials(team: Kubectl, tracking: MlflowClient) -> Iterator[Trials]:
    """An Experiment of its own in the module's namespace."""
    made = Trials(team, tracking)
    yield made
    made.remove()
