"""`clean-up --dry-run`: what would go, what stays, and why."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from typing import Any

import pytest

from modelyard.cli.clean_up import clean_up
from modelyard.cli.errors import CliError
from modelyard.cli.model import Models
from modelyard.cli.output import Format, Output
from modelyard.cli.sources import StoreSource
from modelyard.cluster.client import ApiError
from modelyard.registry.objects import REGISTERED_MODELS
from modelyard.registry.registry import Candidate
from tests.fakes import artifacts
from tests.unit.cli.experiments import RUNNING, SPEC, Json, Lab
from tests.unit.registry.world import World

ONCE: dict[str, Any] = {"max_runs": None, "max_age": None, "keep_best": None, "all": False, "dry_run": True}
DAY = 86400


class Attic(Lab):
    """The experiment `churn` with five old runs: the oldest is the best."""

    def fill(self, retention: Json | None, **spec: Any) -> None:
        kept = {"retention": retention} if retention else {}
        self.create({**RUNNING, "execution": "present0"}, {**SPEC, **kept, **spec})
        for index in range(5):
            at = (10 - 2 * index) * DAY
            self.trial(index, 0.9 - index / 10, execution=f"old{index}", began=at + 60, ended=at, name=f"trial-{index}")

    def look(self, form: Format = Format.TABLE, models: Models | None = None, **given: Any) -> int:
        self.out, self.err = io.StringIO(), io.StringIO()

        def nowhere() -> Any:
            raise AssertionError("there is no model whose records were to be read")

        arguments = Namespace(experiment="churn", **{**ONCE, **given})
        known = models or Models(self.client, "ml", nowhere)
        return clean_up(known, self.experiments, Output(form, self.out, self.err), arguments)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.text.splitlines()]


@pytest.fixture
def attic() -> Attic:
    return Attic()


def test_what_would_go_and_why(attic: Attic) -> None:
    attic.fill({"maxRuns": 2, "keepBest": 1})
    assert attic.look() == 0
    lines = attic.text.splitlines()
    assert lines[0].split() == ["RUN", "NAME", "ENDED", "VALUE", "RUN", "STAYS", "ARTIFACTS", "WHY"]
    assert [line.split()[1] for line in lines[1:-1]] == ["trial-2", "trial-1"]
    assert lines[1].endswith("0.7     DELETE      DELETE      it is not among the newest 2")
    assert lines[-1] == (
        "runs stay (the newest 2), the best 1 in any case: 2 of 5 runs would be deleted, and 0 others would lose their "
        "artifacts"
    )
    assert attic.notes == ["why the other 3 stay: --all", "nothing was deleted; only the operator deletes"]
    assert attic.tracking.writes == []


def test_why_the_others_stay(attic: Attic) -> None:
    attic.fill({"maxAge": "5d"}, objective={"metric": "f1_score"})
    attic.trial(5, 0.1, execution="present0", name="trial-5", began=60 * DAY, ended=50 * DAY)
    attic.trial(6, 0.1, ended=None, name="trial-6")
    assert attic.look(all=True) == 0
    why = {row[1]: " ".join(row[5:]) for row in attic.rows if len(row) > 5 and row[1].startswith("trial")}
    assert why["trial-0"].endswith("it is within the limits, among the best, or above a run that stays")
    assert why["trial-1"].endswith("it ended more than 5d ago")
    assert why["trial-5"].endswith("it belongs to the present execution")
    assert why["trial-6"].endswith("it has not ended")


def test_artifacts_alone_may_go(attic: Attic) -> None:
    attic.fill({"artifacts": {"maxRuns": 1}, "keepBest": 0})
    assert attic.look() == 0
    assert attic.rows[1][5:7] == ["keep", "DELETE"]
    assert attic.text.splitlines()[-1].startswith(
        "artifacts (the newest 1), also the best go: 0 of 5 runs would be deleted, and 4 others would lose"
    )


def test_what_the_command_line_says_takes_the_place_of_the_spec(attic: Attic) -> None:
    attic.fill({"maxRuns": 2})
    attic.look(Format.JSON, max_runs=100)
    assert json.loads(attic.text)["delete"] == []
    attic.look(Format.JSON, max_age="1h", keep_best=0)
    found = json.loads(attic.text)
    assert found["retention"] == {"maxRuns": 2, "maxAge": "1h", "keepBest": 0}
    assert [each["name"] for each in found["delete"]] == [f"trial-{index}" for index in range(5)]
    assert found["keep"] == []


def test_without_a_rule_it_says_how_to_give_one(attic: Attic) -> None:
    attic.fill(None)
    with pytest.raises(
        CliError, match=r"churn has no spec\.retention, so that nothing is ever deleted: say --max-runs or"
    ):
        attic.look()
    with pytest.raises(CliError, match=r"no spec\.retention"):
        attic.look(keep_best=3)
    assert attic.look(max_runs=5) == 0
    assert attic.text.startswith("runs stay (the newest 5), the best 1 in any case: 0 of 5 runs would be deleted")


def test_runs_of_registered_versions_stay(attic: Attic) -> None:
    """Whether the version's record names the run, or only MLflow's registry knows."""
    attic.fill({"maxRuns": 0, "keepBest": 0})
    attic.tracking.registered = {f"{1:032x}": "version 7 of churn"}
    with artifacts.bucket() as bucket:
        world = World(bucket)
        world.create()
        source = f"runs:/{2:032x}/model"
        candidate = Candidate(source=source, artifact=bucket.put_model("model"), created_by="mlflow")
        world.registry.register_version(world.model().metadata.namespace, "churn", candidate)
        world.reconcile()
        models = Models(world.client, "ml", lambda: StoreSource(world.store, artifacts.SETTINGS))
        attic.look(Format.JSON, models)
    kept = {each["name"]: each["why"] for each in json.loads(attic.text)["keep"]}
    assert kept["trial-1"] == "it is the run of version 7 of churn"
    assert kept["trial-2"].startswith("it is the run of version 1 of churn in ")
    assert set(kept) == {"trial-1", "trial-2"}


def test_who_may_not_see_all_models_is_told(attic: Attic) -> None:
    attic.fill({"maxRuns": 2})

    def forbid(_method: str, path: str) -> None:
        if path == REGISTERED_MODELS.path(None):
            raise ApiError(403, "Forbidden", "registeredmodels is forbidden")

    attic.client._on_request = forbid
    assert attic.look() == 0
    assert attic.notes[0].startswith("models of other namespaces, which you may not list, are left out of account")


def test_an_experiment_that_has_not_run_has_nothing_to_delete(attic: Attic) -> None:
    attic.create({}, {**SPEC, "retention": {"maxRuns": 1}})
    assert attic.look() == 0
    assert "0 of 0 runs would be deleted" in attic.text
