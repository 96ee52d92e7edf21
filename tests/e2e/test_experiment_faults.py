"""What is killed in the middle of an execution: nothing is lost, nothing runs twice, and each run's state is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from examples.demo.kubectl import Kubectl, run
from examples.demo.steps import SYSTEM_NAMESPACE
from tests.e2e import lost_node
from tests.e2e.bell import Bell
from tests.e2e.processes import wait_until
from tests.e2e.test_restart import OPERATOR, kill_operator, replaced, uids
from tests.e2e.trials import Json, Trials, evict, outcome, waiting_project
from tests.e2e.trials_fixtures import bell, own_bell, team, tracking, trials

__all__ = ["bell", "own_bell", "team", "tracking", "trials"]

pytestmark = pytest.mark.timeout(1500)

TRACKING = "app.kubernetes.io/component=tracking"
EVICTED, DELETED, LEFT_ALONE = "1", "2", "3"
"""Trials by their parameter `score`."""

SCORES = [EVICTED, DELETED, LEFT_ALONE, "4", "5", "6", "7"]
AT_ONCE = 4


@dataclass(frozen=True)
class Survived:
    """What came of a sweep in whose middle pods were killed: the status, and by `score` the run and its starts."""

    body: Json
    runs: dict[str, list[Run]]
    begun: dict[str, int]


def kill(label: str) -> set[str]:
    """End the component's pod at once; return which it was."""
    before = uids(label)
    delete = ("delete", "pod", "-l", label, "--grace-period=0", "--force", "--wait=false")
    run("kubectl", "-n", SYSTEM_NAMESPACE, *delete)
    return before


@pytest.fixture(scope="module")
def survived(team: Kubectl, tracking: MlflowClient, bell: Bell) -> Iterator[Survived]:
    """A sweep in whose middle a trial's pod is evicted, one is deleted, and operator and tracking server are killed."""
    sweep = Trials(team, tracking)
    values = {"score": {"values": SCORES}}
    sweep.apply(
        waiting_project(sweep.name, bell), sweep.experiment(sweep={"parameters": values, "parallelism": AT_ONCE})
    )
    bell.wait_begun(AT_ONCE)
    # The run of each pod, by the parameter that it was given.
    scores = {each.info.run_id: each.data.params["score"] for each in sweep.runs()}
    pods = {scores[run_id]: (run_id, pod["metadata"]["name"]) for run_id, pod in sweep.pods().items()}

    evict(team, pods[EVICTED][1])
    wait_until("the evicted trial began again", lambda: bell.begun[pods[EVICTED][0]] == 2, 180)

    operator = kill(OPERATOR)
    # These end while no operator looks.
    bell.release(pods[LEFT_ALONE][0])
    team("delete", "pod", pods[DELETED][1], "--grace-period=1")
    wait_until("another operator is ready", lambda: replaced(OPERATOR, operator), 240)

    server = kill(TRACKING)
    # These log while there is no tracking server, or end.
    bell.release()
    wait_until("another tracking server is ready", lambda: replaced(TRACKING, server), 240)
    kill_operator()

    body = sweep.wait_ended()
    found: dict[str, list[Run]] = {}
    for each in sweep.runs():
        found.setdefault(each.data.params["score"], []).append(each)
    begun = {score: bell.begun.get(runs[0].info.run_id, 0) for score, runs in found.items()}
    yield Survived(body, found, begun)
    sweep.remove()


def test_every_trial_has_one_run_and_the_sweep_ends_well(survived: Survived) -> None:
    assert outcome(survived.body) == ("True", "Completed")
    assert sorted(survived.runs) == SCORES
    assert {score: len(runs) for score, runs in survived.runs.items()} == dict.fromkeys(SCORES, 1)
    assert float(survived.body["status"]["bestRun"]["metrics"]["score"]) == 7
    counts = survived.body["status"]["runs"]
    assert (counts["total"], counts["succeeded"] + counts.get("failed", 0)) == (len(SCORES), len(SCORES))


def test_nothing_runs_twice_but_what_the_cluster_took_away(survived: Survived) -> None:
    untouched = {score: count for score, count in survived.begun.items() if score not in (EVICTED, DELETED)}
    assert untouched == dict.fromkeys((score for score in SCORES if score not in (EVICTED, DELETED)), 1)
    assert survived.begun[EVICTED] == 2


