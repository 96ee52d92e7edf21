"""`reproduce`: what is made, what is refused, and how the comparison reads."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, ProjectFiles, TrialEnvironment, to_json
from modelyard.api.project_files import environment_to_json as environment
from modelyard.cli.errors import REFUSED, USAGE, CliError
from modelyard.cli.experiments import EXPERIMENTS
from modelyard.cli.output import Format
from modelyard.cli.reproduce import reproduce
from modelyard.cluster.client import ApiError
from modelyard.cluster.resources import SECRETS
from modelyard.decide.experiment_model import (
    ENVIRONMENT_TAG,
    GIVEN_TAG,
    IMAGE_TAG,
    LOCK_ARTIFACT,
    MADE_BY_TAG,
    PROJECT_TAG,
    Run,
)
from tests.unit.cli.experiments import RUNNING, SPEC, Json, Lab, ago, condition

OLD, NEW = f"{5:032x}", "e" * 32
NAME = f"churn-reproduce-{OLD[:8]}"
IMAGE = "registry.example/training@sha256:" + "ab" * 32
GIT = GitFiles("https://git.example/ml/churn.git", "3f1c2ab9d0e1f2a3b4c5d6e7f8091a2b3c4d5e6f")
KEPT = KeptFiles("s3://b/projects/x.tar.gz", "f" * 64, "configmap:churn-project")
LOCK = "# modelyard-lock: 1\n# python: 3.12.8\nnumpy==2.3.1 --hash=sha256:aa\nscikit-learn==1.9.0\n"

WAIT: dict[str, Any] = {
    "run": OLD,
    "namespace": None,
    "wait": True,
    "timeout": None,
    "tolerance": 0.0,
    "metric": None,
    "parameter": None,
}
LEAVE: dict[str, Any] = {**WAIT, "wait": False}


def tags(files: ProjectFiles = GIT, lock: str = "sha256:aaaabbbbccccdddd", image: str = IMAGE) -> dict[str, str]:
    known = TrialEnvironment("k", image, lock=lock, packages=2)
    return {
        PROJECT_TAG: to_json(files),
        IMAGE_TAG: image,
        ENVIRONMENT_TAG: environment(known),
        "mlflow.project.entryPoint": "train",
    }


class Yard(Lab):
    """The sweep `churn`, whose trial 5 is to be reproduced."""

    def original(self, files: ProjectFiles = GIT, spec: Json | None = None, **fields: Any) -> Run:
        self.create(RUNNING, spec)
        parameters = {"depth": "7", "rate": "0.051", "seed": "42", "logged_by_the_program": "x"}
        given = {"parameters": parameters, "metrics": {"accuracy": 0.95, "system/cpu": 9.0}, **fields}
        return self.trial(5, 0.9321, tags={**tags(files), **given.pop("tags", {})}, **given)

    def end(self, value: float = 0.9321, reason: str = "Completed", **fields: Any) -> None:
        """Let the reproduction end, with this value."""
        status = "True" if reason == "Completed" else "False"
        self.set_status(
            {
                **RUNNING,
                "execution": "0badcafe",
                "finishedAt": ago(0),
                "conditions": condition(status, reason, "1 trial succeeded" if status == "True" else "1 of 1 failed"),
            },
            NAME,
        )
        parameters = {"depth": "7", "rate": "0.051", "seed": "42", "logged_by_the_program": "x"}
        given = {"parameters": parameters, "metrics": {"accuracy": 0.95, "system/cpu": 1.0}, **fields}
        more = {**tags(), **given.pop("tags", {})}
        self.trial(0, value, execution="0badcafe", experiment=NAME, run_id=NEW, swept={}, tags=more, **given)

    @property
    def made(self) -> Json:
        return self.client.get(EXPERIMENTS, "ml", NAME)


@pytest.fixture
def yard() -> Yard:
    return Yard()


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what happens while the command sleeps, one after the other."""

    def arrange(*events: Callable[[], None]) -> None:
        coming = list(events)
        monkeypatch.setattr("modelyard.cli.reproduce.time.sleep", lambda _: coming.pop(0)())

    return arrange


