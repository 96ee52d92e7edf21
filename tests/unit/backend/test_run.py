"""`mlflow run --backend modelyard` by MLflow's own functions, a real tracking server, and a cluster in memory."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pytest
from click.testing import CliRunner, Result
from dulwich import porcelain
from mlflow.exceptions import ExecutionException
from mlflow.tracking import MlflowClient

from modelyard.api.names import RUN_ANNOTATION
from modelyard.api.project_files import KeptFiles, from_json
from modelyard.backend import follow
from modelyard.backend.follow import EXPERIMENTS
from modelyard.backend.plugin import ModelyardBackend, ModelyardRun
from modelyard.cluster.client import Invalid
from modelyard.cluster.resources import CONFIG_MAPS
from modelyard.cluster.user import Connection
from modelyard.decide.experiment_model import EXECUTION_TAG, PROJECT_TAG
from tests.fakes.cluster import FakeClient
from tests.unit.backend.operator import NAMESPACE, Operator, Script

# MLflow's own, of what it imports.
pytestmark = pytest.mark.filterwarnings("ignore")

MLPROJECT = """
name: Churn
entry_points:
  train:
    parameters:
      depth: {type: int, default: 3}
      rate: float
    command: "python train.py {depth} {rate}"
"""
Json = dict[str, Any]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()
    monkeypatch.setattr(ModelyardBackend, "connect", staticmethod(lambda *_: Connection(made, NAMESPACE)))
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.02)
    return made


@pytest.fixture
def tracking(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    # When the operator that is played here ends a run.
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    mlflow.set_tracking_uri(mlflow_server)
    yield MlflowClient(mlflow_server)
    mlflow.set_tracking_uri("")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "churn"
    directory.mkdir()
    (directory / "MLproject").write_text(MLPROJECT)
    (directory / "train.py").write_text("print('accuracy 0.9')\n")
    return directory


@pytest.fixture
def act(client: FakeClient, tracking: MlflowClient) -> Callable[..., Any]:
    """Play the operator while something is done."""

    @contextmanager
    def playing(**script: Any) -> Iterator[Operator]:
        with Operator(client, tracking, Script(**script)) as operator:
            yield operator

    return playing


@pytest.fixture
def command() -> Callable[..., Result]:
    """`mlflow run`, as the program does it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # It brings the whole server.
        from mlflow.cli import cli  # noqa: PLC0415

    def invoke(project: Path, *more: str) -> Result:
        options = ["--backend", "modelyard", "-e", "train", "-P", "rate=0.1"]
        return CliRunner().invoke(cli, ["run", str(project), *options, *more])

    return invoke


def run(project: Path | str, **more: Any) -> ModelyardRun:
    given = {"entry_point": "train", "parameters": {"rate": 0.1}, "backend": "modelyard", **more}
    submitted = mlflow.projects.run(str(project), **given)  # type: ignore[no-untyped-call]
    assert isinstance(submitted, ModelyardRun)
    return submitted


def only(client: FakeClient) -> Json:
    (body,) = client.list_all(EXPERIMENTS, NAMESPACE)
    return body


