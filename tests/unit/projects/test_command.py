from __future__ import annotations

import subprocess

import pytest

from modelyard.api.reasons import Reason
from modelyard.projects.command import Download, copied_variables, invoke
from modelyard.projects.mlproject import EntryPoint, Environment, EnvironmentKind, Parameter, ProjectError


def entry_point(command: str, *parameters: Parameter, files: frozenset[str] | None = None) -> EntryPoint:
    return EntryPoint("train", command, {parameter.name: parameter for parameter in parameters}, files)


TREES = Parameter("n_estimators", "int", "100")
RATE = Parameter("learning_rate", "float")
NOTE = Parameter("note", "string", "plain")
DATA = Parameter("data", "path", "data.csv")


def test_values_and_defaults_fill_the_command() -> None:
    found = invoke(
        entry_point("python t.py -n {n_estimators} -r {learning_rate}", TREES, RATE), {"learning_rate": "1e-3"}
    )
    assert found.command == "python t.py -n 100 -r 1e-3"
    assert found.parameters == {"n_estimators": "100", "learning_rate": "1e-3"}


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "$(reboot)",
        "`reboot`",
        "$HOME",
        "'; rm -rf / #",
        '"',
        "it's",
        "{x}",
        "ü 漢",
        "",
        "a\nb\n",
        "-x",
        "--",
        "\\",
    ],
)
def test_values_reach_the_program_as_they_are(value: str) -> None:
    command = "printf '%s\\0' {note} \"{note}\" '{note}' --note={note}"
    found = invoke(entry_point(command, NOTE), {"note": value, "extra name": value})
    ran = subprocess.run(["bash", "-c", found.command], capture_output=True, check=True)
    assert ran.stdout.decode().split("\0") == [
        *(value, value, value, f"--note={value}"),
        *("--extra name", value, ""),
    ]
    assert found.parameters == {"note": value, "extra name": value}


def test_undeclared_parameters_are_appended_and_logged() -> None:
    found = invoke(entry_point("python t.py"), {"b": "2", "a": "1"})
    assert found.command == "python t.py --a 1 --b 2"
    assert found.parameters == {"a": "1", "b": "2"}


def test_undeclared_parameters_stay_with_the_command_of_a_block() -> None:
    assert invoke(entry_point("python t.py\n"), {"a": "1"}).command == "python t.py --a 1"


def test_doubled_braces_are_single_ones() -> None:
    assert invoke(entry_point("awk '{{print $1}}' {note}", NOTE), {}).command == "awk '{print $1}' plain"


@pytest.mark.parametrize(
    ("parameters", "given", "message"),
    [
        ([RATE], {}, "No value given for missing parameters: 'learning_rate'"),
        ([RATE, Parameter("x")], {}, "No value given for missing parameters: 'learning_rate', 'x'"),
        ([RATE], {}, "Set them in spec.parameters or spec.sweep.parameters"),
        ([TREES], {"n_estimators": "many"}, "Expected int for parameter n_estimators but got 'many'"),
        ([TREES], {"n_estimators": "1.5"}, "Expected int for parameter n_estimators but got '1.5'"),
        ([TREES], {"n_estimators": ""}, "Expected int for parameter n_estimators but got ''"),
        ([TREES], {"n_estimators": "1_0"}, "Expected int for parameter n_estimators but got '1_0'"),
        ([RATE], {"learning_rate": "fast"}, "Expected float for parameter learning_rate but got 'fast'"),
        ([RATE], {"learning_rate": "1,5"}, "Expected float for parameter learning_rate but got '1,5'"),
        ([Parameter("u", "uri")], {"u": "plain"}, "Expected URI for parameter u but got plain"),
        ([Parameter("u", "uri")], {"u": "http://[x"}, "Expected URI for parameter u but got http://[x: Invalid IPv6"),
        ([DATA], {"data": "gs://bucket/x"}, "gs: cannot be fetched; http, https, s3, runs, models"),
        ([DATA], {"data": ""}, "Got value  for parameter data, but no such file or directory was found"),
        ([], {"a\nb": "1"}, "Names may only contain alphanumerics"),
        ([], {"../x": "1"}, "Names may only contain alphanumerics"),
        ([], {"x": "a\0b"}, "The value of parameter x has a NUL character"),
        ([], {"x": "a" * 6001}, "length 6001, which exceeds MLflow's limit of 6000"),
    ],
)
def test_a_missing_or_ill_typed_parameter_is_refused(
    parameters: list[Parameter], given: dict[str, str], message: str
) -> None:
    with pytest.raises(ProjectError) as caught:
        invoke(entry_point("true", *parameters), given)
    assert caught.value.reason is Reason.PARAMETER_INVALID
    assert message in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-3", "+7", "007"])
def test_an_int_is_digits(value: str) -> None:
    assert invoke(entry_point("t {n_estimators}", TREES), {"n_estimators": value}).command == f"t {value}"


