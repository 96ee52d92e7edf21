"""What a person sees of a sweep: MLflow's own pages in a real browser, and `kubectl modelyard` in the terminal."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from examples.demo.kubectl import Kubectl
from examples.demo.steps import Demo
from tests.e2e.browser import Page, browsing
from tests.e2e.plugin import modelyard, person
from tests.e2e.processes import wait_until
from tests.e2e.trials import Json, Trials, outcome, project
from tests.e2e.trials_fixtures import team, tracking

__all__ = ["team", "tracking"]

pytestmark = pytest.mark.timeout(1200)

TRIALS = 8

# A loss that becomes smaller, an accuracy, and the data that was read.
PROGRAM = """\
    depth, rate = int(given.depth), float(given.rate)
    for step in range(1, 6):
        log(loss=abs(depth - 6) + abs(rate - 0.1) + 1 / step, step=step)
    log(accuracy=1 / (1 + abs(depth - 6)))
    data = {"name": "customers", "digest": "a1b2c3d4", "source_type": "local", "source": '{"uri": "data/v2.3.1.csv"}'}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    inputs = {"run_id": RUN, "datasets": [{"dataset": data, "tags": tags}]}
    ask(TRACKING + "/api/2.0/mlflow/runs/log-inputs", json.dumps(inputs).encode())
    """

SWEEP: Json = {
    "algorithm": "Bayesian",
    "maxTrials": TRIALS,
    "parallelism": 2,
    "parameters": {"depth": {"min": "2", "max": "12"}, "rate": {"min": "0.01", "max": "1", "scale": "Log"}},
}

EXPAND = 'button[data-component-id*="runnamecellrenderer"]'
CHARTS = "document.querySelectorAll('.js-plotly-plot .main-svg').length"


@dataclass(frozen=True)
class Shown:
    """A sweep that has ended, and where its pages are."""

    trials: Trials
    status: Json
    uri: str

    @property
    def names(self) -> list[str]:
        """The names of the trials' runs."""
        return [str(each.info.run_name) for each in self.trials.runs()]

    def page(self, path: str) -> str:
        """Return the URL of a page of its MLflow experiment."""
        return f"{self.uri}/#/experiments/{self.status['experimentId']}/{path}"


