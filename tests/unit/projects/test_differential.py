"""The same projects and parameters, read by MLflow's own code and by ours: one command, or one refusal."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.projects import _project_spec
from mlflow.tracking import artifact_utils
from mlflow.utils.validation import _validate_param

from modelyard.api.project_files import Directory
from modelyard.projects.command import downloaded_name, invoke
from modelyard.projects.mlproject import ProjectError, parse
from tests.unit.projects.differences import ABSENT, DIFFERENCES, Case, Difference, Outcome

DOCS = Path(__file__).parents[3] / "docs/projects.md"

names = st.sampled_from(["x", "y", "data", "learning.rate", "a b", 1, "n-1"])
values = st.sampled_from(
    [
        "1",
        "0.5",
        "-3",
        "a b",
        "it's",
        "$(id)",
        "`id`",
        '"',
        "\\",
        "",
        "é",
        "a\nb",
        "--x",
        "data.csv",
        "raw",
        "raw/a.csv",
        "no.csv",
        "../data.csv",
        "file:data.csv",
        "s3://bucket/a b.csv",
        "https://h/d",
        "gs://b/k",
        "models:/m/1",
        "x:y",
        "http://[x",
    ]
)
types = st.sampled_from(["string", "float", "int", "path", "path", "uri", "str", "bool", 3, None])
defaults = st.one_of(values, st.sampled_from([3, 0.1, True, 1e-7, [1, "a"], {"a": 1}, None]))
parameters: st.SearchStrategy[Any] = st.one_of(
    types.filter(lambda kind: isinstance(kind, str)),
    st.fixed_dictionaries({}, optional={"type": types, "default": defaults}),
    st.sampled_from([None, [], 3]),
)
texts = st.lists(
    st.sampled_from(
        [
            "python t.py",
            " ",
            "{x}",
            "{y}",
            "{data}",
            ' "{x}"',
            " '{y}'",
            "--x={x}",
            " -d {data} ",
            "{{",
            "}}",
            "{{x}}",
            "{",
            "}",
            "{}",
            "{0}",
            "{1}",
            "{x!r}",
            "{x!s}",
            "{x:>4}",
            "{x.real}",
            "{learning.rate}",
            "{a b}",
            "{n-1}",
            "{other}",
            " | wc -l",
            " && ",
            " $",
            " `echo {x}`",
            " \\",
            "\n",
            " # ",
            " $(cat {data})",
        ]
    ),
    min_size=1,
    max_size=6,
).map("".join)
commands = st.one_of(texts, texts, texts, st.sampled_from([None, 3, "", ["a"]]))
entries = st.one_of(
    st.fixed_dictionaries(
        {"command": commands}, optional={"parameters": st.dictionaries(names, parameters, max_size=4)}
    ),
    st.sampled_from([{}, {"command": "a {x}", "parameters": None}, {"command": "a", "parameters": ["x"]}, None, "a"]),
)
environments = st.fixed_dictionaries(
    {},
    optional={
        "conda_env": st.sampled_from(["conda.yaml", "env/e.yaml", "./conda.yaml", "no.yaml", "env", "", None, 3]),
        "python_env": st.sampled_from(["python_env.yaml", "no.yaml", None]),
        "docker_env": st.one_of(
            st.fixed_dictionaries(
                {},
                optional={
                    "image": st.sampled_from(["a:1", "", 3]),
                    "volumes": st.sampled_from([["/a:/b"], ["a:/b:ro"], "/a:/b", [3], ["a:b"], []]),
                    "environment": st.sampled_from([["A"], [["A", "b"]], [["A"]], {"A": "b"}, [3], ["A=b"]]),
                },
            ),
            st.sampled_from([None, "a", {"image": "a"}]),
        ),
    },
)
valid = st.builds(
    lambda command, declared: {"entry_points": {"main": {"command": command, "parameters": declared}}},
    texts,
    st.dictionaries(st.sampled_from(["x", "y", "data"]), parameters, max_size=3),
)
documents = st.one_of(
    valid,
    valid,
    st.builds(
        lambda environment, rest: environment | rest,
        environments,
        st.fixed_dictionaries(
            {},
            optional={
                "name": st.sampled_from(["p", 3]),
                "entry_points": st.one_of(st.dictionaries(st.just("main"), entries), st.sampled_from([None, ["main"]])),
            },
        ),
    ),
    st.sampled_from([ABSENT, None, [], "text", {"databricks_spark_job": {"python_file": "a.py"}}]),
)
FILES = ["t.py", "src/t.sh", "fit.R", "data.csv", "raw/a.csv", "conda.yaml", "env/e.yaml", "python_env.yaml", "{x}.py"]
given_values = st.dictionaries(
    st.sampled_from(["x", "y", "data", "extra", "k'", "learning.rate", "1"]), values, max_size=4
)
scripts = ["t.py", "src/t.sh", "./t.py", "fit.R", "no.py", "a b.R", "-c.py", "{x}.py", "other", ".py"]
any_cases = st.builds(
    lambda files, document, entry_point, found: Case(files, document, entry_point, dict(sorted(found.items()))),
    st.frozensets(st.sampled_from(FILES)),
    documents,
    st.sampled_from(["main"] * 8 + scripts),
    given_values,
)
# Most of what is drawn above is refused; these declare what their commands use, and are given most of it.
kinds = st.sampled_from(["string", "string", "string", "path", "uri", "str", "float"])
sound = st.lists(
    st.sampled_from(
        [
            " {x}",
            " {y}",
            " -d {data}",
            " --x={x}",
            ' "{x}"',
            " '{y}'",
            ' "{x} and {y}"',
            " && u {x}",
            " | grep {y}",
            " $(cat {data})",
            " # {x}",
            "{{}}",
            "\n",
            " `echo {x}`",
        ]
    ),
    max_size=5,
)
sound_cases = st.builds(
    lambda parts, x, y, data, found, more, files: Case(
        frozenset(files),
        {"entry_points": {"main": {"command": f"t{''.join(parts)}", "parameters": {"x": x, "y": y, "data": data}}}},
        "main",
        dict(sorted({**found, **more}.items())),
    ),
    sound,
    st.fixed_dictionaries({"type": kinds}, optional={"default": defaults}),
    kinds,
    st.sampled_from([{"type": "path", "default": "data.csv"}, {"type": "path"}, "uri"]),
    st.fixed_dictionaries({"x": values, "y": values}, optional={"data": values}),
    st.dictionaries(st.sampled_from(["extra", "more"]), values),
    st.sampled_from([["data.csv", "raw/a.csv"], ["data.csv"]]),
)
cases = st.one_of(any_cases, sound_cases)
# Without the explanation of a failure, which takes longest.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)


@contextmanager
def laid_out(case: Case) -> Iterator[tuple[Path, Path]]:
    """Write the project's files; give its directory, which is the working directory then, and one for downloads."""
    before = Path.cwd()
    top = Path(tempfile.mkdtemp())
    directory, storage = top / "project", top / "storage"
    storage.mkdir()
    try:
        for name in case.files:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text("")
        directory.mkdir(exist_ok=True)
        if case.document is not ABSENT:
            (directory / "MLproject").write_text(yaml.safe_dump(case.document))
        os.chdir(directory)
        yield directory, storage
    finally:
        os.chdir(before)
        shutil.rmtree(top)


