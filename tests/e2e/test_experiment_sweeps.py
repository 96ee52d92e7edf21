"""Sixty trials: some fail, some log no objective, some are hopeless; and an environment built once for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from examples.demo.kubectl import Kubectl
from tests.e2e.bell import Bell
from tests.e2e.plugin import modelyard
from tests.e2e.trials import ENVIRONMENT_SECONDS, Json, Trials, log_of, outcome, project
from tests.e2e.trials_fixtures import bell, own_bell, team, tracking, trials

__all__ = ["bell", "own_bell", "team", "tracking", "trials"]

pytestmark = pytest.mark.timeout(1500)

TRIALS = 60
SWEEP_SECONDS = 1200.0

# What becomes of a trial is decided by the last digit of its `n`.
FAILS, SILENT, HOPELESS = 3, 7, 5

PARAMETERS: dict[str, Json | str] = {
    "n": "int",
    "rate": "float",
    "optimizer": "string",
    "momentum": {"type": "float", "default": 0.0},
}

PROGRAM = """\
    n = int(given.n)
    begin({bell!r})
    if n % 10 == 3:
        print("reading row", n)
        sys.exit("row %d has no label" % n)
    if n % 10 == 7:
        log(rows=n)
        sys.exit()
    for step in (1, 2, 3):
        log(loss=(100000 if n % 10 == 5 else 1000) / step + n, step=step)
    if n % 10 == 5:
        # It would train for very long.
        wait({bell!r})
    put_model(given.n.encode())
    """

SWEEP: Json = {
    "algorithm": "Random",
    "seed": 7,
    "maxTrials": TRIALS,
    "parallelism": 6,
    "parameters": {
        "n": {"min": "0", "max": "999"},
        "rate": {"min": "0.001", "max": "1", "scale": "Log"},
        "optimizer": {"values": ["sgd", "adam"]},
        "momentum": {"values": ["0.5", "0.9"], "when": {"parameter": "optimizer", "values": ["sgd"]}},
    },
    "earlyStopping": {"algorithm": "Median", "minSteps": 2, "minTrials": 5},
}


@dataclass(frozen=True)
class Swept:
    """What came of the sweep."""

    trials: Trials
    body: Json
    runs: list[Run]
    begun: dict[str, int]

    @property
    def status(self) -> Json:
        """The Experiment's status."""
        return dict(self.body["status"])

    def of(self, kind: int) -> list[Run]:
        """The runs whose `n` ends with that digit."""
        return [each for each in self.runs if int(each.data.params["n"]) % 10 == kind]

    @property
    def stopped(self) -> list[Run]:
        """The runs that were given up; besides the hopeless ones, some that were worse than half when looked at."""
        return [each for each in self.runs if each.data.tags.get("modelyard.dev/outcome") == "Stopped"]

    def good(self) -> list[Run]:
        """The runs that ended well, best first."""
        found = [each for each in self.runs if each.info.status == "FINISHED"]
        return sorted(found, key=lambda each: each.data.metrics["loss"])


@pytest.fixture(scope="module")
def swept(team: Kubectl, tracking: MlflowClient, bell: Bell) -> Iterator[Swept]:
    made = Trials(team, tracking)
    spec = {
        "sweep": SWEEP,
        "objective": {"metric": "loss", "goal": "Minimize"},
        "register": {"model": made.name, "when": [{"metric": "loss", "max": "1400"}]},
        "tags": {"team": "churn"},
    }
    made.apply(project(made.name, PARAMETERS, PROGRAM.format(bell=bell.url)), made.experiment(**spec))
    body = made.wait_ended(SWEEP_SECONDS)
    runs = made.runs()
    yield Swept(made, body, runs, bell.begun)
    made.remove()


def test_sixty_trials_run_once_each_below_one_parent(swept: Swept) -> None:
    assert outcome(swept.body) == ("True", "Completed")
    assert len(swept.runs) == TRIALS
    assert swept.begun == {each.info.run_id: 1 for each in swept.runs}
    assert {each.data.tags["mlflow.parentRunId"] for each in swept.runs} == {swept.status["parentRunId"]}
    indices = [each.data.tags["modelyard.dev/trial"] for each in swept.runs]
    assert sorted(indices, key=int) == [str(index) for index in range(TRIALS)]
    parent = swept.trials.mlflow.get_run(swept.status["parentRunId"])
    assert parent.info.status == "FINISHED"


def test_the_counts_are_those_of_the_runs(swept: Swept) -> None:
    counts = swept.status["runs"]
    failed, stopped = swept.of(FAILS) + swept.of(SILENT), swept.stopped
    assert failed
    assert (counts["total"], counts["failed"], counts["stopped"]) == (TRIALS, len(failed), len(stopped))
    assert counts["succeeded"] == TRIALS - len(failed) - len(stopped) == len(swept.good())
    assert not counts.get("running")
    assert not counts.get("pending")


