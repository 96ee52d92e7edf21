"""How a command finds the tracking server, and reads from it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from modelyard.cli.tracking import NoTracking, Tracking, find_tracking
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import SERVICES
from modelyard.decide.experiment_model import Run
from modelyard.tracking.client import TrackingClient, TrackingError
from tests.fakes.cluster import FakeClient

LABELS = {"app.kubernetes.io/part-of": "modelyard", "app.kubernetes.io/component": "tracking"}


def service(client: FakeClient, namespace: str, name: str = "modelyard-tracking") -> None:
    body = {
        "metadata": {"name": name, "namespace": namespace, "labels": LABELS},
        "spec": {"ports": [{"name": "http", "port": 5000}]},
    }
    client.create(SERVICES, namespace, body, "helm")


class Forwarding(FakeClient):
    """An API server whose proxy answers with a run."""

    def forward(
        self,
        method: str,
        path: str,
        query: str,
        body: bytes,  # noqa: ARG002
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        self.requests.append((method, f"{path}?{query}"))
        self.asked = headers
        run = {"info": {"run_id": "a", "status": "FINISHED", "lifecycle_stage": "active"}, "data": {}}
        return 200, json.dumps({"run": run}).encode()


def test_the_environment_names_it_first() -> None:
    found = find_tracking(FakeClient(), {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000/"}, None)
    assert (found.uri, found.where) == ("http://127.0.0.1:5000", "the tracking server at http://127.0.0.1:5000")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "./mlruns", "databricks"])
def test_what_is_no_server_is_said(uri: str) -> None:
    with pytest.raises(NoTracking, match=r"MLFLOW_TRACKING_URI is .* it has to be the http\(s\) address"):
        find_tracking(FakeClient(), {"MLFLOW_TRACKING_URI": uri}, None)


@pytest.mark.parametrize(
    ("environment", "given", "where"),
    [
        ({}, None, "modelyard-system"),
        ({}, "ours", "ours"),
        ({"MODELYARD_OPERATOR_NAMESPACE": "ours"}, None, "ours"),
    ],
)
def test_else_the_installation_s_is_asked_through_the_api_server(
    environment: dict[str, str], given: str | None, where: str
) -> None:
    client = Forwarding()
    service(client, "modelyard-system")
    service(client, "ours")
    found = find_tracking(client, environment, given)
    run = found.client.get_run("a")
    assert run is not None
    assert run.run_id == "a"
    path = f"/api/v1/namespaces/{where}/services/modelyard-tracking:http/proxy/api/2.0/mlflow/runs/get?run_id=a"
    assert client.requests[-1] == ("GET", path)
    # MLflow refuses hosts that it does not know.
    assert client.asked["host"] == f"modelyard-tracking.{where}.svc:5000"
    assert found.where == f"the tracking server {where}/modelyard-tracking"


def test_it_is_looked_for_everywhere() -> None:
    client = Forwarding()
    service(client, "elsewhere")
    assert find_tracking(client, {}, None).where == "the tracking server elsewhere/modelyard-tracking"


def test_where_there_is_none_it_says_what_would_help() -> None:
    def forbid(_method: str, _path: str) -> None:
        raise ApiError(403, "Forbidden", "services is forbidden")

    with pytest.raises(NoTracking, match=r"no Service .* in the cluster; name its namespace \(--operator-namespace\)"):
        find_tracking(FakeClient(), {}, None)
    with pytest.raises(NoTracking, match=r"in the cluster: services is forbidden; name .*MLFLOW_TRACKING_URI=http"):
        find_tracking(FakeClient(forbid), {}, None)


RUN = Run("a", artifact_uri="mlflow-artifacts:/1/a/artifacts")


def reached(answer: Any) -> Tracking:
    transport = httpx.MockTransport(answer)
    return Tracking(TrackingClient("http://t", transport=transport), "http://t", "the tracking server", transport)


def test_artifacts_are_read_through_the_server() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, text="numpy==2.3.1\n")

    assert reached(answer).text(RUN, "modelyard/environment.lock.txt") == "numpy==2.3.1\n"
    assert asked == ["http://t/api/2.0/mlflow-artifacts/artifacts/1/a/artifacts/modelyard/environment.lock.txt"]


def test_an_artifact_that_is_not_there_is_none() -> None:
    assert reached(lambda _: httpx.Response(404)).text(RUN, "x") is None


def test_an_artifact_that_cannot_be_read_is_said() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(TrackingError, match="the tracking server answers 503 for x"):
        reached(lambda _: httpx.Response(503)).text(RUN, "x")
    with pytest.raises(TrackingError, match="the tracking server does not answer: refused"):
        reached(fail).text(RUN, "x")
