from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from modelyard.api.approval import Approval
from modelyard.api.gates import Gate, GateResult, GateVerdict
from modelyard.api.model_status import Verdict
from modelyard.api.registeredmodel import RegisteredModel
from modelyard.api.stages import Stage
from modelyard.decide.gates import (
    Approvals,
    Evidence,
    Held,
    JobReport,
    Metrics,
    attempt,
    fingerprint,
    judge,
    remembered,
    summary,
)
from modelyard.decide.signatures import SignatureState, SignatureVerdict
from modelyard.records.state import ModelState, Refusal, VersionState

Json = dict[str, Any]
DIGEST = "sha256:" + "a" * 64
QUALITY = {"name": "quality", "metric": "f1_score", "min": "0.85"}
COMPARED = {"name": "compared", "metric": "accuracy", "comparedTo": "production"}
STAGED = {"name": "staged", "fromStage": "staging"}
JOB = {"name": "smoke", "job": {"command": ["true"]}}
APPROVAL = {"name": "approval", "approvers": ["risk-team", "owners"]}
SIGNED = {"name": "signed", "signature": {"identity": "a@example.com", "issuer": "https://issuer"}}


def version(number: int = 3, **fields: Any) -> VersionState:
    base = {"source": "s3://m/3", "artifact": "s3://m/3", "digest": DIGEST, "created_at": "2026-05-01T12:00:00Z"}
    return VersionState(version=number, **{**base, **fields})


def metrics(**values: float | str) -> Metrics:
    return Metrics({name: Decimal(str(value)) for name, value in values.items()})


def result(gate: Json, **evidence: Any) -> tuple[str, str]:
    given = Evidence(**{"model": "churn", "stage": "production", "version": version(), **evidence})
    (found,) = judge([Gate.model_validate(gate)], given, "x").results
    return found.verdict.value, found.message


# Metrics


@pytest.mark.parametrize(
    ("gate", "value", "expected"),
    [
        ({"min": "0.85"}, "0.81", ("Failed", "f1_score is 0.81, at least 0.85 is wanted")),
        ({"min": "0.85"}, "0.85", ("Passed", "f1_score is 0.85, at least 0.85 is wanted")),
        ({"min": "0.85"}, "0.8499999999999999", ("Failed", "f1_score is 0.8499999999999999, at least 0.85 is wanted")),
        ({"max": "3"}, "3.1", ("Failed", "f1_score is 3.1, at most 3 is wanted")),
        ({"min": "-1", "max": "1"}, "0", ("Passed", "f1_score is 0, at least -1 and at most 1 is wanted")),
        ({"min": "-1", "max": "1"}, "-2", ("Failed", "f1_score is -2, at least -1 and at most 1 is wanted")),
        ({"min": "0"}, "NaN", ("Failed", "f1_score of version 3 is NaN, which is no number to compare")),
        ({"min": "0"}, "Infinity", ("Failed", "f1_score of version 3 is Infinity, which is no number to compare")),
    ],
)
def test_bounds_are_inclusive_and_exact(gate: Json, value: str, expected: tuple[str, str]) -> None:
    assert result({"name": "g", "metric": "f1_score", **gate}, metrics=metrics(f1_score=value)) == expected


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (Metrics(), "version 3 has no metric f1_score; it has no metrics"),
        (metrics(loss=1, auc=1), "version 3 has no metric f1_score; it has auc, loss"),
        (
            metrics(**{f"m{index:02}": 1 for index in range(13)}),
            "version 3 has no metric f1_score; it has m00, m01, m02, m03, m04, m05, m06, m07, m08, m09 and 3 more",
        ),
    ],
)
def test_a_missing_metric_fails_and_names_those_there_are(known: Metrics, message: str) -> None:
    assert result(QUALITY, metrics=known) == ("Failed", message)