def test_parameters_are_drawn_from_their_ranges_and_given_under_their_conditions(swept: Swept) -> None:
    for each in swept.runs:
        parameters = each.data.params
        assert 0 <= int(parameters["n"]) <= 999
        assert 0.001 <= float(parameters["rate"]) <= 1
        assert parameters["momentum"] in (("0.5", "0.9") if parameters["optimizer"] == "sgd" else ("0.0", "0"))
    rates = sorted(float(each.data.params["rate"]) for each in swept.runs)
    assert rates[TRIALS // 2] < 0.2, "half of a logarithmic range from 0.001 to 1 is below about 0.03"
    assert len({each.data.params["n"] for each in swept.runs}) > TRIALS * 3 // 4


def test_a_failed_trials_last_lines_are_kept_with_its_run(swept: Swept) -> None:
    each = swept.of(FAILS)[0]
    n = each.data.params["n"]
    assert each.info.status == "FAILED"
    log = log_of(swept.trials.mlflow, each.info.run_id)
    assert f"reading row {n}" in log
    assert f"row {n} has no label" in log
    told = {failure["runId"]: failure for failure in swept.status["failures"]}
    if each.info.run_id in told:
        assert f"row {n} has no label" in told[each.info.run_id]["message"]


def test_a_trial_without_the_objectives_metric_is_a_failure_with_a_name(swept: Swept) -> None:
    for each in swept.of(SILENT):
        assert each.info.status == "FAILED"
        assert each.data.tags["modelyard.dev/outcome"] == "ObjectiveMissing"
        assert "loss" in each.data.tags["modelyard.dev/message"]


def test_hopeless_trials_are_stopped_early(swept: Swept) -> None:
    hopeless = {each.info.run_id for each in swept.of(HOPELESS)}
    assert hopeless
    assert hopeless <= {each.info.run_id for each in swept.stopped}
    for each in swept.stopped:
        assert each.info.status == "KILLED"
        assert "median" in each.data.tags["modelyard.dev/message"].lower()


def test_the_leaderboard_is_in_order_and_the_best_is_registered_with_its_lineage(swept: Swept) -> None:
    best = swept.good()
    board = swept.status["leaderboard"]
    assert [each["runId"] for each in board] == [each.info.run_id for each in best[:10]]
    assert swept.status["bestRun"]["runId"] == best[0].info.run_id
    assert swept.status["bestRun"]["parameters"]["n"] == best[0].data.params["n"]
    assert swept.status["registered"] == {
        "model": swept.trials.name,
        "version": 1,
        "runId": best[0].info.run_id,
    }
    # The registry of a namespace is its RegisteredModels; this server's own shows another namespace.
    model = swept.trials.kubectl.get("registeredmodel", swept.trials.name)
    assert model is not None
    (version,) = model["status"]["versions"]
    assert version["runId"] == best[0].info.run_id
    said = modelyard(swept.trials.kubectl.namespace, "versions", swept.trials.name, "-o", "json")
    assert said.returncode == 0, said.stderr
    lineage = json.loads(said.stdout)[0]["tags"]
    assert lineage["modelyard.dev/execution"] == swept.status["execution"]
    assert lineage["modelyard.dev/source"] == f"configmap:{swept.trials.name}"
    assert json.loads(lineage["modelyard.dev/parameters"])["n"] == best[0].data.params["n"]
    assert lineage["modelyard.dev/environment-lock"] == swept.status["environment"]["lock"]


def test_jobs_beyond_the_newest_are_removed(swept: Swept) -> None:
    assert len(swept.trials.jobs()) <= 20


VERSIONS = """\
    import humanize, packaging
    log(score=float(given.score), packaging=float(packaging.__version__), humanize=float(humanize.__version__[:3]))
    """

PYTHON_ENV = "dependencies:\n  - packaging==23.2\n  - humanize==4.9.0\n"


def test_an_environment_is_built_once_and_shared_by_all_trials(trials: Trials) -> None:
    """The image has another packaging, and no humanize."""
    made = project(trials.name, {"score": "float"}, VERSIONS, "python", python_env="python_env.yaml")
    made["data"]["python_env.yaml"] = PYTHON_ENV
    values = {"score": {"values": ["1", "2", "3"]}}
    spec = {"sweep": {"parameters": values, "parallelism": 3}, "environment": "Project"}
    before = builds(trials.kubectl)
    trials.apply(made, trials.experiment(**spec))
    first = trials.wait_ended(ENVIRONMENT_SECONDS)
    assert outcome(first) == ("True", "Completed")
    for each in trials.runs():
        assert (each.data.metrics["packaging"], each.data.metrics["humanize"]) == (23.2, 4.9)
    environment = first["status"]["environment"]
    assert environment["lock"].startswith("sha256:")
    assert environment["packages"] >= 2
    (lock,) = {each.data.tags["modelyard.dev/environment"] for each in trials.runs()}
    assert json.loads(lock)["lock"] == environment["lock"]
    built = builds(trials.kubectl)
    assert len(built - before) == 1

    trials.run_again("once more")
    again = trials.wait_ended(after=first["status"]["execution"])
    assert outcome(again) == ("True", "Completed")
    assert again["status"]["environment"] == environment
    assert builds(trials.kubectl) <= built


def builds(kubectl: Kubectl) -> set[str]:
    """Return the uids of the Jobs of the namespace that build environments."""
    jobs = json.loads(kubectl("get", "jobs", "-o", "json"))["items"]
    return {each["metadata"]["uid"] for each in jobs if "modelyard.dev/trial" not in each["metadata"]["labels"]}
