"""`kubectl modelyard` on the real cluster: the operator gives the records, and Kubernetes says to whom."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from examples.demo.kubectl import Kubectl, is_current, run
from examples.demo.steps import SYSTEM_NAMESPACE
from modelyard.cli.errors import ALTERED
from tests.e2e.plugin import modelyard, person
from tests.e2e.store import ArtifactAccess

pytestmark = pytest.mark.timeout(600)

OPERATOR = "modelyard-operator"

# Run in a pod of the cluster, which reaches the Service without the API server.
ASK = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


@dataclass(frozen=True)
class Model:
    """A model with one version in Production."""

    kubectl: Kubectl
    name: str
    log: str
    """Where its records are, an s3:// URI."""

    def modelyard(
        self, *arguments: str, more: tuple[str, ...] = (), kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the plugin as kubectl finds it, with nothing but a kubeconfig."""
        namespace = self.kubectl.namespace
        return modelyard(namespace, *arguments, self.name, *more, kubeconfig=kubeconfig)


@pytest.fixture
def model(kubectl: Kubectl, artifacts: ArtifactAccess) -> Iterator[Model]:
    name = f"cli-{uuid.uuid4().hex[:8]}"
    values = yaml.safe_load(run("helm", "get", "values", "modelyard", "-n", SYSTEM_NAMESPACE, "--all", "-o", "yaml"))
    store = values["artifactStore"]["uri"].rstrip("/")
    source = f"{store}/artifacts/{name}"
    artifacts.write(f"{source}/MLmodel", b"flavors: {sklearn: {}}\n")
    body = {
        "apiVersion": "modelyard.dev/v1alpha1",
        "kind": "RegisteredModel",
        "metadata": {"name": name},
        "spec": {"versions": [{"version": 1, "source": source}], "stages": {"production": 1}},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(body))
    kubectl.wait_for(
        "registeredmodel", name, lambda body: is_current(body) and "production" in body["status"].get("stages", {}), 60
    )
    yield Model(kubectl, name, f"{store}/registry/{kubectl.namespace}/{name}/log")
    kubectl("delete", "registeredmodel", name)


@pytest.fixture
def people(kubectl: Kubectl, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Kubeconfigs of an auditor and of somebody who may see the namespace, no more."""
    with (
        person(kubectl, tmp_path / "auditor", "view", "modelyard-auditor") as auditor,
        person(kubectl, tmp_path / "viewer", "view") as viewer,
    ):
        yield {"auditor": auditor, "viewer": viewer}


def test_the_history_comes_through_the_api_server_and_is_checked(model: Model) -> None:
    done = model.modelyard("history")
    assert done.returncode == 0, done.stderr
    (row,) = done.stdout.splitlines()[1:]
    assert row.split()[3:6] == ["1", "None", "Production"]
    assert f"records in the operator ({SYSTEM_NAMESPACE}/{OPERATOR}), every one as it was written" in done.stderr
    verified = json.loads(model.modelyard("verify", "-o", "json").stdout)
    head = model.kubectl.get("registeredmodel", model.name)
    assert head is not None
    assert verified["head"] == head["status"]["records"]


def test_an_auditor_may_and_a_viewer_sees_the_status_only(model: Model, people: dict[str, Path]) -> None:
    audited = model.modelyard("history", kubeconfig=people["auditor"])
    assert audited.returncode == 0, audited.stderr
    assert "every one as it was written" in audited.stderr
    seen = model.modelyard("history", kubeconfig=people["viewer"])
    assert seen.returncode == 0, seen.stderr
    assert "forbidden" in seen.stderr
    assert "the chain of records was not checked" in seen.stderr
    assert "Production" in seen.stdout
    assert model.modelyard("verify", kubeconfig=people["viewer"]).returncode == 1


def test_a_record_that_is_altered_in_the_store_is_named(model: Model, artifacts: ArtifactAccess) -> None:
    with artifacts.changed(model.log, "00000001.json"):
        done = model.modelyard("verify")
    assert done.returncode == ALTERED
    assert "record 1 was altered or replaced" in done.stderr
    assert model.modelyard("verify").returncode == 0


def test_a_pod_of_the_cluster_gets_nothing_without_the_token(model: Model) -> None:
    url = f"http://{OPERATOR}.{SYSTEM_NAMESPACE}.svc:8081/v1/namespaces/{model.kubectl.namespace}/registeredmodels"
    tracking = Kubectl(SYSTEM_NAMESPACE)
    command = ["exec", "deploy/modelyard-tracking", "-c", "tracking", "--", "python", "-c", ASK]
    assert tracking(*command, f"{url}/{model.name}/records").strip() == "403"


def test_what_a_job_printed_comes_through_the_api_server_too(model: Model, artifacts: ArtifactAccess) -> None:
    artifacts.write(f"{model.log.removesuffix('/log')}/evidence/smoke.log", "für\n".encode())
    done = model.modelyard("evidence", more=("smoke.log",))
    assert (done.returncode, done.stdout) == (0, "für\n")
    missing = model.modelyard("evidence", more=("none.log",))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "there is no evidence none.log" in missing.stderr


def test_what_retention_would_delete_is_worked_out_with_the_operators_records(model: Model) -> None:
    done = model.modelyard("retention", "--dry-run", "--archived", "0", "-o", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["delete"], answer["keep"]) == ([], [{"version": 1, "why": "it is not archived"}])