@pytest.mark.parametrize(("passing", "verdict"), [(True, "Unknown"), (False, "Failed")])
def test_metrics_that_cannot_be_had(passing: bool, verdict: str) -> None:
    known = Metrics(problem="run r1 does not exist", passing=passing)
    assert result(QUALITY, metrics=known) == (verdict, "f1_score of version 3 is not known: run r1 does not exist")


# Comparison


@pytest.mark.parametrize(
    ("gate", "ours", "theirs", "expected"),
    [
        ({}, "0.92", "0.92", ("Passed", "accuracy is 0.92, version 2 in production has 0.92, no less is wanted")),
        ({}, "0.91", "0.92", ("Failed", "accuracy is 0.91, version 2 in production has 0.92, no less is wanted")),
        (
            {"tolerance": "0.01"},
            "0.91",
            "0.92",
            ("Passed", "accuracy is 0.91, version 2 in production has 0.92, at most 0.01 less is wanted"),
        ),
        (
            {"tolerance": "0.01"},
            "0.909",
            "0.92",
            ("Failed", "accuracy is 0.909, version 2 in production has 0.92, at most 0.01 less is wanted"),
        ),
        (
            {"goal": "Minimize", "tolerance": "0.01"},
            "0.93",
            "0.92",
            ("Passed", "accuracy is 0.93, version 2 in production has 0.92, at most 0.01 more is wanted"),
        ),
        (
            {"goal": "Minimize"},
            "0.93",
            "0.92",
            ("Failed", "accuracy is 0.93, version 2 in production has 0.92, no more is wanted"),
        ),
        (
            {"goal": "Maximize"},
            "0.91",
            "NaN",
            ("Failed", "accuracy of version 2 in production is NaN, which is no number to compare"),
        ),
        (
            {"min": "0.95"},
            "0.93",
            "0.92",
            (
                "Failed",
                "accuracy is 0.93, at least 0.95 is wanted; accuracy is 0.93, version 2 in production has 0.92, "
                "no less is wanted",
            ),
        ),
    ],
)
def test_a_comparison_has_both_numbers(gate: Json, ours: str, theirs: str, expected: tuple[str, str]) -> None:
    held = {"production": Held(2, metrics(accuracy=theirs))}
    assert result({**COMPARED, **gate}, metrics=metrics(accuracy=ours), held=held) == expected


def test_an_empty_stage_is_no_obstacle_and_the_message_says_so() -> None:
    expected = ("Passed", "accuracy is 0.5, and production is empty: there is nothing to compare it with")
    assert result(COMPARED, metrics=metrics(accuracy=0.5)) == expected


def test_what_cannot_be_compared_does_not_pass() -> None:
    held = {"production": Held(2, metrics(loss=1))}
    expected = ("Failed", "version 2 in production has no metric accuracy; it has loss")
    assert result(COMPARED, metrics=metrics(accuracy=0.9), held=held) == expected


def test_a_version_is_no_worse_than_itself() -> None:
    held = {"staging": Held(3, metrics(accuracy=0.9))}
    gate = {**COMPARED, "comparedTo": "staging"}
    expected = ("Passed", "accuracy is 0.9, and version 3 is itself in staging")
    assert result(gate, metrics=metrics(accuracy=0.9), held=held) == expected


def test_a_version_may_go_back_to_the_stage_that_it_was_in() -> None:
    held = {"production": Held(4, metrics(accuracy=0.99))}
    before = version(been_in=(Stage.PRODUCTION,))
    expected = ("Passed", "accuracy is 0.9, and version 3 goes back to production")
    assert result(COMPARED, metrics=metrics(accuracy=0.9), held=held, version=before) == expected
    # Having been in Production says nothing about a comparison that another stage asks for.
    assert result(COMPARED, metrics=metrics(accuracy=0.9), held=held, version=before, stage="staging")[0] == "Failed"