@pytest.mark.parametrize("value", ["1", "-.5", "1.", "1e-3", "2.5E+10", "inf", "-Infinity", "nan"])
def test_a_float_is_a_number(value: str) -> None:
    assert invoke(entry_point("t {learning_rate}", RATE), {"learning_rate": value}).command == f"t {value}"


@pytest.mark.parametrize("kind", ["string", "str", "something", "Int"])
def test_other_types_take_any_value(kind: str) -> None:
    assert invoke(entry_point("t {x}", Parameter("x", kind)), {"x": "s3://bucket/a"}).command == "t s3://bucket/a"


@pytest.mark.parametrize(
    "command", ["t {other}", "t {note:>999999999}", "t {note!r}", "t {note.__class__}", "t {note[0]}", "t {", "t {}"]
)
def test_a_command_takes_nothing_but_its_parameters(command: str) -> None:
    with pytest.raises(ProjectError, match=r"entry_points\.train\.command cannot be filled in") as caught:
        invoke(entry_point(command, NOTE), {})
    assert caught.value.reason is Reason.PROJECT_INVALID


def test_a_format_that_changes_nothing_is_none() -> None:
    assert invoke(entry_point("t {note!s} {note:s}", NOTE), {}).command == "t plain plain"


def test_a_place_where_the_shell_would_evaluate_a_value_names_the_parameter() -> None:
    with pytest.raises(ProjectError, match=r"with parameter note: it stands in backquotes.*the value 'a b'") as caught:
        invoke(entry_point("t {n_estimators} `echo {note}`", TREES, NOTE), {"note": "a b"})
    assert caught.value.reason is Reason.PARAMETER_INVALID


def test_a_command_that_is_too_long_for_an_argument_is_refused() -> None:
    given = {f"p{index}": "a" * 6000 for index in range(22)}
    with pytest.raises(ProjectError, match="would be longer than 128 KiB"):
        invoke(entry_point("t"), given)


FILES = frozenset({"data.csv", "raw/a.csv", "linked"})


@pytest.mark.parametrize(
    ("value", "path", "checked"),
    [
        ("data.csv", "/workspace/data.csv", True),
        ("./raw/../data.csv", "/workspace/data.csv", True),
        ("raw", "/workspace/raw", True),
        (".", "/workspace", True),
        ("file:///workspace/raw", "/workspace/raw", True),
        ("raw%2Fa.csv", "/workspace/raw/a.csv", True),
        ("linked/b.csv", "/workspace/linked/b.csv", True),
        ("/data/b.csv", "/data/b.csv", False),
        ("../b.csv", "/b.csv", False),
        ("mount/b.csv", "/workspace/mount/b.csv", False),
    ],
)
def test_a_path_of_the_project_is_absolute_in_the_command_and_logged_as_given(
    value: str, path: str, checked: bool
) -> None:
    found = invoke(entry_point("t {data}", DATA, files=FILES), {"data": value}, mounted=["/workspace/mount"])
    assert found.command == f"t {path}"
    assert found.parameters == {"data": value}
    assert found.paths == ((path,) if checked else ())
    assert found.downloads == ()


def test_a_path_that_the_project_does_not_have_is_refused() -> None:
    message = "Got value raw/b.csv for parameter data, but no such file or directory was found"
    with pytest.raises(ProjectError, match=message):
        invoke(entry_point("t {data}", DATA, files=FILES), {"data": "raw/b.csv"})
    assert invoke(entry_point("t {data}", DATA), {"data": "raw/b.csv"}).paths == ("/workspace/raw/b.csv",)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://bucket/some/data.csv", "data.csv"),
        ("s3://bucket/some/", "some"),
        ("s3://bucket", "data"),
        ("https://example.org/a%20b.csv?x=1", "a%20b.csv"),
        ("runs:/0123/model", "model"),
        ("models:/churn@champion", "churn@champion"),
        ("mlflow-artifacts:/1/2/artifacts/x.txt", "x.txt"),
        ("http://example.org/..", "data"),
    ],
)
def test_a_path_that_is_a_uri_is_fetched_to_a_place_of_its_own(uri: str, name: str) -> None:
    found = invoke(entry_point("t {note} {data}", NOTE, DATA, files=FILES), {"data": uri})
    assert found.downloads == (Download("data", uri, "/workspace-data/param_1"),)
    assert found.command == f"t plain /workspace-data/param_1/{name}"
    assert found.parameters["data"] == uri
    assert found.paths == ()


def test_a_uri_is_given_as_it_is() -> None:
    found = invoke(entry_point("t {u}", Parameter("u", "uri")), {"u": "gs://bucket/a b"})
    assert (found.command, found.downloads) == ("t 'gs://bucket/a b'", ())


def test_variables_are_given_or_copied() -> None:
    environment = Environment(EnvironmentKind.DOCKER, image="i", docker_environment=(("A", "1"), ("B", None)))
    assert copied_variables(environment, {"B": "2", "C": "3"}) == {"A": "1", "B": "2"}
    with pytest.raises(ProjectError, match=r"expects the A, B environment variables .* but B was not set"):
        copied_variables(environment, {})