def by_mlflow(case: Case, directory: Path, storage: Path) -> Outcome:
    """What `mlflow run` does up to the moment when it starts bash, less the download itself."""

    def download(artifact_uri: str, output_path: str) -> str:
        return f"{output_path}/{downloaded_name(artifact_uri)}"

    patched = mock.patch.object(artifact_utils, "_download_artifact_from_uri", download)
    try:
        with patched, mock.patch.dict(os.environ, {"SHELL": "bash"}):
            project = _project_spec.load_project(str(directory))  # type: ignore[no-untyped-call]
            entry_point = project.get_entry_point(case.entry_point)
            # The run is made first, with the parameters as they are given.
            for logged in entry_point.compute_parameters(case.given, storage_dir=None):
                for name, value in logged.items():
                    _validate_param(name, value)  # type: ignore[no-untyped-call]
            command = entry_point.compute_command(case.given, str(storage))
    except MlflowException as error:
        return Outcome(refusal=str(error).replace(f"{directory}/", ""))
    except Exception as error:
        return Outcome(refusal=repr(error), crashed=True)
    return Outcome(command)


def by_modelyard(case: Case, directory: Path, storage: Path) -> Outcome:
    paths = case.files | ({"MLproject"} if case.document is not ABSENT else frozenset())
    texts = {"MLproject": yaml.safe_dump(case.document)} if case.document is not ABSENT else {}
    try:
        entry_point = parse(Directory(paths, texts)).entry_point(case.entry_point)
        return Outcome(invoke(entry_point, case.given, str(directory), str(storage)).command)
    except ProjectError as error:
        return Outcome(refusal=str(error))


def both(case: Case) -> tuple[Outcome, Outcome]:
    """What a project is to MLflow, and to Modelyard."""
    with laid_out(case) as (directory, storage):
        return by_mlflow(case, directory, storage), by_modelyard(case, directory, storage)


def agree(theirs: Outcome, ours: Outcome) -> bool:
    if theirs.crashed or ours.command != theirs.command:
        return False
    # A set's order is any, and an undeclared parameter's name is quoted for the shell there before it is judged.
    wording = re.sub(r"fields: \{.*", "fields:", theirs.refusal).rstrip(".")
    wording = re.sub(r"^Invalid value .* for parameter 'key'", "for parameter 'key'", wording)
    return ours.command is not None or wording in ours.refusal


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(cases)
def test_a_project_is_what_it_is_to_mlflow(case: Case) -> None:
    theirs, ours = both(case)
    if agree(theirs, ours):
        event("the same command" if ours.command else "the same refusal")
        return
    found = next((difference for difference in DIFFERENCES if difference.applies(case, theirs, ours)), None)
    assert found is not None, f"\nMLflow: {theirs}\nours:   {ours}"
    event(found.what)


