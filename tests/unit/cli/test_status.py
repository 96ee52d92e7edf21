"""`status` on deployments in every state, compared with what a person reads."""

from __future__ import annotations

import io
import json
import textwrap
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from modelyard.cli.errors import REFUSED, CliError
from modelyard.cli.look import Look
from modelyard.cli.output import Format, Output
from modelyard.cli.status import End, settled, status
from modelyard.cli.traffic import ask
from modelyard.cluster.client import ApiError
from modelyard.registry.objects import REGISTERED_MODELS
from tests.unit.cli.deployments import (
    NAMESPACE,
    NOW,
    Json,
    Site,
    ago,
    deployed,
    metrics,
    ready,
    refused,
    rollout,
)

ONCE: dict[str, Any] = {"watch": False, "wait": False, "timeout": 30.0}
WATCH: dict[str, Any] = {**ONCE, "watch": True}
WAIT: dict[str, Any] = {**ONCE, "wait": True}

STEPS = [{"weight": 10, "hold": True}, {"weight": 50, "pause": "5m"}]
CANARY = {"rollout": {"strategy": "Canary", "steps": STEPS, "analysis": {}}}
PASSED = {"name": "error rate", "found": "0.4 %", "bound": "1 %", "samples": 500, "verdict": "Passed"}
FEW = {"name": "p99", "bound": "250ms", "samples": 12, "verdict": "Inconclusive", "message": "12 of 100 requests"}
FAILED = {"name": "error rate", "found": "4.2 %", "bound": "1 %", "samples": 500, "verdict": "Failed"}

SERVING: Json = {
    "phase": "Serving",
    "served": deployed(4, 3 * 86400 + 7200),
    "replicas": 2,
    "readyReplicas": 2,
    "conditions": ready("True", "Serving", "version 4 answers with 2 of 2 pods"),
}
HELD: Json = {
    **SERVING,
    "phase": "Held",
    "candidate": deployed(5, 600),
    "weight": 10,
    "rollout": rollout(
        5,
        phase="Held",
        step=1,
        steps=2,
        stepSince=ago(72),
        weight=10,
        actualWeight=8,
        figures=[PASSED, FEW],
    ),
    "conditions": ready(
        "False",
        "AwaitingPromotion",
        "version 5 at 10 %: to go on: kubectl modelyard promote churn",
        "Reconciling",
    ),
}
REFUSED_STATUS: Json = {
    **SERVING,
    "phase": "RolledBack",
    "refused": refused(5, 700, "AnalysisFailed", "error rate 4.2 % is above maxErrorRate 1 %", figures=[FAILED]),
    "conditions": ready("False", "RolledBack", "version 5 was taken back", "Stalled"),
}


@pytest.fixture
def site() -> Site:
    return Site()


def expect(site: Site, text: str) -> None:
    assert site.text == textwrap.dedent(text).lstrip("\n")


def test_what_serves_says_so(site: Site) -> None:
    site.create(SERVING)
    site.run_pods(4, 2, metrics(4, 1000), metrics(4, 203, 3))
    assert site.run(status, **ONCE) == 0
    expect(
        site,
        """
        churn   Serving
        model   churn-model, what is in Production
        ready   True Serving: version 4 answers with 2 of 2 pods
        url     http://churn.ml.svc/invocations

        ROLE     VERSION   WEIGHT   PODS   REQUESTS   ERRORS       P99       SINCE
        stable   4         100 %    2/2    1203       3 (0.25 %)   9.98 ms   3d2h
        """,
    )


