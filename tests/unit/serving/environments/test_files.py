from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard_serving.environments.files import parse, read
from modelyard_serving.errors import Reason, StartupError


def names(text: str, directory: Path = Path()) -> list[tuple[str, str | None]]:
    return [(line.text, line.name) for line in parse(text, directory)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("# nothing\n\n   \n", []),
        ("SciPy==1.5.2\nNumPy>=1.26  # why\n", [("SciPy==1.5.2", "scipy"), ("NumPy>=1.26", "numpy")]),
        ("a_b.c[x,y]~=1.0 ; python_version > '3'\n", [("a_b.c[x,y]~=1.0 ; python_version > '3'", "a-b-c")]),
        ("scipy==1.0 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n", None),
        ("--index-url https://x.test\nnumpy\n", [("--index-url https://x.test", None), ("numpy", "numpy")]),
        ("./code/thing\n", [("./code/thing", None)]),
        ("-e git+https://x.test/y.git\n", [("-e git+https://x.test/y.git", None)]),
        ("git+https://x.test/y.git@main\n", [("git+https://x.test/y.git@main", None)]),
        ("wheels/some_thing-1.2-py3-none-any.whl\n", [("wheels/some_thing-1.2-py3-none-any.whl", "some-thing")]),
        ("thing @ https://x.test/thing.zip\n", [("thing @ https://x.test/thing.zip", "thing")]),
    ],
)  # fmt: skip
def test_reads_what_pip_reads(text: str, expected: list[tuple[str, str | None]] | None) -> None:
    if expected is None:
        (line,) = parse(text)
        assert line.name == "scipy"
        assert line.text.count("--hash=sha256:") == 2
    else:
        assert names(text) == expected


def test_other_files_of_the_model_are_included(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("scipy\n")
    (tmp_path / "constraints.txt").write_text("numpy<2\n")
    text = "-r more.txt\n-c constraints.txt\nnumpy\n"
    assert names(text, tmp_path) == [
        ("scipy", "scipy"),
        (f"-c {tmp_path / 'constraints.txt'}", None),
        ("numpy", "numpy"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("numpy\nscikit-learn=1.5\n", "requirements.txt line 2: 'scikit-learn=1.5' is no requirement"),
        ("numpy\n\n\nfoo==\n", "requirements.txt line 4: 'foo=='"),
        ("a \\\n b c\n", "requirements.txt line 1:"),
        ("-r absent.txt\n", "requirements.txt line 1: 'absent.txt' is no file of the model"),
        ("-c ../../etc/passwd\n", "'../../etc/passwd' is no file of the model"),
        ("-r requirements.txt\n", "includes itself"),
    ],
)
def test_says_where_a_file_is_malformed(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text(text)
    with pytest.raises(StartupError) as raised:
        read(tmp_path)
    assert raised.value.reason is Reason.MODEL_INVALID
    assert says in raised.value.message


CONDA = "dependencies:\n- python=3.10.2\n- pip<=24\n- pip:\n  - mlflow==2.22.0\n  - numpy==1.26.4\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ([], None)),
        ({"requirements.txt": "numpy\n", "conda.yaml": CONDA}, (["numpy"], "3.10.2")),
        ({"conda.yaml": CONDA}, (["mlflow", "numpy"], "3.10.2")),
        ({"conda.yaml": CONDA, "python_env.yaml": "python: 3.11.7\n"}, (["mlflow", "numpy"], "3.11.7")),
        ({"python_env.yaml": "python: 3.11\nbuild_dependencies: [pip]\n"}, ([], "3.11")),
        ({"conda.yaml": "name: x\n"}, ([], None)),
    ],
)
def test_requirements_txt_goes_before_conda_yaml(
    files: dict[str, str], expected: tuple[list[Any], str | None], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = read(tmp_path)
    assert ([line.name for line in found.lines], found.python) == expected


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("conda.yaml", "a: [", "conda.yaml line 1"),
        ("conda.yaml", "- a\n", "conda.yaml is no YAML mapping"),
        ("conda.yaml", "dependencies: 3\n", "dependencies is no list"),
        ("conda.yaml", "dependencies: [{pip: [numpy, 3]}]\n", "conda.yaml, pip line 2: 3 is no text"),
        ("conda.yaml", "dependencies: [{pip: ['foo==']}]\n", "conda.yaml, pip line 1: 'foo=='"),
        ("python_env.yaml", "\x00", "python_env.yaml"),
    ],
)
def test_says_which_other_file_is_malformed(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(StartupError) as raised:
        read(tmp_path)
    assert says in raised.value.message
