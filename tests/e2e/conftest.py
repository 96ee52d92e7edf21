"""The real cluster with the chart installed, and scenarios on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.demo.kubectl import CommandFailed, Kubectl, run
from examples.demo.steps import SYSTEM_NAMESPACE, Demo
from tests.e2e.scenario import Scenario
from tests.e2e.store import ArtifactAccess, connect, port_forward, secret


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster that answers."""
    try:
        run("kubectl", "get", "--raw", "/readyz")
    except (CommandFailed, FileNotFoundError) as error:
        pytest.fail(f'these tests need a cluster (make cluster-up images, then eval "$(make -s env)"): {error}')


@pytest.fixture(scope="session")
def installation(cluster: None) -> Demo:
    """The chart, installed as the demo installs it: versions are served as they are."""
    demo = Demo.from_environment()
    demo.install()
    return demo


@pytest.fixture
def kubectl(installation: Demo) -> Kubectl:
    """kubectl in the namespace whose models the tracking server holds."""
    return installation.kubectl


@pytest.fixture
def scenario(kubectl: Kubectl) -> Iterator[Scenario]:
    """A model with names of its own; its objects are removed afterwards."""
    created = Scenario(kubectl)
    yield created
    created.remove()


@pytest.fixture(scope="module")
def artifacts(installation: Demo) -> Iterator[ArtifactAccess]:
    """The artifact store, for doing to it what nobody should.

    A forwarded port leads to one pod, which other modules may end.
    """
    credentials = secret(SYSTEM_NAMESPACE, "modelyard-store-writer")
    with port_forward(SYSTEM_NAMESPACE, "service/modelyard-minio", 9000) as endpoint:
        yield connect(endpoint, credentials)