def test_a_held_canary_shows_where_it_is_and_how_it_goes_on(site: Site) -> None:
    site.create(HELD, CANARY)
    site.run_pods(4, 2, metrics(4, 1000), metrics(4, 203))
    site.run_pods(5, 1, metrics(5, 131, 2))
    assert site.run(status, **ONCE) == 0
    expect(
        site,
        """
        churn   Held
        model   churn-model, what is in Production
        ready   False AwaitingPromotion: version 5 at 10 %: to go on: kubectl modelyard promote churn
        url     http://churn.ml.svc/invocations

        ROLE        VERSION   WEIGHT         PODS   REQUESTS   ERRORS      P99       SINCE
        stable      4         92 % of 90 %   2/2    1203       0           9.98 ms   3d2h
        candidate   5         8 % of 10 %    1/1    131        2 (1.5 %)   9.98 ms   10m

        Canary   start ✓ → analysis ✓ → 10 % held 1m12s → 50 % → 100 %

        FIGURE       FOUND   BOUND   SAMPLES   VERDICT        WHY
        error rate   0.4 %   1 %     500       Passed
        p99          –       250ms   12        Inconclusive   12 of 100 requests

        version 5 is held at 10 %: it waits for somebody
          kubectl modelyard promote churn          goes on
          kubectl modelyard promote churn --full   goes to 100 % at once
          kubectl modelyard abort churn            takes it back
        """,  # noqa: RUF001 - a dash
    )


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("version 5 at 10 %: to go on: kubectl …; version 4 stays served", "it waits for somebody"),
        ("version 5: p99: 12 of 100 requests; to go on: kubectl …", "p99: 12 of 100 requests"),
    ],
)
def test_why_a_rollout_is_held(site: Site, message: str, why: str) -> None:
    site.create({**HELD, "conditions": ready("False", "AnalysisInconclusive", message)})
    assert site.json(status, **ONCE)["held"]["why"] == why


def test_what_was_refused_says_why_and_what_to_do(site: Site) -> None:
    site.create(REFUSED_STATUS, CANARY)
    assert site.run(status, **ONCE) == 0
    lines = site.text.splitlines()
    assert "to do   Correct what the message names, then promote another version or change spec." in lines
    expect_tail = """
        ROLE      VERSION   WEIGHT   PODS   REQUESTS   ERRORS   P99   SINCE
        stable    4         100 %    2/2    –          –        –     3d2h
        refused   5         0 %      –      –          –        –     11m40s

        FIGURE       FOUND   BOUND   SAMPLES   VERDICT
        error rate   4.2 %   1 %     500       Failed

        version 5 is refused: AnalysisFailed: error rate 4.2 % is above maxErrorRate 1 %
          kubectl edit modeldeployment churn              any change of its spec tries it again
          kubectl modelyard promote churn-model VERSION   serves another one
          kubectl modelyard rollback churn                asks for the one before
        """  # noqa: RUF001 - a dash
    assert lines[6:] == textwrap.dedent(expect_tail).strip().splitlines()


def test_what_was_aborted_is_tried_again_without_its_annotation(site: Site) -> None:
    aborted = {**REFUSED_STATUS, "refused": refused(5, 700, "Aborted", "version 5 was taken back")}
    site.create(aborted, annotations={"modelyard.dev/abort": "5"}, model={"stage": "Staging"})
    assert site.run(status, **ONCE) == 0
    assert "  kubectl annotate modeldeployment churn modelyard.dev/abort-" in site.text
    assert "kubectl modelyard promote churn-model VERSION --stage staging" in site.text


def test_a_pause_and_a_version_that_drains(site: Site) -> None:
    draining = [{"version": 3, "revision": "0badcafe", "since": ago(4)}]
    site.create({**SERVING, "phase": "Paused", "draining": draining}, annotations={"modelyard.dev/paused": "true"})
    assert site.run(status, **ONCE) == 0
    rows = [line.split() for line in site.text.splitlines()]
    assert ["draining", "3", "0", "%", "–", "–", "–", "–", "4s"] in rows  # noqa: RUF001 - a dash
    assert site.text.endswith("paused: nothing of it is changed\n  kubectl modelyard resume churn   goes on\n")


def test_what_nobody_has_looked_at_yet(site: Site) -> None:
    site.create({"observedGeneration": 0}, model={"version": 2})
    assert site.run(status, **ONCE) == 0
    expect(
        site,
        """
        churn   Pending
        model   churn-model, version 2
        ready   the operator has not said anything yet
        url     http://churn.ml.svc/invocations

        the operator has not seen the newest spec yet
        """,
    )


def test_the_first_version_is_a_candidate_without_a_rollout(site: Site) -> None:
    site.create({"phase": "Pending", "candidate": deployed(1, 20)}, model={"alias": "champion"})
    site.run_pods(1, 2)
    assert site.run(status, Format.WIDE, **ONCE) == 0
    assert "churn-model, what has the alias champion" in site.text
    row = next(line.split() for line in site.text.splitlines() if line.startswith("candidate"))
    assert row[:6] == ["candidate", "1", "0", "%", "0/2", "–"]  # noqa: RUF001 - a dash
    assert row[-2:] == ["2026-05-01", "11:59:40Z"]