def test_what_is_made_runs_what_the_run_ran(yard: Yard) -> None:
    template = {"image": "other", "resources": {"limits": {"cpu": "2"}}}
    yard.original(spec={**SPEC, "parameters": {"seed": "1"}, "template": template, "tags": {"team": "a"}})
    assert yard.run(reproduce, **LEAVE) == 0
    assert yard.made["spec"] == {
        "project": {"run": {"id": OLD}},
        "entryPoint": "train",
        "parameters": {"seed": "42", "depth": "7", "rate": "0.051"},
        "objective": {"metric": "f1_score", "goal": "Maximize"},
        "tags": {"team": "a", "modelyard.dev/reproduces": OLD},
        "template": {"image": IMAGE, "resources": {"limits": {"cpu": "2"}}},
    }
    assert yard.text == (
        f"experiment {NAME} runs again what run {OLD} ({OLD} of churn) ran: entry point train of commit 3f1c2ab9d0e1 "
        "of https://git.example/ml/churn.git, with seed=42, depth=7, rate=0.051\n"
    )
    assert yard.notes == [f"compare it with: kubectl modelyard reproduce {OLD}"]


def test_what_comes_out_the_same_is_reproduced(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    then(lambda: None, yard.end)
    assert yard.run(reproduce, **WAIT) == 0
    assert yard.text == textwrap.dedent(
        f"""\
        {NAME} Succeeded: 1 trial succeeded
        run {NEW} now, run {OLD} then

        METRIC     THEN     NOW      DIFFERENCE   VERDICT
        accuracy   0.95     0.95     0            Same
        f1_score   0.9321   0.9321   0            Same

        environment: the same 2 packages, lock aaaabbbbcccc
        reproduced: 2 of 2 metrics are the same
        """
    )
    assert yard.notes[-1] == f"its run stays in MLflow when it goes: kubectl delete experiment {NAME} -n ml"


def test_what_comes_out_otherwise_is_not(yard: Yard, then: Callable[..., None]) -> None:
    yard.original(metrics={"gone": 1.0})
    yard.tracking.artifacts[OLD] = {LOCK_ARTIFACT: LOCK.encode()}
    lock = LOCK.replace("1.9.0", "1.8.0").replace("numpy", "pandas").replace("3.12.8", "3.12.9")
    yard.tracking.artifacts[NEW] = {LOCK_ARTIFACT: lock.encode()}
    then(lambda: yard.end(0.92, metrics={"new": 1.0}, tags={**tags(lock="sha256:ffff"), IMAGE_TAG: "other"}))
    assert yard.run(reproduce, **WAIT) == REFUSED
    assert (
        yard.text.splitlines()[3:]
        == textwrap.dedent(
            f"""\
        METRIC     THEN     NOW    DIFFERENCE   VERDICT
        f1_score   0.9321   0.92   -0.0121      Differs
        gone       1        –      –            Gone
        new        –        1      –            New

        environment: the image is other, and was {IMAGE}; 4 packages differ
        PACKAGE        THEN     NOW
        numpy          2.3.1    –
        pandas         –        2.3.1
        python         3.12.8   3.12.9
        scikit-learn   1.9.0    1.8.0

        not reproduced: 2 of 3 metrics differ: f1_score, gone
        """  # noqa: RUF001 - a dash
        ).splitlines()
    )


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"tolerance": 0.02}, 0, "reproduced: 2 of 2 metrics are the same (a difference of up to 0.02 is none)"),
        ({"tolerance": 0.001}, REFUSED, "not reproduced: 1 of 2 metrics differ (a difference of up to 0.001 is none)"),
        ({"metric": ["accuracy"]}, 0, "reproduced: 1 of 1 metrics are the same"),
    ],
)
def test_how_near_is_near_enough(yard: Yard, then: Callable[..., None], given: Json, code: int, said: str) -> None:
    yard.original()
    then(lambda: yard.end(0.92))
    assert yard.run(reproduce, **{**WAIT, **given}) == code
    assert said in yard.text.splitlines()[-1]


