"""`runs` on experiments in every state, compared with what a person reads."""

from __future__ import annotations

import io
import json
import re
import textwrap
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest

from modelyard.cli.errors import REFUSED, USAGE, CliError
from modelyard.cli.output import Format, Output
from modelyard.cli.runs import runs
from modelyard.decide.experiment_model import MADE_BY_TAG, RunStatus
from modelyard.tracking.client import TrackingUnreachable
from tests.unit.cli.experiments import EXECUTION, PROJECT, RUNNING, SPEC, SWEEP, Json, Lab, Terminal, ago, condition

ONCE: dict[str, Any] = {"watch": False, "once": False, "all": False, "execution": None}
WATCH: dict[str, Any] = {**ONCE, "watch": True}
DONE: Json = {
    **RUNNING,
    "finishedAt": ago(60),
    "runs": {"total": 8, "succeeded": 6, "failed": 1, "stopped": 1},
    "conditions": condition("True", "Completed", "6 trials succeeded; best is 5 with f1_score 0.9321"),
}


@pytest.fixture
def lab() -> Lab:
    return Lab()


def expect(lab: Lab, text: str) -> None:
    assert lab.text == textwrap.dedent(text).lstrip("\n")


def on_terminal(lab: Lab, monkeypatch: pytest.MonkeyPatch, columns: int, rows: int, **given: Any) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    screen = Terminal()
    runs(
        lab.experiments, Output(Format.TABLE, screen, io.StringIO()), Namespace(experiment="churn", **{**ONCE, **given})
    )
    return screen.getvalue()


def test_a_sweep_that_runs(lab: Lab) -> None:
    lab.sweep()
    assert lab.run(runs, **ONCE) == 0
    expect(lab, RUNNING_PICTURE)


