"""Recipes, locks, options and last words: plain texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard_environments import folder, lock
from modelyard_environments.conda import channels
from modelyard_environments.lock import Lock, LockInvalid, hashed
from modelyard_environments.recipe import CONDA, PYTHON, Recipe, RecipeInvalid
from modelyard_environments.running import last_words, uv_environment

WHOLE = Recipe(
    CONDA,
    python="3.10",
    build=("pip==24.0",),
    requirements=("-r r.txt", "numpy"),
    files={"env/r.txt": "pandas"},
    folder="env",
    channels=("conda-forge",),
    packages=("python=3.10",),
    origin="env/conda.yaml",
)


def test_a_recipe_is_read_as_it_was_written() -> None:
    assert Recipe.from_json(WHOLE.to_json()) == WHOLE
    assert Recipe.from_json(WHOLE.to_json()).digest == WHOLE.digest


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 0}', '{"format": 1, "kind": "image"}'])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid):
        Recipe.from_json(text)


def test_a_lock_is_read_as_it_was_written() -> None:
    whole = Lock("3.12.8", ("https://x/python-3.tar.bz2#sha256:00",), ("numpy==2.0 --hash=sha256:11", "-f https://x"))
    assert lock.read(whole.to_text()) == whole


@pytest.mark.parametrize("text", ["", "numpy==1\n", f"{lock.FIRST_LINE}\nnumpy==1\n"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(LockInvalid):
        lock.read(text)


def test_each_package_with_hashes_becomes_one_line() -> None:
    text = "# made by\n-i https://x\nnumpy==2.0 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\npip==24.0\n"
    assert hashed(text) == ("numpy==2.0 --hash=sha256:1 --hash=sha256:2", "pip==24.0")


def test_files_lie_where_the_lines_name_them(tmp_path: Path) -> None:
    where = folder.write(WHOLE, tmp_path)
    assert where == tmp_path / "env"
    assert (where / "r.txt").read_text() == "pandas"
    assert (where / folder.REQUIREMENTS).read_text() == "-r r.txt\nnumpy\n"
    assert (where / folder.BUILD).read_text() == "pip==24.0\n"


def test_options_of_all_files_are_found_and_secret_ones_stay_out_of_locks() -> None:
    lines = ("--extra-index-url https://a/simple  # ours", "numpy", "--only-binary :all:")
    files = {"r.txt": "-f https://me:word@b/\n--index-url=https://${TOKEN}@c/\n-force\n"}
    recipe = Recipe(PYTHON, requirements=lines, files=files)
    shown = ("--extra-index-url https://a/simple", "--only-binary :all:")
    assert folder.options(recipe) == (*shown, "-f https://me:word@b/", "--index-url=https://${TOKEN}@c/")
    assert folder.open_options(recipe) == shown


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([], ""),
        (["one", "", "two", ""], "two"),
        (["Resolved", "error: it failed", "  cause: why"], "error: it failed cause: why"),
        (["error: it", "  cause: a", "  cause: b", "  cause: c"], "error: it cause: c"),
        (["  \N{MULTIPLICATION SIGN} No solution found", "  ╰─▶ Because a"], "No solution found Because a"),
        (["error: at https://me:word@host/simple"], "error: at https://host/simple"),
    ],
)
def test_the_last_words_tell_why(said: list[str], words: str) -> None:
    assert last_words(said) == words


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ({"PIP_INDEX_URL": "https://a"}, "https://a"),
        ({"PIP_INDEX_URL": "https://a", "UV_DEFAULT_INDEX": "https://b"}, "https://b"),
        ({"PIP_INDEX_URL": "https://a", "UV_INDEX": "https://b"}, None),
    ],
)
def test_pips_variables_are_heeded_where_uv_has_none(given: dict[str, str], index: str | None) -> None:
    assert uv_environment(given).get("UV_DEFAULT_INDEX") == index


@pytest.mark.parametrize(
    ("names", "alias", "urls"),
    [
        (["conda-forge"], "https://conda.anaconda.org", ["https://conda.anaconda.org/conda-forge"]),
        (["conda-forge", "nodefaults"], "https://mine/", ["https://mine/conda-forge"]),
        (["defaults"], "https://mine", ["https://mine/defaults"]),
        (
            ["defaults"],
            "https://conda.anaconda.org",
            ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"],
        ),
        (["https://x/y/", "https://x/y"], "https://mine", ["https://x/y"]),
    ],
)
def test_channels_have_urls(names: list[str], alias: str, urls: list[str]) -> None:
    assert channels(names, alias) == urls