def test_other_parameters_are_another_run(yard: Yard, then: Callable[..., None]) -> None:
    """A parameter that the spec gave once, and no longer, shows in what the new run logs."""
    yard.original()
    then(lambda: yard.end(parameters={"depth": "7", "rate": "0.051", "seed": "0", "logged_by_the_program": "x"}))
    assert yard.run(reproduce, **WAIT) == REFUSED
    assert "PARAMETER   THEN   NOW\nseed        42     0\n" in yard.text
    assert yard.text.endswith("not the same run: other parameters: seed\n")


def test_a_parameter_may_be_named(yard: Yard) -> None:
    yard.original()
    assert yard.run(reproduce, **{**LEAVE, "parameter": ["seed"]}) == 0
    assert yard.made["spec"]["parameters"] == {"depth": "7", "rate": "0.051", "seed": "42"}
    message = yard.refused(reproduce, **{**LEAVE, "parameter": ["alpha"]})
    assert message == (
        "--parameter alpha: the run has no such parameter; it has depth, logged_by_the_program, rate, seed"
    )


def test_what_the_run_was_given_is_known_whatever_the_spec_says_now(yard: Yard) -> None:
    yard.original(tags={GIVEN_TAG: '["depth", "rate", "seed"]'})
    assert yard.run(reproduce, **LEAVE) == 0
    assert yard.made["spec"]["parameters"] == {"depth": "7", "rate": "0.051", "seed": "42"}
    assert not [note for note in yard.notes if "--parameter" in note]


def test_a_reproduction_that_fails_is_none(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    then(lambda: yard.end(reason="TrialsFailed"))
    assert yard.run(reproduce, **WAIT) == REFUSED
    assert yard.text.startswith(f"{NAME} Failed: 1 of 1 failed\n")
    assert yard.text.endswith("not reproduced: it has not succeeded this time\n")


def test_a_reproduction_that_cannot_begin_has_nothing_to_compare(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    then(lambda: yard.set_status({"conditions": condition("False", "ProjectNotFound", "not kept any more")}, NAME))
    assert yard.run(reproduce, **WAIT) == REFUSED
    assert yard.text == f"{NAME} Failed: not kept any more\n"
    assert yard.notes[-1] == "it has made no run, so that there is nothing to compare"


def test_the_same_command_goes_on_with_what_it_began(yard: Yard) -> None:
    yard.original()
    assert yard.run(reproduce, **{**WAIT, "timeout": 0.0}) == REFUSED
    assert yard.notes[-1] == f"error: {NAME} has not ended after 0 s; the same command goes on with it"
    yard.end()
    before = yard.client.writes
    assert yard.run(reproduce, **WAIT) == 0
    assert yard.client.writes == before
    assert yard.notes[0].startswith(f"experiment {NAME} is there already, and runs again what run {OLD}")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (SPEC, "that does something else: rename or delete it"),
        ({"project": {"run": {"id": "f" * 32}}}, "that does something else: rename or delete it"),
        ({"project": {"run": {"id": OLD}}}, "reproduces this run with other parameters: delete it first"),
    ],
)
def test_a_name_that_is_taken_stays_what_it_is(yard: Yard, spec: Json, said: str) -> None:
    yard.original()
    yard.create(None, spec, NAME)
    message = yard.refused(reproduce, **WAIT)
    assert said in message
    assert f"kubectl delete experiment {NAME} -n ml" in message