@pytest.fixture(scope="module")
def shown(team: Kubectl, tracking: MlflowClient, installation: Demo) -> Iterator[Shown]:
    made = Trials(team, tracking)
    objective = {"metric": "loss", "goal": "Minimize"}
    made.apply(
        project(made.name, {"depth": "int", "rate": "float"}, PROGRAM),
        made.experiment(sweep=SWEEP, objective=objective),
    )
    body = made.wait_ended()
    assert outcome(body) == ("True", "Completed")
    yield Shown(made, body["status"], installation.tracking_uri)
    made.remove()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browsing(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept: MODELYARD_PICTURES, for those who want to look at them."""
    directory = Path(os.environ.get("MODELYARD_PICTURES") or tmp_path_factory.mktemp("pictures"))
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def test_the_experiments_page_nests_the_trials_below_their_parent_and_draws_their_metrics(
    shown: Shown, page: Page, pictures: Path
) -> None:
    page.open(shown.page("runs"))
    parent = shown.trials.mlflow.get_run(shown.status["parentRunId"]).info.run_name
    page.wait_text(str(parent)[:12])
    assert not any(f"\n{name}\n" in page.text for name in shown.names)
    page.click(EXPAND)
    page.wait_text(*shown.names)
    page.wait_text(f"{TRIALS + 1} matching runs")
    page.picture(pictures / "experiment.png")

    # What is opened stays so in the view of charts.
    page.open(shown.page("runs?compareRunsMode=CHART"))
    page.wait_text("Model metrics", "(2)", "accuracy", "loss")
    page.wait(f"{CHARTS} >= 2")
    # As many lines or bars as trials.
    page.wait(f"document.querySelectorAll('.js-plotly-plot .trace').length >= {TRIALS}")
    page.picture(pictures / "charts.png")


def test_the_trials_can_be_compared(shown: Shown, page: Page, pictures: Path) -> None:
    runs = json.dumps([each.info.run_id for each in shown.trials.runs()])
    experiments = json.dumps([shown.status["experimentId"]])
    page.open(f"{shown.uri}/#/compare-runs?runs={quote(runs)}&experiments={quote(experiments)}")
    page.wait_text(f"Comparing {TRIALS} Runs from 1 Experiment", "depth", "rate")
    page.wait(f"{CHARTS} >= 1")
    page.picture(pictures / "compare.png")


def test_a_runs_page_shows_parameters_metrics_and_data(shown: Shown, page: Page, pictures: Path) -> None:
    best = shown.status["bestRun"]
    page.open(shown.page(f"runs/{best['runId']}"))
    page.wait_text("Metrics (2)", "loss", "accuracy", "Parameters (2)", "depth", "rate", best["parameters"]["depth"])
    page.wait_text("Parent run", "customers")
    page.picture(pictures / "run.png")


def test_the_data_that_the_best_run_logged_is_in_the_status(shown: Shown) -> None:
    (dataset,) = shown.status["bestRun"]["datasets"]
    assert (dataset["name"], dataset["digest"], dataset["context"]) == ("customers", "a1b2c3d4", "training")


def test_the_terminal_shows_the_trials(shown: Shown) -> None:
    said = modelyard(shown.trials.kubectl.namespace, "runs", shown.trials.name)
    assert said.returncode == 0, said.stderr
    assert shown.status["execution"] in said.stdout
    assert all(each.data.params["rate"] in said.stdout for each in shown.trials.runs())
    assert "loss" in said.stdout


def test_the_terminal_runs_it_once_more(shown: Shown) -> None:
    """It waits for the execution's end, whose runs come beside the old ones."""
    namespace, before = shown.trials.kubectl.namespace, len(shown.trials.runs())
    said = modelyard(namespace, "run", shown.trials.name, "--wait")
    assert said.returncode == 0, said.stdout + said.stderr
    wait_until("the second execution is told", lambda: len(shown.trials.status().get("executions", [])) >= 1)
    assert len(shown.trials.runs()) == before + TRIALS
    # The same seed chooses the same values at first.
    drawn = {
        execution: {each.data.tags["modelyard.dev/trial"]: each.data.params["depth"] for each in trials}
        for execution in (shown.status["execution"], shown.trials.status()["execution"])
        if (trials := shown.trials.runs(execution))
    }
    first, second = drawn.values()
    assert first["0"] == second["0"]


@pytest.fixture
def researcher(shown: Shown, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of somebody who may edit the namespace, and use the tracking server."""
    with person(shown.trials.kubectl, tmp_path / "researcher", "edit", "modelyard-tracking-user") as path:
        yield path


def reproduce(shown: Shown, run: Run, kubeconfig: Path) -> tuple[subprocess.CompletedProcess[str], Json]:
    """Run a trial's run again; return what is said and the Experiment that did it, which is removed."""
    trial, kubectl = f"{shown.trials.name}/{run.data.tags['modelyard.dev/trial']}", shown.trials.kubectl
    said = modelyard(kubectl.namespace, "reproduce", trial, kubeconfig=kubeconfig)
    again = f"{shown.trials.name}-reproduce-{run.info.run_id[:8]}"
    body = kubectl.get("experiment", again)
    assert body is not None, said.stdout + said.stderr
    kubectl("delete", "experiment", again)
    return said, body


def test_a_run_is_reproduced(shown: Shown, researcher: Path) -> None:
    """The program is a function of its parameters, so its metrics come again."""
    then = shown.trials.runs(shown.trials.status()["execution"])[0]
    said, body = reproduce(shown, then, researcher)
    assert said.returncode == 0, said.stdout + said.stderr
    assert outcome(body) == ("True", "Completed")
    now = shown.trials.mlflow.get_run(body["status"]["bestRun"]["runId"])
    assert now.info.run_id != then.info.run_id
    assert (now.data.params, now.data.metrics) == (then.data.params, then.data.metrics)


def test_a_run_whose_metrics_do_not_come_again_is_not_reproduced(shown: Shown, researcher: Path) -> None:
    then = shown.trials.runs(shown.trials.status()["execution"])[1]
    shown.trials.mlflow.log_metric(then.info.run_id, "accuracy", 0.123, step=6)
    said, body = reproduce(shown, then, researcher)
    assert said.returncode == 1, said.stdout + said.stderr
    assert outcome(body) == ("True", "Completed")
    assert "not reproduced: 1 of 2 metrics differ: accuracy" in said.stdout + said.stderr


def test_who_may_not_use_the_tracking_server_sees_what_the_status_holds(shown: Shown, tmp_path: Path) -> None:
    with person(shown.trials.kubectl, tmp_path / "viewer", "view") as viewer:
        said = modelyard(shown.trials.kubectl.namespace, "runs", shown.trials.name, "--once", kubeconfig=viewer)
    assert said.returncode == 0, said.stderr
    assert "forbidden" in said.stdout + said.stderr
    assert shown.trials.status()["execution"] in said.stdout