# The other kinds


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        ({}, ("Failed", "version 3 has not been in Staging")),
        ({"version": version(been_in=(Stage.PRODUCTION,))}, ("Failed", "version 3 has not been in Staging")),
        ({"version": version(been_in=(Stage.STAGING,))}, ("Passed", "version 3 has been in Staging")),
        ({"held": {"staging": Held(3, Metrics())}}, ("Passed", "version 3 is in Staging")),
        ({"held": {"staging": Held(2, Metrics())}}, ("Failed", "version 3 has not been in Staging")),
    ],
)
def test_a_version_must_have_been_in_a_stage(evidence: Json, expected: tuple[str, str]) -> None:
    assert result(STAGED, **evidence) == expected


@pytest.mark.parametrize("verdict", [GateVerdict.RUNNING, GateVerdict.PASSED, GateVerdict.FAILED, GateVerdict.UNKNOWN])
def test_a_job_says_itself_how_it_stands(verdict: GateVerdict) -> None:
    assert result(JOB, jobs={"smoke": JobReport(verdict, "words")}) == (verdict.value, "words")


@pytest.mark.parametrize(
    ("state", "verdict"),
    [
        (SignatureState.VALID, "Passed"),
        (SignatureState.MISSING, "Failed"),
        (SignatureState.WRONG_SIGNER, "Failed"),
        (SignatureState.FILES_DIFFER, "Failed"),
        (SignatureState.INVALID, "Failed"),
        (SignatureState.UNKNOWN, "Unknown"),
    ],
)
def test_only_a_valid_signature_passes(state: SignatureState, verdict: str) -> None:
    assert result(SIGNED, signatures={"signed": SignatureVerdict(state, "words")}) == (verdict, "words")


def approval(**spec: Any) -> Approval:
    base = {
        "model": "churn",
        "version": 3,
        "digest": DIGEST,
        "stage": "production",
        "group": "risk-team",
        "user": "ann",
    }
    return Approval.parse({"metadata": {"name": "ok", "namespace": "ml"}, "spec": {**base, **spec}})


def test_an_approval_by_a_member_of_a_named_group_passes() -> None:
    found = result(APPROVAL, approvals=Approvals((approval(group="owners"),)))
    assert found == ("Passed", "approved by ann of owners (ok)")


@pytest.mark.parametrize(
    "spec",
    [
        {"model": "other"},
        {"version": 2},
        {"stage": "staging"},
        {"group": "interns"},
        {"digest": "sha256:" + "b" * 64},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_an_approval_of_something_else_does_not_count(spec: Json) -> None:
    found = result(APPROVAL, approvals=Approvals((approval(**spec),)))
    assert found == ("Waiting", "nobody of risk-team or owners has approved version 3 for production yet")


@pytest.mark.parametrize(("passing", "verdict"), [(False, "Waiting"), (True, "Unknown")])
def test_approvals_that_anybody_could_have_written_do_not_count(passing: bool, verdict: str) -> None:
    known = Approvals((approval(),), problem="there is no policy", passing=passing)
    expected = (verdict, "approvals by risk-team or owners do not count: there is no policy")
    assert result(APPROVAL, approvals=known) == expected


# All of them


def overall(*verdicts: GateVerdict) -> Verdict:
    gates = [Gate.model_validate({**JOB, "name": f"g{index}"}) for index, _ in enumerate(verdicts)]
    jobs = {f"g{index}": JobReport(verdict, "") for index, verdict in enumerate(verdicts)}
    return judge(gates, Evidence("churn", "production", version(), jobs=jobs), "x").verdict


P, F, R, W, U = (
    GateVerdict.PASSED,
    GateVerdict.FAILED,
    GateVerdict.RUNNING,
    GateVerdict.WAITING,
    GateVerdict.UNKNOWN,
)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), Verdict.ALLOWED),
        ((P, P), Verdict.ALLOWED),
        ((P, F), Verdict.REFUSED),
        ((F, W), Verdict.REFUSED),
        ((P, W), Verdict.WAITING),
        ((F, R), Verdict.RUNNING),
        ((W, R), Verdict.RUNNING),
        ((F, U), Verdict.UNKNOWN),
        ((P, U), Verdict.UNKNOWN),
        ((W, U), Verdict.UNKNOWN),
    ],
)
def test_a_refusal_waits_for_all_gates_but_for_no_approval(
    verdicts: tuple[GateVerdict, ...], expected: Verdict
) -> None:
    assert overall(*verdicts) is expected