def test_a_low_terminal_gets_what_matters_most(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn again and again has to fit, or it would run away."""
    monkeypatch.setenv("NO_COLOR", "1")
    lab.sweep()
    monkeypatch.setattr("modelyard.cli.runs.time.sleep", lambda _: lab.set_status(DONE))
    screen = on_terminal(lab, monkeypatch, 80, 24)
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.split("\x1b[2K")[0])
    assert len(drawn.splitlines()) <= 24
    assert max(map(len, drawn.splitlines())) <= 80
    assert "█" in drawn
    assert "●" in drawn
    assert "5 ★" in drawn
    assert "\x1b[3" not in screen


def test_once_nothing_is_cut_off_that_somebody_may_want_to_copy(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.sweep()
    lab.set_status(DONE)
    shown = on_terminal(lab, monkeypatch, 40, 24, once=True)
    assert "kubectl modelyard reproduce churn/best" in shown
    assert "could not convert string to float" in shown


def test_what_has_ended_says_what_came_of_it_and_what_to_do_next(lab: Lab) -> None:
    lab.sweep()
    registered = {"model": "churn-model", "version": 3, "runId": f"{5:032x}"}
    lab.set_status({**DONE, "registered": registered})
    assert lab.run(runs, **ONCE) == 0
    lines = lab.text.splitlines()
    assert lines[0] == "churn   Succeeded in 11m4s"
    assert "state         Completed: 6 trials succeeded; best is 5 with f1_score 0.9321" in lines
    assert "registered    version 3 of churn-model" in lines
    assert [line.split("   ")[0].strip() for line in lines[-2:]] == [
        "kubectl modelyard promote churn-model 3",
        "kubectl modelyard reproduce churn/best",
    ]


def test_what_failed_says_what_to_do_and_where_the_log_is(lab: Lab) -> None:
    lab.sweep()
    lab.set_status({**DONE, "conditions": condition("False", "TrialsFailed", "2 of 8 trials failed")})
    assert lab.run(runs, **ONCE) == 0
    lines = lab.text.splitlines()
    assert any(line.startswith("to do         ") for line in lines)
    assert f"  modelyard/log.txt of run {2:032x}   the log of trial 2, in MLflow" in lines
    assert any(line.startswith("  kubectl modelyard run churn ") for line in lines)


def test_a_tracking_server_out_of_reach_leaves_what_the_status_holds(lab: Lab) -> None:
    lab.sweep()
    best = {"runId": "b", "name": "depth=7", "parameters": {"depth": "7", "rate": "0.1"}}
    board = [{"runId": "b", "name": "depth=7", "value": "0.9321"}, {"runId": "c", "name": "depth=3", "value": "0.86"}]
    failures = [{"name": "depth=4", "runId": "d", "reason": "ProgramFailed", "message": "exit code 1"}]
    lab.set_status({**RUNNING, "bestRun": best, "leaderboard": board, "failures": failures})
    lab.unreachable = "no Service of the tracking server was found"
    assert lab.run(runs, **ONCE) == 0
    expect(lab, STATUS_PICTURE)


def test_a_tracking_server_that_breaks_off_is_no_end_either(lab: Lab) -> None:
    lab.sweep()

    def fail(_method: str, _what: str) -> None:
        raise TrackingUnreachable("UNREACHABLE", "the tracking server does not answer")

    lab.tracking._on_request = fail
    assert lab.run(runs, **ONCE) == 0
    assert "only what the status holds is shown: the tracking server does not answer" in lab.text


def test_one_run_has_neither_a_bar_nor_a_curve(lab: Lab) -> None:
    lab.create({**RUNNING, "runs": {"total": 1, "running": 1}}, {k: v for k, v in SPEC.items() if k != "sweep"})
    lab.trial(0, ended=None, name="churn-3f1c2ab9", swept={})
    assert lab.run(runs, **ONCE) == 0
    expect(
        lab,
        """
        churn   Running for 12m4s
        execution     3f1c2ab9, begun by its spec
        project       https://git.example/ml/churn.git at 3f1c2ab9d0e1, entry point train
        environment   87 packages, lock 4f53cda18c2b

        TRIAL   STATE     f1_score   TIME
        0       Running   –          10m

          kubectl modelyard runs churn --watch   goes on looking
        """,  # noqa: RUF001 - a dash
    )


def test_an_experiment_that_runs_again_and_again_shows_all_of_its_runs(lab: Lab) -> None:
    lab.create(DONE, {"project": PROJECT, "objective": SPEC["objective"], "schedule": "0 3 * * 1"})
    for number, value in enumerate((0.7, 0.8, 0.75)):
        lab.trial(
            0,
            value,
            execution=f"e{number}",
            run_id=f"{number:032x}",
            swept={},
            parameters={"depth": str(number)},
            began=900 - 300 * number,
            ended=800 - 300 * number,
        )
    assert lab.run(runs, **ONCE) == 0
    rows = [line.split() for line in lab.text.splitlines()]
    assert ["TRIAL", "STATE", "f1_score", "TIME", "depth"] in rows
    assert ["1", "★", "Succeeded", "0.8", "1m40s", "1"] in rows
    assert "█" in lab.text


def test_runs_that_others_log_are_shown_as_well(lab: Lab) -> None:
    following = {"experimentId": "1", "conditions": condition("Unknown", "Following", "2 runs")}
    lab.create(following, {"objective": {"metric": "mse", "goal": "Minimize"}})
    lab.log("a1", name="notebook", ended=10, metrics={"mse": 3.0}, parameters={"lr": "0.1", "same": "x"})
    lab.log("a2", name="other", ended=5, metrics={"mse": 2.0}, parameters={"lr": "0.2", "same": "x"})
    lab.log("a3", name="not-mine", ended=5, metrics={"mse": 1.0}, tags={"modelyard.dev/experiment": "ml/another"})
    assert lab.run(runs, **ONCE) == 0
    rows = [line.split() for line in lab.text.splitlines()]
    assert "project       none: it follows the runs that others log" in lab.text
    assert ["1", "★", "Succeeded", "2", "9m55s", "0.2"] in rows
    assert ["TRIAL", "STATE", "mse", "TIME", "lr"] in rows
    assert "not-mine" not in lab.text


def test_without_an_objective_the_first_metrics_are_shown(lab: Lab) -> None:
    lab.create(DONE, {key: value for key, value in SPEC.items() if key != "objective"})
    metrics = {"system/cpu": 9.0, "a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    lab.trial(0, metrics=metrics)
    lab.trial(1, metrics=metrics)
    assert lab.run(runs, **ONCE) == 0
    assert ["TRIAL", "STATE", "TIME", "a", "b", "c", "depth", "rate"] in [
        line.split() for line in lab.text.splitlines()
    ]


def test_runs_that_a_program_makes_count_for_their_trial(lab: Lab) -> None:
    lab.create(RUNNING)
    lab.trial(0, 0.5)
    tags = {"modelyard.dev/experiment": "ml/churn", "modelyard.dev/execution": EXECUTION}
    for name, value in (("forest", 0.9), ("boosting", 0.8)):
        lab.log(name, ended=1, metrics={"f1_score": value}, tags={**tags, MADE_BY_TAG: f"{0:032x}"})
    trials = lab.json(runs, **ONCE)["trials"]
    assert [(trial["number"], trial["value"]) for trial in trials] == [(0, 0.9)]


def test_a_program_gets_the_same(lab: Lab) -> None:
    lab.sweep()
    found = lab.json(runs, **ONCE)
    assert (found["name"], found["namespace"], found["state"], found["execution"]) == (
        "churn",
        "ml",
        "Running",
        EXECUTION,
    )
    assert found["runs"]["total"] == 8
    assert found["best"] == {
        "number": 5,
        "name": f"{5:032x}",
        "runId": f"{5:032x}",
        "state": "Succeeded",
        "value": 0.9321,
        "parameters": {"depth": "7", "rate": "0.051"},
        "metrics": {"f1_score": 0.9321},
        "seconds": 40.0,
        "best": True,
    }
    assert [trial["state"] for trial in found["trials"]] == [
        "Succeeded",
        "Succeeded",
        "Failed",
        "Succeeded",
        "Stopped",
        "Succeeded",
        "Running",
    ]
    assert found["trials"][2]["why"].startswith("ProgramFailed: exit code 1")


def test_json_has_no_number_that_json_has_not(lab: Lab) -> None:
    lab.create(RUNNING)
    lab.trial(0, float("nan"))
    trial = lab.json(runs, **ONCE)["trials"][0]
    assert trial["metrics"] == {"f1_score": "nan"}
    assert trial["why"] == "no f1_score that can be compared"
    json.dumps(trial, allow_nan=False)


def test_a_table_has_room_for_some_of_every_state_and_all_where_that_is_wanted(lab: Lab) -> None:
    lab.create({**RUNNING, "runs": {"total": 40, "succeeded": 30, "failed": 4, "running": 6}})
    for index in range(40):
        if index < 30:
            lab.trial(index, index / 100)
        elif index < 34:
            lab.trial(index, outcome=("ProgramFailed", f"exit code {index}"))
        else:
            lab.trial(index, ended=None)
    assert lab.run(runs, **ONCE) == 0
    rows = lab.text.partition("TRIAL")[2].partition("more trials")[0].splitlines()[1:-1]
    states = [line.replace("★", "").split()[1] for line in rows]
    assert {state: states.count(state) for state in states} == {"Succeeded": 7, "Running": 3, "Failed": 2}
    assert "28 more trials: --all" in lab.text
    assert "1 more that failed or were stopped: --all" in lab.text
    assert lab.run(runs, **{**ONCE, "all": True}) == 0
    assert "more" not in lab.text
    assert all(f"trial {index} failed: ProgramFailed: exit code {index}" in lab.text for index in range(30, 34))


def test_parameters_without_room_are_counted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"parameter_{letter}" for letter in "abcdefgh"]
    parameters = {name: {"values": ["1", "2"]} for name in names}
    lab.create(DONE, {**SPEC, "sweep": {**SWEEP, "algorithm": "Grid", "parameters": parameters}})
    lab.trial(0, 0.5, swept=dict.fromkeys(names, "0.123456789012345"))
    shown = on_terminal(lab, monkeypatch, 80, 40, once=True)
    assert "parameter_c" in shown
    assert "parameter_d" not in shown
    assert "5 more columns: a wider terminal, or a pipe" in shown
    assert lab.run(runs, **ONCE) == 0
    assert "parameter_h" in lab.text
    assert "0.123457" in lab.text


def test_wide_has_the_runs_ids(lab: Lab) -> None:
    lab.sweep()
    assert lab.run(runs, Format.WIDE, **ONCE) == 0
    assert f"{5:032x}" in lab.text


@pytest.mark.parametrize(
    ("spec", "status", "said"),
    [
        (SPEC, None, "churn   Pending"),
        (SPEC, {}, "the operator has not said anything yet"),
        (
            {**SPEC, "suspend": True},
            {"conditions": condition("Unknown", "Suspended", "nothing runs")},
            "churn   Suspended",
        ),
        ({**SPEC, "suspend": True}, RUNNING, "kubectl modelyard resume churn"),
        (
            SPEC,
            {**RUNNING, "conditions": condition("Unknown", "EnvironmentBuilding", "87 %")},
            "EnvironmentBuilding: 87 %",
        ),
        (SPEC, {"conditions": condition("Unknown", "ProjectUnreachable", "timeout")}, "churn   Waiting"),
        (SPEC, {**RUNNING, "observedGeneration": 0}, "the operator has not seen the newest spec yet"),
        (
            SPEC,
            {**RUNNING, "trigger": {"kind": "Schedule", "value": "2026-05-01T03:00:00Z"}},
            "begun by the schedule 2026-05",
        ),
        ({**SPEC, "project": {"configMap": {"name": "files"}}}, RUNNING, "ConfigMap files, entry point train"),
        ({**SPEC, "project": {"s3": {"uri": "s3://bucket/churn"}}}, RUNNING, "s3://bucket/churn, entry point"),
        ({**SPEC, "project": {"image": {"path": "/opt/p"}}}, RUNNING, "/opt/p of the image, entry point"),
        ({**SPEC, "project": {"run": {"id": "f" * 32}}}, RUNNING, f"what run {'f' * 32} ran, entry point"),
    ],
)
def test_what_is_said_of_other_states(lab: Lab, spec: Json, status: Json | None, said: str) -> None:
    lab.create(status, spec)
    assert lab.run(runs, **ONCE) == 0
    assert said in lab.text


def test_an_execution_of_before(lab: Lab) -> None:
    lab.sweep()
    before = {"id": "aaaabbbb", "runs": {"total": 2, "succeeded": 2}}
    lab.set_status({**RUNNING, "executions": [before]})
    lab.trial(0, 0.5, execution="aaaabbbb", run_id="c" * 32)
    lab.trial(1, 0.6, execution="aaaabbbb", run_id="d" * 32)
    found = lab.json(runs, **{**ONCE, "execution": "aaaabbbb"})
    assert (found["execution"], found["runs"]["total"], found["best"]["runId"]) == ("aaaabbbb", 2, "d" * 32)
    message = lab.refused(runs, **{**ONCE, "execution": "00000000"})
    assert message == f"churn has no execution 00000000: there are {EXECUTION}, aaaabbbb"


def test_there_has_to_be_an_experiment(lab: Lab) -> None:
    assert lab.refused(runs, **ONCE).startswith("there is no experiment 'churn' in namespace ml (there is none;")
    lab.create(name="fraud")
    assert "(there are fraud; -n names another one)" in lab.refused(runs, **ONCE)


def test_watching_and_looking_once_contradict_each_other(lab: Lab) -> None:
    lab.create(RUNNING)
    with pytest.raises(CliError) as ended:
        lab.run(runs, **{**WATCH, "once": True})
    assert ended.value.code == USAGE


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say what happens while a command sleeps, one after the other; then somebody presses Ctrl-C."""

    def arrange(*events: Callable[[], None]) -> None:
        coming = list(events)

        def sleep(_: float) -> None:
            if not coming:
                raise KeyboardInterrupt
            coming.pop(0)()

        monkeypatch.setattr("modelyard.cli.runs.time.sleep", sleep)

    return arrange


def test_a_watch_in_a_pipe_says_what_has_changed_and_shows_the_end(lab: Lab, then: Callable[..., None]) -> None:
    lab.sweep()
    more = {**RUNNING, "runs": {"total": 8, "running": 1, "succeeded": 5, "failed": 1, "stopped": 1}}
    then(lambda: None, lambda: lab.set_status(more), lambda: lab.set_status(DONE))
    assert lab.run(runs, **WATCH) == 0
    assert lab.notes == [
        "churn is Running: 6 of 8 trials ended, 1 running, 1 failed, best f1_score 0.9321",
        "churn is Running: 7 of 8 trials ended, 1 running, 1 failed, best f1_score 0.9321",
        "churn is Succeeded: 8 of 8 trials ended, 0 running, 1 failed, best f1_score 0.9321",
    ]
    assert lab.text.startswith("churn   Succeeded in 11m4s\n")
    assert lab.text.count("new best") == 1


def test_a_watch_ends_with_1_where_the_experiment_fails(lab: Lab, then: Callable[..., None]) -> None:
    lab.sweep()
    then(lambda: lab.set_status({**DONE, "conditions": condition("False", "TrialsFailed", "2 of 8 trials failed")}))
    assert lab.run(runs, **WATCH) == REFUSED


def test_a_watch_for_a_program_writes_a_line_for_every_change(lab: Lab, then: Callable[..., None]) -> None:
    lab.sweep()
    then(lambda: None, lambda: None, lambda: lab.set_status(DONE))
    assert lab.run(runs, Format.JSON, **WATCH) == 0
    assert [json.loads(line)["state"] for line in lab.text.splitlines()] == ["Running", "Succeeded"]


def test_on_a_terminal_it_is_live_until_the_end(
    lab: Lab, then: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.sweep()
    then(lambda: None, lambda: lab.set_status(DONE))
    monkeypatch.delenv("NO_COLOR", raising=False)
    screen = on_terminal(lab, monkeypatch, 100, 40)
    # Three looks, and at the end the whole.
    assert screen.count("TRIAL") == 4
    assert "\x1b[1A\x1b[2K" in screen
    assert "\x1b[32m" in screen
    assert screen.rstrip().endswith("runs the best again, and compares\x1b[0m")


def test_on_a_terminal_it_looks_once_where_nothing_moves(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.sweep()
    for status in (DONE, {**RUNNING, "conditions": condition("Unknown", "Suspended", "no trial is started")}):
        lab.set_status(status)
        assert "\x1b[1A" not in on_terminal(lab, monkeypatch, 100, 40)


def test_a_killed_run_that_nobody_judged_is_a_failure(lab: Lab) -> None:
    lab.create(RUNNING)
    lab.trial(0, status=RunStatus.KILLED)
    lab.trial(1, job="", ended=None)
    assert [trial["state"] for trial in lab.json(runs, **ONCE)["trials"]] == ["Failed", "Pending"]


RUNNING_PICTURE = """
churn   Running for 12m4s
execution     3f1c2ab9, begun by its spec
project       https://git.example/ml/churn.git at 3f1c2ab9d0e1, entry point train
environment   87 packages, lock 4f53cda18c2b

█████████████████████████▓▓▓▓▓▓╳╳╳╳╳╳╳▒▒▒▒▒▒░░░░░░  6 of 8 ended, about 1m to go
4 succeeded   1 stopped early   1 failed   1 running   1 to come

f1_score, maximized                                         best 0.9321: trial 5
     │                              ●
     │                              ┃
0.90 ┤                              ┃
     │                              ┃
     │                              ┃
0.85 ┤      ●━━━━━━━━━━━━━━━━━━━━━━━┛
     │      ┃           •
     │      ┃
0.80 ┤●━━━━━┛
     │                        ◦
     └┴───────────×───────────┴───────────▸──────
      0           2           4           6
      ● new best   • trial   ◦ stopped early   × failed   ▸ running

TRIAL   STATE       f1_score   TIME   depth   rate
5 ★     Succeeded   0.9321     40s    7       0.051
1       Succeeded   0.86       40s    3       0.011
3       Succeeded   0.84       40s    5       0.031
0       Succeeded   0.81       40s    2       0.001
6       Running     –          4m     8       0.061
2       Failed      –          40s    4       0.021
4       Stopped     0.79       40s    6       0.041

trial 4 stopped early: at step 5 its f1_score 0.79 is below the median 0.84 of 3 others
trial 2 failed: ProgramFailed: exit code 1: ValueError: could not convert string to float

  kubectl modelyard runs churn --watch   goes on looking
"""  # noqa: RUF001 - as it is drawn
STATUS_PICTURE = """
churn   Running for 12m4s
execution     3f1c2ab9, begun by its spec
project       https://git.example/ml/churn.git at 3f1c2ab9d0e1, entry point train
environment   87 packages, lock 4f53cda18c2b

█████████████████████████████████▓▓▓▓▓▓▓▓╳╳╳╳╳╳╳╳╳▒▒▒▒▒▒▒▒░░░░░░░░  6 of 8 ended
4 succeeded   1 stopped early   1 failed   1 running   1 to come

RUN         STATE       f1_score   TIME   depth   rate
depth=7 ★   Succeeded   0.9321     –      7       0.1
depth=3     Succeeded   0.86       –
depth=4     Failed      –          –

depth=4 failed: ProgramFailed: exit code 1

only what the status holds is shown: no Service of the tracking server was found

  kubectl modelyard runs churn --watch   goes on looking
"""  # noqa: RUF001 - as it is drawn