def test_who_may_not_read_the_metrics_gets_dashes_and_one_note(site: Site) -> None:
    def forbid(method: str, path: str) -> None:
        if "proxy" in path:
            raise ApiError(403, "Forbidden", "pods/proxy is forbidden")

    site.client._on_request = forbid
    site.create(SERVING)
    site.run_pods(4, 2, metrics(4, 1), metrics(4, 1))
    assert site.run(status, **ONCE) == 0
    assert site.text.splitlines()[-3].split()[4:] == ["2/2", "–", "–", "–", "3d2h"]  # noqa: RUF001 - a dash
    assert site.text.count("pods/proxy is forbidden") == 1


def test_who_may_not_list_gets_what_the_status_holds(site: Site) -> None:
    def forbid(method: str, path: str) -> None:
        if path.endswith(("/pods", "/deployments", "/registeredmodels/churn-model")):
            raise ApiError(403, "Forbidden", f"{path} is forbidden")

    site.create(SERVING)
    site.client._on_request = forbid
    assert site.run(status, **ONCE) == 0
    assert "stable   4         100 %    2/2    –" in site.text  # noqa: RUF001 - a dash
    assert "you may not list deployments" in site.text
    assert "you may not list pods" in site.text


def test_pods_that_do_not_answer_are_named(site: Site) -> None:
    site.create(SERVING)
    site.run_pods(4, 2, metrics(4, 7), metrics(4, 8))
    site.answer(4, 1, None)
    assert site.run(status, **ONCE) == 0
    assert "stable   4         100 %    2/2    7          0        9.98 ms" in site.text
    assert "requests are not complete: one pod gives no metrics (churn-v4-" in site.text
    site.answer(4, 0, b"<html>")
    assert site.run(status, **ONCE) == 0
    assert "requests are not complete: 2 of 2 pods give no metrics (" in site.text


def test_a_program_gets_the_same(site: Site) -> None:
    site.create(HELD, CANARY)
    site.run_pods(4, 2, metrics(4, 1000), metrics(4, 203))
    site.run_pods(5, 1, metrics(5, 131, 2))
    answer = site.json(status, **ONCE)
    assert (answer["name"], answer["namespace"], answer["phase"], answer["paused"]) == (
        "churn",
        NAMESPACE,
        "Held",
        False,
    )
    assert answer["ready"]["reason"] == "AwaitingPromotion"
    stable, candidate = answer["versions"]
    assert (stable["role"], stable["version"], stable["traffic"]["requests"]) == ("stable", 4, 1203)
    assert (candidate["weight"], candidate["wantedWeight"]) == (8, 10)
    assert candidate["traffic"] == {"requests": 131, "errors": 2, "p99Seconds": 0.00998}
    assert [figure["verdict"] for figure in answer["rollout"]["figures"]] == ["Passed", "Inconclusive"]
    assert answer["held"]["commands"][0] == "kubectl modelyard promote churn"
    assert "refused" not in answer


def test_there_has_to_be_a_deployment(site: Site) -> None:
    with pytest.raises(CliError, match="there is no model deployment 'churn' in namespace ml"):
        site.run(status, **ONCE)


