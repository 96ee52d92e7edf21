from __future__ import annotations

from modelyard.api.gates import GATES_LIMIT, GateResult, GateVerdict
from modelyard.api.model_status import CandidateStatus, RecordsStatus, StageStatus, TransitionStatus, Verdict
from modelyard.api.registeredmodel import RegisteredModel, Stage
from modelyard.records.state import ModelState, VersionState
from modelyard.records.view import NEWEST_SHOWN, view

AT = "2026-05-01T12:00:00.000Z"
LIMIT = 512 << 10


def version(number: int, **fields: object) -> VersionState:
    return VersionState.model_validate(
        {
            "version": number,
            "source": f"s3://b/{number}",
            "artifact": f"s3://b/{number}",
            "digest": "sha256:" + "0" * 64,
            "createdAt": AT,
            **fields,
        }
    )


def state(count: int, **fields: object) -> ModelState:
    versions = {number: version(number, **fields) for number in range(1, count + 1)}
    return ModelState(sequence=count, digest="sha256:1", latest_version=count, versions=versions)


def model(**spec: object) -> RegisteredModel:
    return RegisteredModel.parse({"metadata": {"name": "churn", "namespace": "ml"}, "spec": spec})


def test_a_status_shows_the_newest_and_those_that_somebody_asks_for() -> None:
    held = {"production": StageStatus(version=2, since=AT, by="x")}
    seen = view(
        model(aliases={"champion": 1, "none": 9000}, stages={"staging": 3}),
        state(500).model_copy(update={"stages": held}),
    )
    assert [v.version for v in seen.versions] == [1, 2, 3, *range(501 - NEWEST_SHOWN, 501)]
    assert (seen.latest_version, seen.version_count) == (500, 500)
    assert seen.records == RecordsStatus(sequence=500, digest="sha256:1")


def test_deleted_versions_are_not_shown() -> None:
    before = state(3)
    seen = view(model(), before.model_copy(update={"versions": {**before.versions, 2: version(2, deleted=True)}}))
    assert ([v.version for v in seen.versions], seen.version_count, seen.latest_version) == ([1, 3], 2, 3)


def test_what_only_the_operator_knows_stays() -> None:
    first = model()
    candidate = CandidateStatus(stage="staging", version=1, verdict=Verdict.RUNNING, since=AT)
    known = first.model_copy(
        update={"status": first.status.model_copy(update={"observed_generation": 3, "candidates": (candidate,)})}
    )
    seen = view(known, state(1))
    assert (seen.observed_generation, seen.candidates) == (3, (candidate,))


def test_a_status_that_knows_the_newest_record_is_left_alone() -> None:
    first = model()
    known = first.model_copy(update={"status": view(first, state(5))})
    assert view(known, state(5)) is known.status


def test_the_largest_status_of_5000_versions_is_well_below_the_limit_of_an_object() -> None:
    long = "s3://bucket/" + "x" * 2030
    big = state(
        5000,
        source=long,
        artifact=long,
        runLink=long,
        tags={"t": "x" * 5000},
        description="d" * 8000,
        createdBy="b" * 128,
    )
    transition = TransitionStatus(
        sequence=1, version=1, from_=Stage.NONE, to=Stage.PRODUCTION, at=AT, by="b" * 128, user="u" * 253
    )
    gates = tuple(GateResult(name="g" * 63, verdict=GateVerdict.FAILED, message="m" * 512) for _ in range(GATES_LIMIT))
    candidates = tuple(
        CandidateStatus(stage=stage, version=1, verdict=Verdict.REFUSED, since=AT, gates=gates)
        for stage in ("production", "staging")
    )
    wanted = model(aliases={f"alias-{number}": number for number in range(1, 33)}, stages={"production": 40})
    status = view(wanted, big.model_copy(update={"transitions": (transition,) * 20})).model_copy(
        update={"candidates": candidates}
    )
    assert len(status.model_dump_json(by_alias=True, exclude_none=True)) < LIMIT
