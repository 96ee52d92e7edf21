"""`evidence` on a registry in memory."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from modelyard.api.gates import GateResult, GateVerdict
from modelyard.api.model_status import PreparationOutcome, PreparationStatus
from modelyard.cli.errors import ALTERED, CliError
from modelyard.cli.evidence import evidence
from modelyard.records.events import PromotionRefused
from tests.unit.cli.conftest import Terminal
from tests.unit.registry.world import NAMESPACE

LOG = "Traceback…\nAssertionError: 9.0 is no answer\n".encode()
NAME = "churn-smoke-1a2b3c4d.log"
ASK: dict[str, Any] = {"name": NAME}


@pytest.fixture
def judged(terminal: Terminal) -> Terminal:
    """A Job has failed, its log is kept and a record names it."""
    world = terminal.world
    kept = hashlib.sha256(LOG).hexdigest()[:16]
    gate = GateResult(name="smoke", verdict=GateVerdict.FAILED, message=f"exit code 1 ({NAME}, sha256:{kept})")
    refusal = PromotionRefused(by="mlflow", stage="production", version=3, fingerprint="f", gates=(gate,))
    world.registry.record(world.model(), world.state(), refusal)
    world.store.put(world.registry.ledger(NAMESPACE, "churn").evidence_key(NAME), LOG)
    return terminal


def test_a_log_is_printed_as_it_is(judged: Terminal) -> None:
    assert judged.run(evidence, **ASK) == 0
    assert judged.out.getvalue() == LOG.decode()
    answer = judged.json(evidence, **ASK)
    assert (answer["verified"], answer["log"]) == (True, LOG.decode())


def test_which_logs_there_are(judged: Terminal) -> None:
    assert judged.run(evidence, name=None) == 0
    assert judged.lines == [NAME]


def test_a_log_that_was_altered_is_not_shown(judged: Terminal) -> None:
    world = judged.world
    world.store.put(world.registry.ledger(NAMESPACE, "churn").evidence_key(NAME), LOG + b"all good\n")
    with pytest.raises(CliError, match=f"{NAME} was altered: a record knows it as sha256:") as found:
        judged.run(evidence, **ASK)
    assert found.value.code == ALTERED
    assert judged.out.getvalue() == ""


def test_a_log_that_no_record_names_yet_is_shown_with_a_note(judged: Terminal) -> None:
    world = judged.world
    world.store.put(world.registry.ledger(NAMESPACE, "churn").evidence_key("other.log"), b"half way\n")
    assert judged.run(evidence, name="other.log") == 0
    assert judged.out.getvalue() == "half way\n"
    assert "no record names this yet" in judged.err.getvalue()


def test_a_log_that_there_is_not_is_said(judged: Terminal) -> None:
    with pytest.raises(CliError, match=r"there is no evidence none\.log of churn"):
        judged.run(evidence, name="none.log")


def test_a_model_without_jobs_has_none(terminal: Terminal) -> None:
    with pytest.raises(CliError, match="no Job has left evidence"):
        terminal.run(evidence, name=None)


def test_what_a_preparation_found_is_evidence_too(terminal: Terminal) -> None:
    world = terminal.world
    content = b'{"acceleration": {"outcome": "Verified"}}'
    (version,) = [each for each in world.state().shown if each.version == 1]
    done = PreparationStatus(
        outcome=PreparationOutcome.VERIFIED,
        image="serving:1",
        directory=f"prepared/{version.digest.removeprefix('sha256:')}/0123456789ab",
        evidence=f"sha256:{hashlib.sha256(content).hexdigest()}",
    )
    world.registry.record_preparation(NAMESPACE, "churn", 1, version.digest, done)
    key = world.registry.ledger(NAMESPACE, "churn").evidence_key("prepare-0123456789ab.json")
    world.store.put(key, content)
    assert terminal.run(evidence, name=None) == 0
    assert terminal.lines == ["prepare-0123456789ab.json"]
    assert terminal.json(evidence, name="prepare-0123456789ab.json")["verified"] is True
    world.store.put(key, content + b" ")
    with pytest.raises(CliError, match="was altered"):
        terminal.run(evidence, name="prepare-0123456789ab.json")
