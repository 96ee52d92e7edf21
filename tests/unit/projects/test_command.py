from __future__ import annotations

import shlex

import pytest

from modelyard.api.reasons import Reason
from modelyard.projects.command import invoke
from modelyard.projects.mlproject import EntryPoint, Parameter, ProjectError


def entry_point(command: str, *parameters: Parameter) -> EntryPoint:
    return EntryPoint("train", command, {parameter.name: parameter for parameter in parameters})


TREES = Parameter("n_estimators", "int", "100")
RATE = Parameter("learning_rate", "float")
DATA = Parameter("data", "path", "data.csv")


def test_values_and_defaults_fill_the_command() -> None:
    found = invoke(
        entry_point("python t.py -n {n_estimators} -r {learning_rate}", TREES, RATE), {"learning_rate": "1e-3"}
    )
    assert found.command == "python t.py -n 100 -r 1e-3"
    assert found.parameters == {"n_estimators": "100", "learning_rate": "1e-3"}


@pytest.mark.parametrize("value", ["a b", "$(reboot)", "'; rm -rf / #", "{x}", "ü", ""])
def test_values_reach_the_program_as_they_are(value: str) -> None:
    command = invoke(entry_point("python t.py --data {data}", DATA), {"data": value, "extra": value}).command
    assert shlex.split(command) == ["python", "t.py", "--data", value, "--extra", value]


def test_undeclared_parameters_are_appended_and_logged() -> None:
    found = invoke(entry_point("python t.py"), {"b": "2", "a": "1"})
    assert found.command == "python t.py --a 1 --b 2"
    assert found.parameters == {"a": "1", "b": "2"}


def test_doubled_braces_are_single_ones() -> None:
    assert invoke(entry_point("awk '{{print}}' {data}", DATA), {}).command == "awk '{print}' data.csv"


@pytest.mark.parametrize(
    ("parameters", "given", "message"),
    [
        ([RATE], {}, "No value given for missing parameters: 'learning_rate'"),
        ([RATE, Parameter("x")], {}, "No value given for missing parameters: 'learning_rate', 'x'"),
        ([TREES], {"n_estimators": "many"}, "Expected int for parameter n_estimators but got 'many'"),
        ([TREES], {"n_estimators": "1.5"}, "Expected int for parameter n_estimators but got '1.5'"),
        ([TREES], {"n_estimators": ""}, "Expected int for parameter n_estimators but got ''"),
        ([RATE], {"learning_rate": "fast"}, "Expected float for parameter learning_rate but got 'fast'"),
        ([Parameter("u", "uri")], {"u": "plain"}, "Expected URI for parameter u but got plain"),
    ],
)
def test_a_missing_or_ill_typed_parameter_is_refused(
    parameters: list[Parameter], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        invoke(entry_point("true", *parameters), given)
    assert caught.value.reason is Reason.PARAMETER_INVALID
    assert str(caught.value) == message


@pytest.mark.parametrize("kind", ["string", "str", "path", "something"])
def test_other_types_take_any_value(kind: str) -> None:
    assert invoke(entry_point("t {x}", Parameter("x", kind)), {"x": "s3://bucket/a"}).command == "t s3://bucket/a"


@pytest.mark.parametrize(
    "command", ["t {other}", "t {data:>999999999}", "t {data!r}", "t {data.__class__}", "t {", "t {}"]
)
def test_a_command_takes_nothing_but_its_parameters(command: str) -> None:
    with pytest.raises(ProjectError, match=r"entry_points\.train\.command cannot be filled in") as caught:
        invoke(entry_point(command, DATA), {})
    assert caught.value.reason is Reason.PROJECT_INVALID