def test_a_program_gets_the_comparison(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    then(lambda: yard.end(0.92))
    assert yard.run(reproduce, Format.JSON, **WAIT) == REFUSED
    found = json.loads(yard.text)
    assert (found["run"], found["reproduction"], found["experiment"]) == (OLD, NEW, NAME)
    assert (found["state"], found["reproduced"]) == ("Succeeded", False)
    assert found["metrics"][1]["verdict"] == "Differs"
    assert found["metrics"][1]["difference"] == pytest.approx(-0.0121)
    assert found["files"] == {"git": json.loads(to_json(GIT))["git"]}


@pytest.mark.parametrize("which", ["churn/best", "exp/churn/5", "churn/5"])
def test_a_run_may_be_named_by_its_trial(yard: Yard, which: str) -> None:
    yard.original()
    yard.trial(4, 0.5)
    assert yard.run(reproduce, **{**LEAVE, "run": which}) == 0
    assert yard.made["spec"]["project"]["run"]["id"] == OLD


@pytest.mark.parametrize(
    ("which", "code", "said"),
    [
        ("churn/7", REFUSED, "execution 3f1c2ab9 of churn has no trial 7 (kubectl modelyard runs churn --all)"),
        ("churn/worst", USAGE, "'worst' is no trial of churn: give its number, or best"),
        ("fraud/best", REFUSED, "there is no experiment 'fraud' in namespace ml (there are churn;"),
        ("3f1c2ab", USAGE, "'3f1c2ab' is no run: give a run's id"),
        ("f" * 32, REFUSED, f"the tracking server has no run {'f' * 32}: it was deleted, or is on another server"),
        (
            "a" * 32,
            REFUSED,
            "is the parent of a sweep, which ran nothing itself: name one of its trials, e.g. churn/best",
        ),
        ("b" * 32, REFUSED, f"cannot be reproduced: it has no tag {PROJECT_TAG}, so that nobody knows what it ran"),
        ("c" * 32, REFUSED, f"its tag {PROJECT_TAG} was changed"),
    ],
)
def test_what_is_no_run_that_can_be_reproduced(yard: Yard, which: str, code: int, said: str) -> None:
    yard.original()
    yard.parent(tags=tags())
    yard.log("b" * 32, ended=1)
    yard.log("c" * 32, ended=1, tags={PROJECT_TAG: "{"})
    with pytest.raises(CliError) as ended:
        yard.run(reproduce, **{**LEAVE, "run": which})
    assert said in str(ended.value)
    assert ended.value.code == code


def test_of_a_run_that_the_program_made_the_program_is_run(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    whose = {"modelyard.dev/experiment": "ml/churn", MADE_BY_TAG: OLD}
    yard.log("1" * 32, name="forest", ended=3, metrics={"accuracy": 0.9}, tags=whose)
    yard.log("2" * 32, name="boosting", ended=2, metrics={"accuracy": 0.8}, tags=whose)

    def end() -> None:
        yard.end()
        again = {
            "modelyard.dev/experiment": f"ml/{NAME}",
            "modelyard.dev/execution": "0badcafe",
            MADE_BY_TAG: NEW,
        }
        yard.log("3" * 32, name="boosting", ended=2, metrics={"accuracy": 0.7}, tags=again)
        yard.log("4" * 32, name="forest", ended=1, metrics={"accuracy": 0.9}, tags=again)

    then(end)
    assert yard.run(reproduce, **{**WAIT, "run": "1" * 32}) == REFUSED
    rows = [line.split() for line in yard.text.splitlines()]
    assert ["METRIC", "THEN", "NOW", "DIFFERENCE", "VERDICT", "RUN"] in rows
    assert ["accuracy", "0.8", "0.7", "-0.1", "Differs", "boosting"] in rows
    assert ["accuracy", "0.9", "0.9", "0", "Same", "forest"] in rows


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (KEPT, "entry point train of the copy of configmap:churn-project that was kept (sha256:ffffffffffff)"),
        (ImageFiles("/opt/churn"), f"entry point train of /opt/churn of the image {IMAGE}"),
    ],
)
def test_every_kind_of_source_says_what_is_run(yard: Yard, files: ProjectFiles, said: str) -> None:
    yard.original(files)
    assert yard.run(reproduce, **LEAVE) == 0
    assert said in yard.text