def test_every_gate_is_judged_although_one_failed() -> None:
    gates = [Gate.model_validate(gate) for gate in (STAGED, QUALITY, COMPARED)]
    found = judge(gates, Evidence("churn", "production", version(), metrics(f1_score=0.81, accuracy=0.9)), "x")
    assert [(gate.name, gate.verdict.value) for gate in found.results] == [
        ("staged", "Failed"),
        ("quality", "Failed"),
        ("compared", "Passed"),
    ]
    assert found.message == (
        "staged failed: version 3 has not been in Staging; "
        "quality failed: f1_score is 0.81, at least 0.85 is wanted; "
        "compared passed: accuracy is 0.9, and production is empty: there is nothing to compare it with"
    )


def test_messages_are_bounded() -> None:
    long = judge(
        [Gate.model_validate(JOB)],
        Evidence("churn", "production", version(), jobs={"smoke": JobReport(F, "x" * 9000)}),
        "x",
    )
    assert len(long.results[0].message) == 512
    assert len(summary(long.results * 16)) < 4000
    assert len(summary(long.results)) > 500


# What is judged again


def model(generation: int = 4, **spec: Any) -> RegisteredModel:
    return RegisteredModel.parse(
        {
            "metadata": {"name": "churn", "namespace": "ml", "generation": generation},
            "spec": {"stages": {"production": 3}, "gates": {"production": [QUALITY], "staging": []}, **spec},
        }
    )


def refused(number: int = 3, identity: str | None = None) -> ModelState:
    gates = (GateResult(name="quality", verdict=GateVerdict.FAILED, message="f1_score is 0.81"),)
    identity = identity or fingerprint(model(), version(number), "production")
    refusal = Refusal(version=number, fingerprint=identity, at="2026-05-01T12:00:00Z", gates=gates)
    return ModelState(versions={3: version()}, refusals={"production": refusal})


def test_a_refused_version_is_not_judged_again() -> None:
    found = remembered(model(), refused(), version(), "production")
    assert found is not None
    assert (found.verdict, found.recorded) == (Verdict.REFUSED, True)
    assert found.message == "quality failed: f1_score is 0.81"


@pytest.mark.parametrize(
    ("changed", "entering", "stage"),
    [
        (model(), version(tags={"checked": "yes"}), "production"),
        (model(), version(description="better"), "production"),
        (model(), version(digest="sha256:" + "b" * 64), "production"),
        (model(gates={"production": [{**QUALITY, "min": "0.8"}]}), version(), "production"),
        (model(generation=5), version(), "production"),
        (model(), version(), "staging"),
        (model(), version(4), "production"),
    ],
    ids=["tags", "description", "content", "gate", "spec", "other stage", "other version"],
)
def test_it_is_judged_again_when_something_about_it_changes(
    changed: RegisteredModel, entering: VersionState, stage: str
) -> None:
    assert remembered(changed, refused(), entering, stage) is None


def test_a_job_is_run_again_after_a_refusal_and_not_for_an_edit_of_something_else() -> None:
    gate = Gate.model_validate(JOB)
    first = attempt(ModelState(), version(), "production", gate)
    assert attempt(ModelState(), version(tags={"a": "b"}), "production", gate) == first
    others = [
        attempt(refused(), version(), "production", gate),
        attempt(refused(identity="another"), version(), "production", gate),
        attempt(ModelState(), version(4), "production", gate),
        attempt(ModelState(), version(), "staging", gate),
        attempt(ModelState(), version(), "production", Gate.model_validate({**JOB, "job": {"command": ["false"]}})),
    ]
    assert len({first, *others}) == 6
