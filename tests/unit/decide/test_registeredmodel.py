from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from modelyard.api.names import REPLACED_BECOMES_ANNOTATION, object_name
from modelyard.api.reasons import Reason
from modelyard.api.registeredmodel import RegisteredModel, Stage
from modelyard.decide.registeredmodel import (
    Checks,
    Decision,
    Fault,
    Gated,
    decide,
    inherited,
    leaving_annotation,
    leaving_stages,
    precise_timestamp,
    to_judge,
    to_verify,
)
from modelyard.records.events import StageGates
from modelyard.records.state import ModelState

NOW = datetime(2026, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
EARLIER = "2026-04-01T00:00:00.000Z"
MISSING = Fault(Reason.ARTIFACT_MISSING, "model.pkl is missing")
UNREACHABLE = Fault(Reason.ARTIFACT_STORE_UNREACHABLE, "S3 does not answer", passing=True)

Stages = dict[str, int]


def model(
    spec: Stages | None = None,
    held: Stages | None = None,
    versions: int = 4,
    *,
    labels: dict[int, Stage] | None = None,
    aliases: Stages | None = None,
    annotation: str | None = None,
    name: str = "churn",
    model_name: str | None = None,
    managed: list[dict[str, Any]] | None = None,
) -> RegisteredModel:
    """A model with versions 1 to `versions`; `held` are the stages as they are, `spec` as they are wanted."""
    held = held or {}
    stages = {version: Stage(key.title()) for key, version in sorted(held.items(), reverse=True)}
    if held.get("production") is not None:
        stages[held["production"]] = Stage.PRODUCTION
    return RegisteredModel.parse(
        {
            "metadata": {
                "name": name,
                "namespace": "ml",
                "generation": 7,
                "annotations": {REPLACED_BECOMES_ANNOTATION: annotation} if annotation else {},
                "managedFields": managed or [owns("kubectl-edit", "production", "staging")],
            },
            "spec": {"stages": spec or {}, "aliases": aliases or {}, "name": model_name},
            "status": {
                "latestVersion": versions,
                "stages": {k: {"version": v, "since": EARLIER, "by": "helm"} for k, v in held.items()},
                "versions": [
                    {
                        "version": number,
                        "stage": (labels or stages).get(number, Stage.NONE),
                        "source": f"s3://b/{number}",
                        "artifact": f"s3://b/{number}",
                        "digest": "sha256:" + "0" * 64,
                        "createdAt": EARLIER,
                    }
                    for number in range(1, versions + 1)
                ],
            },
        }
    )


def owns(manager: str, *keys: str, time: str = "2026-04-30T00:00:00Z") -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:stages": {f"f:{key}": {} for key in keys}}}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields}


def state_of(model: RegisteredModel) -> ModelState:
    """What the model's status shows, as the state that its records fold to."""
    status = model.status.model_dump(by_alias=True, include={"stages", "latest_version"})
    versions = {version.version: version.model_dump(by_alias=True) for version in model.status.versions}
    return ModelState.model_validate({**status, "versions": versions})


def decided(model: RegisteredModel, faults: Checks | None = None, gated: Gated | None = None) -> Decision:
    state = state_of(model)
    checks: dict[int, Fault | None] = dict.fromkeys(to_verify(model, state))
    return decide(model, state, {**checks, **(faults or {})}, gated or {}, NOW)


def moves(decision: Decision) -> list[tuple[int, str, str]]:
    assert decision.change is not None
    return [(move.version, move.from_, move.to) for move in decision.change.moves]


def stages(decision: Decision) -> Stages:
    assert decision.change is not None
    return {key: stage.version for key, stage in decision.change.stages.items()}


@pytest.mark.parametrize(
    ("spec", "held", "after", "moved"),
    [
        pytest.param({"staging": 1}, {}, {"staging": 1}, [(1, "None", "Staging")], id="first staging"),
        pytest.param(
            {"production": 2},
            {"production": 1},
            {"production": 2},
            [(2, "None", "Production"), (1, "Production", "Archived")],
            id="the replaced version is archived in the same change",
        ),
        pytest.param(
            {"production": 2},
            {"staging": 2, "production": 1},
            {"production": 2},
            [(2, "Staging", "Production"), (1, "Production", "Archived")],
            id="from staging to production",
        ),
        pytest.param(
            {"production": 3, "staging": 4},
            {"production": 2, "staging": 3},
            {"production": 3, "staging": 4},
            [(3, "Staging", "Production"), (4, "None", "Staging"), (2, "Production", "Archived")],
            id="both stages in one change",
        ),
        pytest.param(
            {"production": 3, "staging": 2},
            {"production": 2, "staging": 3},
            {"production": 3, "staging": 2},
            [(3, "Staging", "Production"), (2, "Production", "Staging")],
            id="two versions swap",
        ),
        pytest.param(
            {"production": 1, "staging": 1},
            {"staging": 1},
            {"production": 1, "staging": 1},
            [(1, "Staging", "Production")],
            id="a version in both stages counts as Production",
        ),
        pytest.param(
            {"production": 1},
            {"production": 1, "staging": 1},
            {"production": 1},
            [],
            id="leaving staging alone does not change what the version counts as",
        ),
        pytest.param({}, {"production": 3}, {}, [(3, "Production", "Archived")], id="a removed key archives"),
        pytest.param(
            {"staging": 3},
            {"production": 3},
            {"staging": 3},
            [(3, "Production", "Staging")],
            id="back to staging",
        ),
    ],
)
def test_a_change_of_stages(spec: Stages, held: Stages, after: Stages, moved: list[tuple[int, str, str]]) -> None:
    decision = decided(model(spec, held))
    assert stages(decision) == after
    assert moves(decision) == moved


def test_nothing_to_do_is_no_change() -> None:
    decision = decided(model({"production": 2}, {"production": 2}))
    assert decision.change is None
    (ready,) = decision.verdicts
    assert (ready.status, ready.reason, ready.message) == ("True", Reason.AS_WANTED, "production holds version 2")


def test_a_stage_that_does_not_change_keeps_its_time_and_author() -> None:
    decision = decided(model({"production": 2, "staging": 3}, {"production": 2}))
    assert decision.change is not None
    assert decision.change.stages["production"].since == EARLIER
    assert decision.change.stages["production"].by == "helm"
    assert decision.change.stages["staging"].since == precise_timestamp(NOW) == "2026-05-01T12:00:00.250Z"
    assert decision.change.stages["staging"].by == "kubectl-edit"


@pytest.mark.parametrize(
    ("annotation", "becomes"),
    [
        (None, "Archived"),
        ("production=1:None", "None"),
        ("production=1:Archived", "Archived"),
        pytest.param("production=3:None,staging=1:None", "Archived", id="other pairs"),
        pytest.param("nonsense,production=1", "Archived", id="unreadable"),
        pytest.param("production=1:Production", "Archived", id="not a stage to leave to"),
    ],
)
def test_what_a_replaced_version_becomes(annotation: str | None, becomes: str) -> None:
    decision = decided(model({"production": 2}, {"production": 1}, annotation=annotation))
    assert moves(decision)[1] == (1, "Production", becomes)


def test_the_annotation_reads_as_it_was_written() -> None:
    pairs = {("production", 3): Stage.NONE, ("staging", 12): Stage.ARCHIVED}
    assert leaving_annotation(pairs) == "production=3:None,staging=12:Archived"
    assert leaving_stages(leaving_annotation(pairs)) == pairs


def test_each_move_names_who_asked_for_it() -> None:
    managed = [owns("argocd-controller", "production"), owns("mlflow", "staging")]
    decision = decided(model({"production": 3, "staging": 4}, {"production": 2}, managed=managed))
    assert decision.change is not None
    assert [(move.version, move.by) for move in decision.change.moves] == [
        (3, "argocd-controller"),
        (4, "mlflow"),
        (2, "argocd-controller"),
    ]


def test_a_removed_key_is_by_whoever_edited_last() -> None:
    managed = [
        owns("argocd-controller", "staging", time="2026-04-01T00:00:00Z"),
        {"manager": "kubectl-edit", "time": "2026-04-02T00:00:00Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "modelyard-operator", "subresource": "status", "time": "2026-04-03T00:00:00Z", "fieldsV1": {}},
    ]
    decision = decided(model({}, {"production": 2}, managed=managed))
    assert decision.change is not None
    assert decision.change.moves[0].by == "kubectl-edit"


def test_a_key_that_the_mlflow_client_removed_is_by_the_owner_of_the_annotation() -> None:
    fields: dict[str, Any] = {"f:metadata": {"f:annotations": {f"f:{REPLACED_BECOMES_ANNOTATION}": {}}}}
    managed = [
        {"manager": "mlflow", "time": "2026-04-02T00:00:00Z", "fieldsV1": fields},
        {"manager": "kubectl-edit", "time": "2026-04-03T00:00:00Z", "fieldsV1": {"f:spec": {}}},
    ]
    decision = decided(model({}, {"production": 2}, annotation="production=2:None", managed=managed))
    assert decision.change is not None
    (move,) = decision.change.moves
    assert (move.version, move.to, move.by) == (2, "None", "mlflow")


@pytest.mark.parametrize(
    ("spec", "held", "versions", "message"),
    [
        ({"production": 7}, {}, 3, "spec.stages.production: there is no version 7; the versions are 1, 2, 3"),
        ({"staging": 7}, {}, 1, "spec.stages.staging: there is no version 7; the only one is 1"),
        ({"staging": 7}, {}, 0, "spec.stages.staging: there is no version 7; no version is registered yet"),
        ({"staging": 70}, {}, 60, "spec.stages.staging: there is no version 70; the newest is 60"),
    ],
)
def test_an_unknown_version_is_named_with_its_field(spec: Stages, held: Stages, versions: int, message: str) -> None:
    decision = decided(model(spec, held, versions))
    assert decision.change is None
    ready, stalled = decision.verdicts
    assert (ready.status, ready.reason, ready.message) == ("False", Reason.VERSION_NOT_FOUND, message)
    assert (stalled.type, stalled.status) == ("Stalled", "True")


def test_an_unknown_version_does_not_hold_up_the_other_stage() -> None:
    decision = decided(model({"production": 9, "staging": 2}, {"production": 1}))
    assert stages(decision) == {"production": 1, "staging": 2}
    assert decision.verdicts[0].reason == Reason.VERSION_NOT_FOUND


def test_an_alias_of_an_unknown_version_is_named() -> None:
    decision = decided(model({"production": 1}, aliases={"champion": 9, "challenger": 2}))
    assert stages(decision) == {"production": 1}
    ready = decision.verdicts[0]
    assert ready.reason == Reason.VERSION_NOT_FOUND
    assert ready.message.startswith("spec.aliases.champion: there is no version 9")


def test_a_broken_version_is_not_promoted_and_the_stage_keeps_the_one_it_has() -> None:
    decision = decided(model({"production": 2}, {"production": 1}), {2: MISSING})
    assert decision.change is None
    ready, stalled = decision.verdicts
    assert ready.message == (
        "spec.stages.production: version 2 is not promoted: model.pkl is missing; production stays at version 1"
    )
    assert ready.reason == Reason.ARTIFACT_MISSING
    assert stalled.type == "Stalled"


@pytest.mark.parametrize(("wanted", "held"), [("production", "staging"), ("staging", "production")])
def test_a_version_that_cannot_move_on_does_not_lose_the_stage_it_has(wanted: str, held: str) -> None:
    decision = decided(model({wanted: 2}, {held: 2}), {2: MISSING})
    assert decision.change is None
    assert decision.verdicts[0].status == "False"


def test_a_version_that_breaks_in_a_stage_stays_and_is_reported() -> None:
    decision = decided(model({"production": 2}, {"production": 2}), {2: MISSING})
    assert decision.change is None
    ready = decision.verdicts[0]
    assert (ready.status, ready.reason) == ("False", Reason.ARTIFACT_MISSING)
    assert ready.message == "version 2 is in production, but model.pkl is missing"


def test_a_store_that_does_not_answer_holds_a_promotion_up_but_does_not_stall_it() -> None:
    decision = decided(model({"production": 2}, {"production": 1}), {2: UNREACHABLE, 1: UNREACHABLE})
    assert decision.change is None
    ready, reconciling = decision.verdicts
    assert ready.reason == Reason.ARTIFACT_STORE_UNREACHABLE
    assert reconciling.type == "Reconciling"


def test_a_store_that_does_not_answer_says_nothing_against_what_is_in_a_stage() -> None:
    decision = decided(model({"production": 2}, {"production": 2}), {2: UNREACHABLE})
    assert decision.verdicts[0].reason == Reason.AS_WANTED


def test_a_model_without_versions_is_ready() -> None:
    (ready,) = decided(model(versions=0)).verdicts
    assert (ready.status, ready.reason) == ("True", Reason.NO_VERSIONS)


def test_an_object_whose_name_does_not_follow_from_the_models_is_named() -> None:
    ready = decided(model(name="churn", model_name="Churn Model")).verdicts[0]
    assert ready.reason == Reason.INVALID_SPEC
    assert object_name("Churn Model") in ready.message
    assert decided(model(name=object_name("Churn Model"), model_name="Churn Model")).verdicts[0].status == "True"


def test_only_versions_that_count_are_verified() -> None:
    seen = model({"production": 2, "staging": 9}, {"staging": 1}, aliases={"champion": 3})
    assert to_verify(seen, state_of(seen)) == {1, 2, 3}


def test_a_version_that_breaks_under_an_alias_is_reported() -> None:
    ready = decided(model({"production": 1}, {"production": 1}, aliases={"champion": 3}), {3: MISSING}).verdicts[0]
    assert (ready.reason, ready.message) == (
        Reason.ARTIFACT_MISSING,
        "version 3 has the alias champion, but model.pkl is missing",
    )


def test_a_deleted_version_is_named_as_such() -> None:
    seen = model({"production": 2})
    state = state_of(seen)
    deleted = state.model_copy(
        update={"versions": {**state.versions, 2: state.versions[2].model_copy(update={"deleted": True})}}
    )
    ready = decide(seen, deleted, {}, {}, NOW).verdicts[0]
    assert (ready.reason, ready.message) == (Reason.VERSION_NOT_FOUND, "spec.stages.production: version 2 was deleted")


def test_only_sound_versions_that_are_to_enter_a_stage_are_judged() -> None:
    seen = model({"production": 2, "staging": 3}, {"staging": 3, "production": 1})
    assert to_judge(seen, state_of(seen), {1: None, 2: None, 3: None}) == {"production": 2}
    assert to_judge(seen, state_of(seen), {1: None, 2: MISSING, 3: None}) == {}


def test_a_gate_keeps_a_version_out() -> None:
    refused = Fault(Reason.GATES_NOT_PASSED, "quality: f1_score is 0.81, at least 0.85 is wanted")
    decision = decided(model({"production": 2, "staging": 3}, {"production": 1}), gated={"production": refused})
    assert stages(decision) == {"production": 1, "staging": 3}
    ready, stalled = decision.verdicts
    assert ready.message == (
        "spec.stages.production: version 2 is not promoted: quality: f1_score is 0.81, at least 0.85 is wanted; "
        "production stays at version 1"
    )
    assert stalled.type == "Stalled"


def test_gates_that_are_still_judged_hold_a_promotion_up_but_do_not_stall_it() -> None:
    running = Fault(Reason.GATES_RUNNING, "smoke-test runs", passing=True)
    decision = decided(model({"production": 2}, {"production": 1}), gated={"production": running})
    assert decision.change is None
    assert [verdict.type for verdict in decision.verdicts] == ["Ready", "Reconciling"]


def test_what_a_version_passed_goes_with_its_change() -> None:
    passed = StageGates(stage="production", version=2, gates=())
    decision = decided(model({"production": 2}, {"production": 1}), gated={"production": passed})
    assert decision.change is not None
    assert decision.change.gates == (passed,)


def test_a_change_names_the_user_where_admission_does() -> None:
    seen = model({"production": 2}, {"production": 1})
    seen = seen.model_copy(
        update={"metadata": seen.metadata.model_copy(update={"annotations": {"modelyard.dev/production-by": "alice"}})}
    )
    change = decided(seen).change
    assert change is not None
    assert (change.stages["production"].user, change.moves[0].user, change.moves[1].user) == ("alice", "alice", "alice")


def test_a_new_object_inherits_what_its_spec_does_not_name() -> None:
    seen = model({"staging": 4}, {"production": 1, "staging": 2}, aliases={"mine": 3})
    state = state_of(seen).model_copy(update={"aliases": {"mine": 1, "champion": 2}, "tags": {"team": "risk"}})
    left = inherited(seen, state)
    assert left is not None
    assert (left.stages, left.aliases, left.tags) == ({"production": 1}, {"champion": 2}, {"team": "risk"})
    known = seen.model_copy(update={"status": seen.status.model_copy(update={"inherited": left})})
    assert known.wanted_stages == {"production": 1, "staging": 4}
    assert known.aliases == {"champion": 2, "mine": 3}


def test_an_object_that_was_seen_before_inherits_nothing_more() -> None:
    seen = model({}, {"production": 1})
    known = seen.model_copy(update={"status": seen.status.model_copy(update={"observed_generation": 3})})
    assert inherited(known, state_of(known)) is None