def test_an_image_without_a_digest_may_have_changed(yard: Yard) -> None:
    yard.original(ImageFiles("/opt/churn"), tags={IMAGE_TAG: "training:1"})
    assert yard.run(reproduce, **LEAVE) == 0
    assert yard.notes[0] == (
        "note: the image training:1 has no digest: what that tag names may have changed since, and so may the "
        "project's files in it"
    )


def test_a_private_repository_needs_its_secret(yard: Yard) -> None:
    yard.original(GitFiles(GIT.url, GIT.commit, secret="git-token"))
    message = yard.refused(reproduce, **LEAVE)
    assert "was read with the Secret git-token, and there is none in namespace ml: make it again" in message
    yard.client.create(SECRETS, "ml", {"metadata": {"name": "git-token"}}, "kubectl")
    assert yard.run(reproduce, **LEAVE) == 0


def test_who_may_not_list_secrets_may_reproduce_still(yard: Yard) -> None:
    def forbid(_method: str, path: str) -> None:
        if path.endswith("/secrets"):
            raise ApiError(403, "Forbidden", "secrets is forbidden")

    yard.original(GitFiles(GIT.url, GIT.commit, secret="git-token"))
    yard.client._on_request = forbid
    assert yard.run(reproduce, **LEAVE) == 0


def test_an_experiment_that_is_gone_leaves_enough(yard: Yard) -> None:
    yard.original()
    yard.client.delete(EXPERIMENTS, "ml", "churn")
    assert yard.run(reproduce, **LEAVE) == 0
    assert yard.made["spec"]["parameters"] == {"depth": "7", "rate": "0.051"}
    assert yard.made["spec"]["template"] == {"image": IMAGE}
    assert [note.split(":")[1].strip()[:40] for note in yard.notes[:2]] == [
        "the parameters are those that its sweep ",
        "experiment churn is gone",
    ]


def test_it_may_run_in_another_namespace(yard: Yard) -> None:
    yard.original(KEPT)
    assert yard.run(reproduce, **{**LEAVE, "namespace": "sandbox"}) == 0
    assert yard.client.get(EXPERIMENTS, "sandbox", NAME)["metadata"]["namespace"] == "sandbox"


def test_a_long_name_still_makes_a_name(yard: Yard) -> None:
    name = "a-very-long-name-of-an-experiment-that-is-52-chars-x"
    yard.create(RUNNING, None, name)
    yard.trial(5, 0.5, experiment=name, tags=tags(), parameters={})
    assert yard.json(reproduce, **LEAVE)["experiment"].endswith("-reproduce-00000000")
    assert len(yard.json(reproduce, **LEAVE)["experiment"]) <= 52


def test_only_metrics_that_there_are_can_be_compared(yard: Yard) -> None:
    yard.original()
    message = yard.refused(reproduce, **{**WAIT, "metric": ["f1"]})
    assert message == "--metric f1: the run has no such metric; it has accuracy, f1_score, system/cpu"
    assert yard.client.find(EXPERIMENTS, "ml", NAME) is None


def test_a_run_without_metrics_has_none_to_compare(yard: Yard, then: Callable[..., None]) -> None:
    yard.original()
    yard.tracking.change(OLD, metrics={})

    def end() -> None:
        yard.end()
        yard.tracking.change(NEW, metrics={})

    then(end)
    assert yard.run(reproduce, **WAIT) == 0
    assert yard.text.endswith("there are no metrics to compare\n")


def test_a_tolerance_below_zero_makes_no_sense(yard: Yard) -> None:
    yard.original()
    assert yard.refused(reproduce, **{**LEAVE, "tolerance": -1.0}) == "--tolerance -1: a difference is 0 or more"
