"""What is to be prepared, what came of it, and who waits for how long."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelyard.api import ModelDeployment
from modelyard.api.model_status import PreparationOutcome, PreparationStatus, VersionStatus
from modelyard.api.names import PREPARATION_ANNOTATION, REFRESH_ANNOTATION
from modelyard.api.reasons import Reason
from modelyard.api.serving import ServedModel
from modelyard.decide.preparation import (
    EVIDENCE_LIMIT,
    Ask,
    EvidenceInvalid,
    Standing,
    accelerated,
    ask_for,
    failed,
    kept_note,
    must_wait,
    note_of,
    prepared,
    read_evidence,
    refusal,
    settled,
)
from tests.unit.desired.deployments import deployment

Json = dict[str, Any]
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
DIGEST, MODEL, ARCHIVE = (f"sha256:{digit * 64}" for digit in "123")
ASK = Ask("ml", "churn", 3, DIGEST, "serving:1")
VERSION = VersionStatus(
    version=3,
    source="runs:/r/model",
    artifact="s3://b/m",
    digest=DIGEST,
    flavors=("sklearn",),
    created_at="2026-01-01T00:00:00Z",
)
SERVED = ServedModel("churn", 3, "s3://b/m", DIGEST)


def known(outcome: str = "Verified", image: str = "serving:1", attempt: str = "") -> PreparationStatus:
    return PreparationStatus(
        outcome=PreparationOutcome(outcome), image=image, directory=ASK.directory, attempt=attempt, message="why"
    )


def asked(preparation: PreparationStatus | None, *, refresh: str = "", **rest: Any) -> Ask | None:
    owner = deployment(annotations={REFRESH_ANNOTATION: refresh} if refresh else None, **rest)
    return ask_for(owner, "churn", VERSION.model_copy(update={"preparation": preparation}), "serving:1")


class TestAsk:
    @pytest.mark.parametrize(
        ("preparation", "refresh", "attempt"),
        [
            (None, "", ""),
            (None, "now", ""),
            (known(image="serving:0"), "", ""),
            (known(), "", None),
            (known(), "now", None),
            (known("NotConvertible"), "now", None),
            (known("PreparationFailed"), "", None),
            (known("PreparationFailed"), "now", "now"),
            (known("PreparationFailed", attempt="now"), "now", None),
            (known("PreparationFailed", attempt="now"), "later", "later"),
            (known("EnvironmentFailed"), "now", "now"),
        ],
        ids=[
            "nothing is known",
            "the first is everybody's",
            "another image",
            "it is done",
            "done is done",
            "so is what cannot be done",
            "it failed",
            "it failed and is asked for again",
            "it failed again",
            "and once more",
            "no environment, asked for again",
        ],
    )
    def test_is_made_once_for_an_image_and_again_on_demand(
        self, preparation: PreparationStatus | None, refresh: str, attempt: str | None
    ) -> None:
        found = asked(preparation, refresh=refresh)
        assert (found.attempt if found else None) == attempt

    @pytest.mark.parametrize(
        ("rest", "wanted"),
        [
            ({}, True),
            ({"runtime": "Native"}, True),
            ({"environment": "Image"}, True),
            ({"runtime": "Native", "environment": "Image"}, False),
        ],
    )
    def test_is_not_made_where_nothing_of_it_would_be_used(self, rest: Json, wanted: bool) -> None:
        assert (asked(None, **rest) is not None) is wanted

    @pytest.mark.parametrize("changed", [{"flavors": ("mleap",)}, {"artifact": ""}])
    def test_is_not_made_of_what_cannot_be_served(self, changed: Json) -> None:
        assert ask_for(deployment(), "churn", VERSION.model_copy(update=changed), "serving:1") is None

    @pytest.mark.parametrize("changed", ["namespace", "model", "digest", "image", "attempt"])
    def test_has_a_name_and_a_place_of_its_own(self, changed: str) -> None:
        other = replace(ASK, **{changed: DIGEST.replace("1", "9")})  # type: ignore[arg-type]
        assert (other.job != ASK.job, other.directory != ASK.directory) == (True, True)
        assert ASK.job == f"prepare-{ASK.key}"
        assert ASK.directory == f"prepared/{'1' * 64}/{ASK.key}"


def evidence(**changed: Any) -> Json:
    return {
        "schemaVersion": 1,
        "digest": DIGEST,
        "python": "3.12.8",
        "image": "whatever it says",
        "environment": {"needed": False, "differences": [], "archive": None, "error": None},
        "acceleration": {"outcome": "Verified", "message": "fine", "model": {"sha256": "2" * 64, "bytes": 4}},
        "a field of a later release": 1,
        **changed,
    }


def record(hashes: dict[str, tuple[str, int] | None] | None = None, **changed: Any) -> PreparationStatus:
    read = read_evidence(json.dumps(evidence(**changed)).encode(), DIGEST)
    return settled(ASK, read, DIGEST, {"model.onnx": (MODEL, 4)} if hashes is None else hashes)


class TestEvidence:
    def test_is_recorded_with_the_hashes_that_were_read(self) -> None:
        done = record()
        assert (done.outcome, done.model, done.environment) == ("Verified", MODEL, None)
        assert (done.image, done.directory, done.evidence) == ("serving:1", ASK.directory, DIGEST)

    def test_of_an_environment_has_its_hash(self) -> None:
        needed = {"needed": True, "differences": ["a"], "archive": {"sha256": "3" * 64, "bytes": 7}, "error": None}
        done = record({"model.onnx": (MODEL, 4), "environment.tar.gz": (ARCHIVE, 7)}, environment=needed)
        assert (done.outcome, done.environment) == ("Verified", ARCHIVE)

    def test_of_an_environment_that_is_missing_spells_the_differences_out(self) -> None:
        missing = {"needed": True, "differences": [f"a=={n}" for n in range(8)], "archive": None, "error": "no index"}
        done = record(environment=missing)
        assert (done.outcome, done.model) == ("EnvironmentFailed", None)
        assert done.message == "a==0; a==1; a==2; a==3; a==4; and 3 more: no index"

    @pytest.mark.parametrize(
        ("hashes", "says"),
        [
            ({}, "names model.onnx, which was not uploaded"),
            ({"model.onnx": None}, "names model.onnx, which was not uploaded"),
            ({"model.onnx": (ARCHIVE, 4)}, "model.onnx is sha256:3"),
            ({"model.onnx": (MODEL, 5)}, "5 bytes"),
        ],
    )
    def test_that_does_not_fit_what_was_uploaded_is_not_believed(
        self, hashes: dict[str, tuple[str, int] | None], says: str
    ) -> None:
        with pytest.raises(EvidenceInvalid, match=says):
            record(hashes)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"[]",
            b"{",
            b"\xff",
            b'{"schemaVersion": 1}',
            json.dumps(evidence(digest=MODEL)).encode(),
            json.dumps(evidence(schemaVersion="1")).encode(),
            json.dumps(evidence(environment=None)).encode(),
            json.dumps(evidence(acceleration={"outcome": "Verified", "model": {"sha256": "x", "bytes": 4}})).encode(),
            json.dumps(evidence(acceleration={"outcome": "Verified", "model": {"sha256": "2" * 64}})).encode(),
            json.dumps(evidence(acceleration={"outcome": 1})).encode(),
            b" " * (EVIDENCE_LIMIT + 1),
        ],
        ids=range(12),
    )
    def test_that_cannot_be_read_is_not_believed(self, data: bytes) -> None:
        with pytest.raises(EvidenceInvalid, match=r"preparation\.json"):
            read_evidence(data, DIGEST)


def owner(served: int | None = None, **rest: Any) -> ModelDeployment:
    found = deployment(**rest)
    if served is None:
        return found
    body = {"model": "churn", "version": served, "digest": DIGEST, "since": "2026-01-01T00:00:00Z"}
    status = found.status.model_validate({"served": body})
    return found.model_copy(update={"status": status})


class TestWaiting:
    @pytest.mark.parametrize(
        ("served", "standing", "waits"),
        [
            (None, Standing(since=NOW), True),
            (2, Standing(since=NOW), True),
            (2, Standing(since=NOW - timedelta(seconds=299)), True),
            (2, Standing(since=NOW - timedelta(seconds=300)), False),
            (None, Standing(message="no Job can be made"), False),
            (2, Standing(known()), False),
            (3, Standing(since=NOW), False),
            (4, Standing(since=NOW), False),
        ],
        ids=["first", "next", "nearly", "too long", "no Job", "done", "made anew", "back"],
    )
    def test_is_for_new_versions_and_bounded(self, served: int | None, standing: Standing, waits: bool) -> None:
        problem = must_wait(owner(served), SERVED, standing, NOW, 300)
        assert (problem is not None) is waits
        assert problem is None or problem.reason == Reason.PREPARING

    @pytest.mark.parametrize(
        ("outcome", "rest", "refused"),
        [
            ("EnvironmentFailed", {}, True),
            ("EnvironmentFailed", {"runtime": "Native"}, True),
            ("EnvironmentFailed", {"environment": "Image"}, False),
            ("PreparationFailed", {}, False),
            ("Verified", {}, False),
        ],
    )
    def test_is_in_vain_without_libraries(self, outcome: str, rest: Json, refused: bool) -> None:
        problem = refusal(owner(**rest), SERVED, known(outcome))
        assert (problem is not None) is refused
        assert problem is None or (problem.reason, problem.message) == (
            Reason.ENVIRONMENT_FAILED,
            "version 3 of churn: why",
        )


class TestNotes:
    def test_pods_are_made_with_what_was_recorded(self) -> None:
        done = known().model_copy(update={"model": MODEL, "environment": ARCHIVE})
        found = prepared(owner(), Standing(done), "s3://b/p")
        assert found.accelerated is not None
        assert found.environment is not None
        assert found.accelerated.source == f"s3://b/p/{ASK.directory}/model.onnx"
        assert (found.environment.digest, found.note) == (ARCHIVE, ("Verified", "why"))

    @pytest.mark.parametrize(
        ("standing", "rest", "note"),
        [
            (Standing(failed(ASK, "it broke")), {}, ("PreparationFailed", "it broke")),
            (Standing(since=NOW, message="at work"), {}, ("Preparing", "at work")),
            (Standing(message="no Job"), {}, ("PreparationFailed", "no Job")),
            (Standing(known()), {"runtime": "Native"}, ("Disabled", "spec.rest.runtime is Native")),
        ],
    )
    def test_say_why_there_is_nothing(self, standing: Standing, rest: Json, note: tuple[str, str]) -> None:
        found = prepared(owner(**rest), standing, "s3://b")
        assert (found.accelerated, found.note) == (None, note)

    @pytest.mark.parametrize(
        ("live", "fresh", "kept"),
        [
            (None, ("Verified", ""), None),
            (("Verified", ""), None, "Verified"),
            (("Verified", ""), ("NotConvertible", ""), "Verified"),
            (("Preparing", ""), None, "Preparing"),
            (("Preparing", ""), ("Preparing", "x"), "Preparing"),
            (("Preparing", ""), ("Verified", ""), "PreparedLater"),
            (("Preparing", ""), ("AnswersDiffer", ""), "AnswersDiffer"),
        ],
    )
    def test_of_pods_that_stay_change_only_where_something_was_open(
        self, live: tuple[str, str] | None, fresh: tuple[str, str] | None, kept: str | None
    ) -> None:
        found = kept_note(live, fresh)
        assert (found[0] if found else None) == kept

    @pytest.mark.parametrize(
        ("text", "status"),
        [
            ('{"reason": "Verified", "message": ""}', "True"),
            ('{"reason": "Preparing", "message": ""}', "Unknown"),
            ('{"reason": "AnswersDiffer", "message": ""}', "False"),
            ('{"reason": "NoReason", "message": ""}', None),
            ("[]", None),
            ("", None),
        ],
    )
    def test_become_a_condition(self, text: str, status: str | None) -> None:
        verdict = accelerated(note_of({"metadata": {"annotations": {PREPARATION_ANNOTATION: text}}}))
        assert (verdict.status if verdict else None) == status
        assert note_of({"metadata": {}}) is None