def main(command: Any, **declared: Any) -> dict[str, Any]:
    return {"entry_points": {"main": {"command": command, "parameters": declared}}}


def project(document: Any, entry_point: str = "main", files: tuple[str, ...] = (), /, **values: str) -> Case:
    return Case(frozenset(files), document, entry_point, values)


SAME = [
    project(main("t {n} {x}", n={"type": "int", "default": 3}, x="float"), x="1e-3"),
    project(main("t {x} && u {x}", x={"default": "it's $(id)"})),
    project(main("t {x!s} '{{y}}' \"{x:s}\"", x={"default": True})),
    project(main("t {x}", x={"default": [1, "a"]})),
    project(main("t {d}", d="path"), "main", ("data.csv",), d="data.csv"),
    project(main("t {d}", d="path"), "main", ("raw/a.csv",), d="file:raw"),
    project(main("t {a} {d}", a={"default": 1}, d="path"), d="s3://bucket/raw/a.csv"),
    project(main("t {d}", d="path"), d="no.csv"),
    project(main("t {u}", u="uri"), u="gs://bucket/a b"),
    project(main("t {u}", u="uri"), u="plain"),
    project(main("t"), a="1", b="a b"),
    project(main("t", x="string")),
    project(main("t {y}", x={"default": 1}), "no"),
    project(ABSENT, "src/t.sh", ("src/t.sh",), a="$(id)"),
    project(ABSENT, "fit.R", ("fit.R",), a="1"),
    project(ABSENT, "main", ("t.py",)),
    project(main("t") | {"conda_env": "no.yaml"}),
    project(main("t") | {"python_env": "no.yaml"}),
    project(main("t") | {"conda_env": "conda.yaml", "python_env": "python_env.yaml"}),
    project(main("t") | {"docker_env": {"volumes": ["a:/b"]}}),
    project(main("t") | {"docker_env": {"image": "a", "volumes": "a:/b"}}),
    project(main("t") | {"docker_env": {"image": "a", "environment": {"A": "b"}}}),
]


@pytest.mark.parametrize("case", SAME, ids=[f"{number}: {case.entry_point}" for number, case in enumerate(SAME)])
def test_commands_and_refusals_are_mlflows(case: Case) -> None:
    theirs, ours = both(case)
    assert agree(theirs, ours), f"\nMLflow: {theirs}\nours:   {ours}"


OTHER = [
    project(main("t {n}", n="int"), n="1.5"),
    project(main('t "{x}"', x="string"), x="$(id)"),
    project(main("t `{x}`", x="string"), x="a b"),
    project(main("t {x!r}", x="string"), x="a"),
    Case(frozenset(), main("t {learning.rate}", **{"learning.rate": "float"}), "main", {"learning.rate": "1"}),
    project(main("t\n"), a="1"),
    project(None, "t.py", ("t.py",)),
    project({"entry_points": ["main"]}),
    project(main(" ")),
    project(main("t {d}", d={"type": "uri", "default": 3})),
    project(ABSENT, "t.py"),
    project(ABSENT, "{x}.py", ("{x}.py",)),
    project(ABSENT, "a b.R", ("a b.R",)),
    project(main("t") | {"conda_env": "env"}, "main", ("env/e.yaml",)),
    project(main("t {d}", d="path"), d="../no.csv"),
    project(main("t {d}", d="path"), d=""),
    project(main("t {d}", d="path"), d="gs://bucket/a"),
    project(main("t") | {"docker_env": {"image": "a", "volumes": ["a:b"]}}),
    project(main("t {x}", x="string"), x="a" * 6001),
    project(main("t {x}", x={"default": [1] * 1001})),
    project({"databricks_spark_job": {"python_file": "a.py"}}),
]


@pytest.mark.parametrize(
    ("case", "difference"), list(zip(OTHER, DIFFERENCES, strict=True)), ids=[each.what[:40] for each in DIFFERENCES]
)
def test_every_difference_is_one(case: Case, difference: Difference) -> None:
    theirs, ours = both(case)
    assert not agree(theirs, ours)
    assert difference.applies(case, theirs, ours), f"\nMLflow: {theirs}\nours:   {ours}"


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.what[:40])
def test_the_documentation_has_every_difference(difference: Difference) -> None:
    row = " | ".join(text.replace("|", "\\|") for text in (difference.what, difference.mlflow, difference.here))
    assert f"| {row} |" in DOCS.read_text()