@pytest.fixture
def then(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what happens while a command sleeps, one after the other; then somebody presses Ctrl-C."""

    def arrange(*events: Callable[[], None]) -> None:
        coming = list(events)

        def sleep(_: float) -> None:
            if not coming:
                raise KeyboardInterrupt
            coming.pop(0)()

        monkeypatch.setattr("modelyard.cli.status.time.sleep", sleep)

    return arrange


def test_a_watch_shows_rates_and_only_what_has_changed(
    site: Site, then: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.create(SERVING)
    site.run_pods(4, 1, metrics(4, 1000))
    moments = iter(range(100, 200, 2))
    monkeypatch.setattr("modelyard.cli.look.ask", lambda *given: replace(ask(*given), at=float(next(moments))))

    def promoted() -> None:
        site.answer(4, 0, metrics(4, 1025, 5))
        site.set_status(HELD)

    then(lambda: None, promoted)
    with pytest.raises(KeyboardInterrupt):
        site.run(status, **WATCH)
    rows = [line.split() for line in site.text.splitlines() if line.startswith("stable")]
    assert len(rows) == 2
    assert rows[0][4:7] == ["1/1", "–", "–"]  # noqa: RUF001 - a dash
    assert "12.5/s     5 (20 %)" in site.text


def test_a_watch_for_a_program_writes_a_line_for_every_change(site: Site, then: Callable[..., None]) -> None:
    site.create(SERVING)
    site.run_pods(4, 1, metrics(4, 1000))
    then(lambda: site.answer(4, 0, metrics(4, 1025)), lambda: site.set_status(HELD))
    with pytest.raises(KeyboardInterrupt):
        site.run(status, Format.JSON, **WATCH)
    assert [json.loads(line)["phase"] for line in site.text.splitlines()] == ["Serving", "Held"]


def test_a_watch_on_a_terminal_draws_in_place(
    site: Site, then: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    site.create(SERVING)
    then(lambda: None, lambda: site.set_status(HELD))
    screen = Terminal()
    with pytest.raises(KeyboardInterrupt):
        status(site.deployments, Output(Format.TABLE, screen, io.StringIO()), Namespace(deployment="churn", **WATCH))
    # Three looks, and the last of them once more at the end.
    assert screen.getvalue().count("VERSION") == 4
    assert "\x1b[1A\x1b[2K" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[?25h")


def promote_to(site: Site, version: int) -> None:
    """Let the registry say that the version is in Production."""
    body = {"apiVersion": "modelyard.dev/v1alpha1", "metadata": {"name": "churn-model", "namespace": NAMESPACE}}
    found = site.client.find(REGISTERED_MODELS, NAMESPACE, "churn-model")
    made = found or site.client.create(REGISTERED_MODELS, NAMESPACE, body, "kubectl")
    stages = {"production": {"version": version, "since": ago(1), "by": "kubectl"}}
    site.client.replace_status(REGISTERED_MODELS, {**made, "status": {"stages": stages}}, "modelyard-operator")


def test_a_wait_ends_when_the_wanted_version_is_served(site: Site, then: Callable[..., None]) -> None:
    site.create(SERVING)
    promote_to(site, 5)
    served = {**SERVING, "served": deployed(5, 0)}
    then(lambda: site.set_status(HELD), lambda: site.set_status(served))
    assert site.run(status, **WAIT) == 0
    assert "stable   5" in site.text
    assert site.err.getvalue().splitlines()[1].startswith("churn is Held: version 5 at 10 %")


def test_a_wait_ends_with_1_when_the_version_is_given_up(site: Site, then: Callable[..., None]) -> None:
    site.create(HELD)
    promote_to(site, 5)
    then(lambda: site.set_status(REFUSED_STATUS))
    assert site.run(status, **WAIT) == REFUSED
    assert "version 5 is refused: AnalysisFailed" in site.text


def test_a_wait_has_an_end(site: Site, then: Callable[..., None]) -> None:
    site.create(HELD)
    then()
    assert site.run(status, **{**WAIT, "timeout": 0.0}) == REFUSED
    assert site.err.getvalue() == "error: not settled after 0 s\n"


@pytest.mark.parametrize("form", [Format.TABLE, Format.JSON])
def test_a_watch_may_wait_as_well(site: Site, then: Callable[..., None], form: Format) -> None:
    site.create(HELD)
    then(lambda: site.set_status(SERVING))
    assert site.run(status, form, **{**WATCH, "wait": True}) == 0


@pytest.mark.parametrize(
    ("state", "target", "waited", "end"),
    [
        (SERVING, None, 0, End.SERVED),
        (SERVING, 4, 0, End.SERVED),
        (SERVING, 5, 0, End.OPEN),
        ({**SERVING, "observedGeneration": 0}, 4, 0, End.OPEN),
        ({}, 4, 0, End.OPEN),
        (HELD, 5, 0, End.OPEN),
        (REFUSED_STATUS, 5, 0, End.FAILED),
        (REFUSED_STATUS, None, 0, End.FAILED),
        (REFUSED_STATUS, 6, 0, End.OPEN),
        ({"phase": "Degraded", "candidate": deployed(5, 9)}, 5, 0, End.FAILED),
        ({"phase": "Degraded", "candidate": deployed(5, 9)}, 6, 0, End.OPEN),
        ({"phase": "Degraded", "candidate": deployed(5, 9)}, 6, 10, End.FAILED),
        ({"phase": "Degraded"}, None, 0, End.FAILED),
    ],
)
def test_when_a_wait_is_over(site: Site, state: Json, target: int | None, waited: float, end: End) -> None:
    site.create(state)
    assert settled(Look(site.deployment, NOW, {}, {}, target=target), waited) is end
