"""Killing the operator at any moment changes nothing in the outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient

from examples.demo.kubectl import condition, run
from examples.demo.steps import SYSTEM_NAMESPACE, Demo
from tests.e2e.scenario import REQUEST, Scenario

pytestmark = pytest.mark.timeout(1500)

OPERATOR = "app.kubernetes.io/component=operator"
NOT_THE_CACHE = "app.kubernetes.io/component!=node-cache"
"""The nodes' caches are a DaemonSet, which has no scale; without the store they give nothing."""


def kill_operator() -> None:
    """End the operator's process at once, as a node's loss would; its Deployment starts another."""
    run(
        *("kubectl", "-n", SYSTEM_NAMESPACE, "delete", "pod", "-l", OPERATOR),
        *("--grace-period=0", "--force", "--wait=false"),
    )


def uids(label: str) -> set[str]:
    return set(_listed(label, "{.items[*].metadata.uid}"))


def replaced(label: str, before: set[str]) -> bool:
    """Whether a pod that was not there before is ready."""
    ready = "{range .items[?(@.status.containerStatuses[0].ready==true)]}{.metadata.uid} {end}"
    return bool(set(_listed(label, ready)) - before)


def _listed(label: str, path: str) -> list[str]:
    return run("kubectl", "-n", SYSTEM_NAMESPACE, "get", "pods", "-l", label, "-o", f"jsonpath={path}").split()


@contextmanager
def killing_every(seconds: float) -> Iterator[list[int]]:
    """Kill the operator again and again for as long as the block lasts; yields how often it was done.

    Each gets so many seconds from when it is ready: one that is killed while it starts would never do anything.
    """
    stop, count = threading.Event(), [0]

    def kill_again() -> None:
        while not stop.wait(seconds):
            before = uids(OPERATOR)
            kill_operator()
            count[0] += 1
            while not replaced(OPERATOR, before) and not stop.wait(0.3):
                pass

    thread = threading.Thread(target=kill_again)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


def assert_outcome(scenario: Scenario, demo: Demo) -> None:
    """Two trials ran once each, the better one is version 1, and version 1 answers."""
    experiment = scenario.kubectl.get("experiment", scenario.name)
    model = scenario.kubectl.get("registeredmodel", scenario.name)
    assert experiment is not None
    assert model is not None
    jobs = scenario.trial_jobs()
    assert len(jobs) == 2
    runs = MlflowClient(demo.tracking_uri).search_runs([experiment["status"]["experimentId"]])
    children = [each for each in runs if "mlflow.parentRunId" in each.data.tags]
    assert sorted(each.data.metrics["score"] for each in children) == [1.0, 2.0]
    assert len(runs) - len(children) == 1
    assert [each["version"] for each in model["status"]["versions"]] == [1]
    assert [(each["from"], each["to"]) for each in model["status"]["transitions"]] == [("None", "Production")]
    answer = scenario.endpoint.ask(REQUEST)
    assert (answer.status, answer.version, answer.predictions) == (200, "1", [2.0])


def test_the_operator_killed_before_every_step(scenario: Scenario, installation: Demo) -> None:
    scenario.apply(scenario.project(), scenario.experiment(), scenario.deployment())
    kill_operator()
    scenario.wait("experiment", lambda body: (body["status"].get("runs") or {}).get("running", 0) > 0)
    kill_operator()
    scenario.wait("experiment", lambda body: (body["status"].get("runs") or {}).get("succeeded", 0) > 0)
    kill_operator()
    scenario.wait_trained()
    scenario.promote(1)
    kill_operator()
    scenario.wait("registeredmodel", lambda body: "production" in body["status"].get("stages", {}))
    kill_operator()
    scenario.wait("modeldeployment", lambda body: "candidate" in body["status"] or "served" in body["status"])
    kill_operator()
    scenario.wait_served(1)
    assert_outcome(scenario, installation)


def test_the_operator_killed_every_few_seconds_from_beginning_to_end(scenario: Scenario, installation: Demo) -> None:
    with killing_every(4.0) as kills:
        scenario.apply(scenario.project(), scenario.experiment(), scenario.deployment())
        scenario.wait_trained()
        scenario.promote(1)
        scenario.wait_served(1)
    assert kills[0] >= 3
    assert_outcome(scenario, installation)


def test_what_is_served_is_served_without_the_operator_the_tracking_server_and_the_store(
    scenario: Scenario, installation: Demo
) -> None:
    scenario.apply(scenario.project(), scenario.experiment(), scenario.deployment())
    scenario.wait_trained()
    scenario.promote(1)
    scenario.wait_served(1)
    workloads = run("kubectl", "-n", SYSTEM_NAMESPACE, "get", "deployments,statefulsets", "-o", "name").split()
    try:
        run("kubectl", "-n", SYSTEM_NAMESPACE, "scale", "--replicas=0", *workloads)
        gone = ("wait", "pod", "-l", NOT_THE_CACHE, "--for=delete", "--timeout=240s")
        run("kubectl", "-n", SYSTEM_NAMESPACE, *gone)
        answer = scenario.endpoint.ask(REQUEST)
        assert (answer.status, answer.predictions) == (200, [2.0])
    finally:
        run("kubectl", "-n", SYSTEM_NAMESPACE, "scale", "--replicas=1", *workloads)
        for workload in workloads:
            run("kubectl", "-n", SYSTEM_NAMESPACE, "rollout", "status", workload, "--timeout=300s")
    body = scenario.wait_served(1)
    assert condition(body, "Ready")["reason"] == "Serving"