def test_an_evicted_trial_is_run_again_in_its_run(survived: Survived) -> None:
    (evicted,) = survived.runs[EVICTED]
    assert evicted.info.status == "FINISHED"
    assert evicted.data.metrics == {"score": float(EVICTED)}


def test_a_trial_whose_pod_was_deleted_is_not_lost(survived: Survived) -> None:
    """Either it was run again and ended well, or it is a failure that says what happened."""
    (deleted,) = survived.runs[DELETED]
    if deleted.info.status == "FINISHED":
        assert survived.begun[DELETED] == 2
        return
    assert (deleted.info.status, survived.begun[DELETED]) == ("FAILED", 1)
    (failure,) = survived.body["status"]["failures"]
    assert failure["runId"] == deleted.info.run_id
    assert "deleted" in failure["message"].lower()


@pytest.mark.parametrize("score", [LEFT_ALONE, "4", "7"])
def test_what_ended_meanwhile_is_told_as_it_was(survived: Survived, score: str) -> None:
    """One ended while no operator was there, one logged while there was no tracking server, one came after."""
    (each,) = survived.runs[score]
    assert each.info.status == "FINISHED"
    assert each.data.metrics == {"score": float(score)}
    assert each.info.end_time >= each.info.start_time


def test_an_operator_that_is_killed_all_the_time_makes_one_run_and_one_job_a_trial(
    trials: Trials, own_bell: Bell
) -> None:
    values = {"score": {"values": ["1", "2", "3"]}}
    trials.apply(
        waiting_project(trials.name, own_bell), trials.experiment(sweep={"parameters": values, "parallelism": 1})
    )
    for count in (1, 2, 3):
        runs = own_bell.wait_begun(count)
        before = kill(OPERATOR)
        own_bell.release(runs[-1])
        wait_until("another operator is ready", lambda before=before: replaced(OPERATOR, before), 240)  # type: ignore[misc]
    body = trials.wait_ended()
    assert outcome(body) == ("True", "Completed")
    assert sorted(each.data.params["score"] for each in trials.runs()) == ["1", "2", "3"]
    assert own_bell.begun == {each.info.run_id: 1 for each in trials.runs()}
    assert len(trials.jobs()) == 3


def test_a_trial_whose_node_is_lost_is_run_again_in_its_run(trials: Trials, own_bell: Bell) -> None:
    """Its pod was bound to the node; the cluster's own clean-up of pods without a node ends it."""
    kubectl, place = trials.kubectl, trials.name
    # The first execution finds out what the image holds, by a Job that would go to the node, too.
    trials.apply(waiting_project(trials.name, own_bell), trials.experiment(parameters={"score": "1"}))
    own_bell.release()
    first = trials.wait_ended()["status"]["execution"]
    template = {**trials.experiment()["spec"]["template"], **lost_node.only_on(place)}
    with lost_node.node(kubectl, place) as name:
        trials.apply(trials.experiment(parameters={"score": "2"}, template=template))
        wait_until("the pod is bound to the node", lambda: nodes(trials) == [name], 90)
        (run_id,) = trials.pods()
    with lost_node.labelled(kubectl, place):
        # The controllers look for such pods every 20 s, and give a node 40 s to come back.
        wait_until("it has begun elsewhere", lambda: run_id in own_bell.begun, 300)
        ended = trials.wait_ended(after=first)
    assert outcome(ended) == ("True", "Completed")
    (only,) = trials.runs(ended["status"]["execution"])
    assert (only.info.run_id, only.info.status, only.data.metrics) == (run_id, "FINISHED", {"score": 2.0})
    assert own_bell.begun[run_id] == 1
    (job,) = [each for each in trials.jobs() if each["metadata"]["annotations"]["modelyard.dev/run-id"] == run_id]
    assert job["status"]["succeeded"] == 1


def nodes(trials: Trials) -> list[str | None]:
    """Return the nodes of the pods of its trials."""
    return [pod["spec"].get("nodeName") for pod in trials.pods().values()]