def test_a_local_directory_runs_to_its_end(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with act():
        submitted = run(project, run_name="first")
    body = only(client)
    assert body["metadata"]["name"].startswith("churn-")
    assert body["spec"]["entryPoint"] == "train"
    assert body["spec"]["parameters"] == {"rate": "0.1"}
    assert body["spec"]["experimentName"] == "Churn"
    (held,) = client.list_all(CONFIG_MAPS, NAMESPACE)
    assert body["spec"]["project"] == {"configMap": {"name": held["metadata"]["name"]}}
    assert held["data"] == {"MLproject": MLPROJECT, "train.py": "print('accuracy 0.9')\n"}
    assert held["metadata"]["ownerReferences"][0]["uid"] == body["metadata"]["uid"]

    assert submitted.get_status() == "FINISHED"
    found = tracking.get_run(submitted.run_id)
    assert found.data.tags["mlflow.project.backend"] == "modelyard"
    assert found.info.run_name == "first"
    said = capsys.readouterr()
    assert said.out.splitlines() == ["epoch 1", "accuracy 0.9"]
    assert "EnvironmentBuilding: job env-1 builds it" in said.err
    assert f"/runs/{submitted.run_id}" in said.err
    assert f"kubectl modelyard runs {body['metadata']['name']} -n {NAMESPACE}" in said.err
    runs = tracking.search_runs([found.info.experiment_id], f"tags.`{EXECUTION_TAG}` = '{body['status']['execution']}'")
    assert [each.info.run_id for each in runs] == [submitted.run_id]
    default = tracking.search_runs(["0"])
    assert [each for each in default if each.data.tags.get("mlflow.project.backend")] == []


def test_a_failure_is_mlflows_own(client: FakeClient, project: Path, act: Any) -> None:
    with (
        act(status="False", reason="TrialsFailed", message="1 of 1 trial failed"),
        pytest.raises(ExecutionException, match=r"Run .* failed"),
    ):
        run(project)


def test_without_waiting_it_returns_with_the_run(client: FakeClient, project: Path, act: Any) -> None:
    with act():
        submitted = run(project, synchronous=False)
        assert submitted.run_id
        assert submitted.wait()


def test_on_the_command_line_it_waits_and_its_end_is_the_exit_code(
    client: FakeClient, command: Callable[..., Result], project: Path, act: Any
) -> None:
    with act(extra={"bestRun": {"runId": "a" * 32, "name": "trial-0"}}):
        ended = command(project)
    assert ended.exit_code == 0, ended.output
    assert "epoch 1\naccuracy 0.9\n" in ended.output
    assert "Completed: 1 trial succeeded\n  best run trial-0\n  MLflow: http" in ended.output
    failures = [{"name": "trial-0", "reason": "Error", "message": "exit code 1"}]
    with act(status="False", reason="TrialsFailed", message="1 of 1 trial failed", extra={"failures": failures}):
        ended = command(project)
    assert ended.exit_code == 1
    assert "trial-0: Error: exit code 1" in ended.output


def test_follow_false_leaves_the_command_line_at_once(
    client: FakeClient, command: Callable[..., Result], project: Path, act: Any
) -> None:
    config = json.dumps({"follow": False})
    with act(hold=True):
        assert command(project, "--backend-config", config).exit_code == 0


def test_what_keeps_it_from_beginning_is_said(client: FakeClient, project: Path, act: Any) -> None:
    with (
        act(problem=("ProjectInvalid", "MLproject: no such thing")),
        pytest.raises(ExecutionException, match=r"Experiment team/churn-.*: ProjectInvalid: MLproject: no such thing"),
    ):
        run(project)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameters": {}}, "No value given for missing parameters"),
        ({"backend_config": {"name": "Bad_Name"}}, "is no name of an Experiment"),
        ({"backend_config": {"sweeps": 1}}, "unknown field sweeps"),
        ({"version": "v1"}, "-v v1 needs the URL of a git repository"),
        (
            {"backend_config": {"sweep": {"parameters": {"rate": {"values": ["1"]}}}}},
            "rate: given by -P and by the sweep",
        ),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_made(
    client: FakeClient, tracking: MlflowClient, project: Path, given: Json, message: str
) -> None:
    with pytest.raises(ExecutionException, match=message):
        run(project, **given)
    assert client.writes == []


def test_what_the_api_server_refuses_leaves_nothing(
    client: FakeClient, tracking: MlflowClient, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> Json:
        raise Invalid(422, "Invalid", "spec.sweep: Grid needs values")

    monkeypatch.setattr(client, "apply", refuse)
    with pytest.raises(ExecutionException, match="Grid needs values"):
        run(project)
    assert client.list_all(CONFIG_MAPS) == []


def test_a_tracking_uri_that_is_no_server_is_refused(
    client: FakeClient, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        with pytest.raises(ExecutionException, match="set MLFLOW_TRACKING_URI to the tracking server"):
            run(project)
    finally:
        mlflow.set_tracking_uri("")


def test_a_swept_parameter_needs_no_value(client: FakeClient, tracking: MlflowClient, project: Path, act: Any) -> None:
    sweep = {"sweep": {"parameters": {"rate": {"values": ["0.1", "0.2"]}}}, "logs": False}
    with act():
        submitted = run(project, parameters={}, backend_config=sweep, experiment_name="sweeps")
    assert tracking.get_run(submitted.run_id).data.tags["modelyard.dev/trial"] == "parent"
    assert only(client)["spec"]["experimentName"] == "sweeps"


def test_in_a_workflow_it_is_nested_below_the_active_run(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    with act(), mlflow.start_run() as outer:
        submitted = run(project)
    assert tracking.get_run(submitted.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id


def test_what_does_not_fit_a_config_map_is_kept_in_mlflow_once(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    (project / "src").mkdir()
    (project / "src" / "model.py").write_text("x = 1\n")
    with act():
        run(project)
        run(project)
    first, second = client.list_all(EXPERIMENTS, NAMESPACE)
    assert first["spec"]["project"] == second["spec"]["project"]
    assert client.list_all(CONFIG_MAPS) == []
    kept = tracking.get_run(first["spec"]["project"]["run"]["id"])
    files = from_json(kept.data.tags[PROJECT_TAG])
    assert isinstance(files, KeptFiles)
    assert files.uri == f"{kept.info.artifact_uri}/modelyard/project.tar.gz"
    assert [item.path for item in tracking.list_artifacts(kept.info.run_id, "modelyard")] == [
        "modelyard/project.tar.gz"
    ]


def test_a_commit_is_named_and_a_change_is_refused_unless_allowed(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    porcelain.init(str(project))
    porcelain.add(str(project), [str(project / "MLproject"), str(project / "train.py")])
    commit = porcelain.commit(str(project), message=b"x", author=b"A <a@x.org>", committer=b"A <a@x.org>").decode()
    porcelain.remote_add(str(project), "origin", "https://user:secret@git.example/churn.git")
    with act():
        tags = tracking.get_run(run(project).run_id).data.tags
        assert tags["mlflow.source.git.commit"] == commit
        assert tags["mlflow.source.git.repoURL"] == "https://git.example/churn.git"
        assert "modelyard.dev/dirty" not in tags
        (project / "train.py").write_text("changed\n")
        with pytest.raises(ExecutionException, match=r"differs from commit .*: train\.py"):
            run(project)
        tags = tracking.get_run(run(project, backend_config={"allowDirty": True}).run_id).data.tags
        assert (tags["mlflow.source.git.commit"], tags["modelyard.dev/dirty"]) == (commit, "true")


def test_a_git_url_is_run_from_there(client: FakeClient, tracking: MlflowClient, act: Any) -> None:
    with act():
        run("https://git.example/ml/churn.git#train", version="v2", backend_config={"git": {"submodules": False}})
    body = only(client)
    assert body["metadata"]["name"].startswith("train-")
    assert body["spec"]["project"] == {
        "git": {"url": "https://git.example/ml/churn.git", "revision": "v2", "path": "train", "submodules": False}
    }


def test_a_named_experiment_is_run_once_more(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    with act() as operator:
        first = run(project, backend_config={"name": "churn"})
        assert RUN_ANNOTATION not in only(client)["metadata"].get("annotations", {})
        (project / "train.py").write_text("print('better')\n")
        second = run(project, backend_config={"name": "churn"})
        third = run(project, backend_config={"name": "churn"})
    assert len({first.run_id, second.run_id, third.run_id}) == 3
    assert len(operator.executions) == 3
    (held,) = client.list_all(CONFIG_MAPS)
    assert held["data"]["train.py"] == "print('better')\n"


def test_one_that_runs_or_is_somebody_elses_is_left_alone(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    with act(hold=True):
        run(project, backend_config={"name": "churn"}, synchronous=False)
        with pytest.raises(ExecutionException, match="team/churn is running"):
            run(project, backend_config={"name": "churn"})
    client.create(EXPERIMENTS, NAMESPACE, {"metadata": {"name": "other"}, "spec": {}}, "kubectl")
    with pytest.raises(ExecutionException, match="was not made by mlflow run"):
        run(project, backend_config={"name": "other"})


def test_cancel_deletes_what_was_made_for_the_run(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    with act(hold=True):
        submitted = run(project, synchronous=False)
        submitted.cancel()
    assert client.list_all(EXPERIMENTS) == []
    assert submitted.get_status() == "KILLED"
    submitted.cancel()


def test_cancel_suspends_what_has_a_history(
    client: FakeClient, tracking: MlflowClient, project: Path, act: Any
) -> None:
    with act():
        run(project, backend_config={"name": "churn"})
        again = run(project, backend_config={"name": "churn"}, synchronous=False)
    again.cancel()
    assert only(client)["spec"]["suspend"] is True


def test_interrupting_the_command_line_says_how_to_stop_it(
    client: FakeClient, command: Callable[..., Result], project: Path, act: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def interrupt(*_: object) -> None:
        if begun.is_set():
            raise KeyboardInterrupt
        begun.set()

    monkeypatch.setattr(follow, "pause", interrupt)
    with act(hold=True):
        ended = command(project)
    assert ended.exit_code == 1
    name = only(client)["metadata"]["name"]
    assert f"Experiment team/{name} goes on in the cluster." in ended.output
    assert f"kubectl delete experiment {name} -n team" in ended.output
