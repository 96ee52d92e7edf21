"""The steps of the Job as processes: real uv and rattler, an index and a channel over HTTP, no network besides."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard_environments import lock
from modelyard_environments.recipe import CONDA, IMAGE, LOCK, PYTHON, Recipe
from tests.unit.environments.world import Job, conda_package, conda_python, index, indexed, served

RUNNING = platform.python_version()
OTHER = "3.9.1"
"""A Python that is neither here nor to be had."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("index")
    index(top)
    channel = top / "conda" / "forge"
    conda_python(channel)
    hello = "#!/bin/sh\necho hello of conda\n"
    conda_package(channel, "hello", "1.0", {"bin/hello": hello})
    conda_package(channel, "hello", "2.0", {"bin/hello": hello})
    conda_package(channel, "greeting", "1.0", {"etc/conda/activate.d/greeting.sh": "export GREETING=hi\n"}, "hello <2")
    indexed(channel)
    return top


@pytest.fixture(scope="module")
def url(top: Path) -> Iterator[str]:
    with served(top) as url:
        yield url


@pytest.fixture
def env(url: str) -> dict[str, str]:
    # A Python that is not here is asked for where nobody answers.
    return {
        "UV_DEFAULT_INDEX": f"{url}/simple",
        "UV_PYTHON_INSTALL_MIRROR": f"{url}/no-pythons",
        "CONDA_CHANNEL_ALIAS": f"{url}/conda",
    }


def built(tmp_path: Path, recipe: Recipe, env: dict[str, str]) -> Job:
    job = Job(tmp_path, recipe, env)
    if recipe.kind == CONDA or "# conda: " in recipe.files.get("lock", ""):
        done = job.step("conda")
        assert done.code == 0, done.said
    done = job.step("build")
    assert done.code == 0, done.said
    return job


def test_builds_what_python_env_asks_for_and_locks_it_with_hashes(
    tmp_path: Path, env: dict[str, str], top: Path
) -> None:
    recipe = Recipe(
        PYTHON, requirements=("-r more/r.txt",), files={"more/r.txt": "pear\n-c c.txt", "more/c.txt": "apple<2"}
    )
    job = built(tmp_path, recipe, env)
    assert (job.told["archived"], job.told["python"], job.told["message"]) == (True, RUNNING, "")
    assert job.program("python -c 'import pear, apple; print(pear.VERSION, apple.VERSION)'") == "1.0 1.0"
    locked = lock.read(job.lock)
    digest = hashlib.sha256((top / "files" / "apple-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    assert f"apple==1.0 --hash=sha256:{digest}" in locked.packages
    assert {each.split("==")[0] for each in locked.packages} == {"apple", "pear", "pip"}
    assert (job.told["packages"], locked.python) == (3, RUNNING)


def test_an_environment_of_a_lock_has_exactly_its_packages(tmp_path: Path, env: dict[str, str]) -> None:
    first = built(tmp_path / "first", Recipe(PYTHON, requirements=("pear", "apple<2")), env)
    again = built(tmp_path / "again", Recipe(LOCK, files={"lock": first.lock}, origin="the run"), env)
    assert again.lock == first.lock
    assert again.program("python -c 'import apple; print(apple.VERSION)'") == "1.0"


def test_a_lock_with_another_hash_is_refused(tmp_path: Path, env: dict[str, str]) -> None:
    text = f"{lock.FIRST_LINE}\n# python: {RUNNING}\napple==1.0 --hash=sha256:{'0' * 64}\n"
    job = Job(tmp_path, Recipe(LOCK, files={"lock": text}, origin="the run"), env)
    done = job.step("build")
    assert done.code == 1
    assert "Hash mismatch" in done.said


def test_a_lock_of_another_python_is_refused_where_that_cannot_be_had(tmp_path: Path, env: dict[str, str]) -> None:
    text = f"{lock.FIRST_LINE}\n# python: {OTHER}\napple==1.0\n"
    done = Job(tmp_path, Recipe(LOCK, files={"lock": text}, origin="the run"), env).step("build")
    assert done.code == 1
    assert f"the run has Python {OTHER}. Python {OTHER} is left out" in done.said


def test_nothing_is_built_where_the_image_has_it_all(tmp_path: Path, env: dict[str, str]) -> None:
    job = built(tmp_path, Recipe(PYTHON, python=RUNNING, requirements=("pytest", "boto3>=1")), env)
    assert not job.told["archived"]
    assert job.told["message"] == ""
    assert f"pytest=={pytest.__version__}" in lock.read(job.lock).packages
    assert [path.name for path in job.root.iterdir() if path.name != ".modelyard-cache"] == []


def test_without_an_environment_the_images_packages_are_told(tmp_path: Path, env: dict[str, str]) -> None:
    project = tmp_path / "project"
    (project / "code").mkdir(parents=True)
    (project / "MLproject").write_text("name: baked in")
    (project / "code" / "train.py").write_text("print()")
    job = built(tmp_path / "job", Recipe(IMAGE, directory=str(project)), env)
    assert not job.told["archived"]
    assert job.told["directory"] == {"paths": ["MLproject", "code/train.py"], "texts": {"MLproject": "name: baked in"}}
    assert f"pytest=={pytest.__version__}" in lock.read(job.lock).packages


def test_a_python_that_cannot_be_had_is_left_out_and_named(tmp_path: Path, env: dict[str, str]) -> None:
    job = built(tmp_path, Recipe(PYTHON, python=OTHER, requirements=("apple==1.0",)), env)
    assert job.told["python"] == RUNNING
    assert job.told["message"].startswith(f"Python {OTHER} is left out, Python {RUNNING} of the image is used (")
    assert job.program("python -c 'import apple; print(apple.VERSION)'") == "1.0"


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("apple==3.0", "no version of apple==3.0"),
        ("plum", "plum was not found in the package registry"),
        ("apple=1", "apple=1"),
    ],
)
def test_a_failure_is_told_in_uvs_own_words(tmp_path: Path, env: dict[str, str], requirement: str, words: str) -> None:
    done = Job(tmp_path, Recipe(PYTHON, requirements=(requirement,)), env).step("build")
    assert done.code == 1
    assert words in done.said


def test_conda_packages_are_solved_and_pips_part_goes_beside_them(
    tmp_path: Path, env: dict[str, str], url: str
) -> None:
    minor = RUNNING.rpartition(".")[0]
    recipe = Recipe(
        CONDA,
        python=minor,
        requirements=("pear",),
        channels=("forge",),
        packages=(f"python={minor}", "greeting"),
        origin="conda.yaml",
    )
    job = built(tmp_path / "first", recipe, env)
    assert (job.told["archived"], job.told["message"]) == (True, "")
    assert job.program("hello; echo $GREETING") == "hello of conda\nhi"
    assert job.program("python -c 'import apple, sys; print(apple.VERSION, sys.prefix)'") == f"2.0 {job.root}"
    locked = lock.read(job.lock)
    assert sorted(each.rpartition("/")[2].partition("-0.tar")[0] for each in locked.conda) == [
        "greeting-1.0",
        "hello-1.0",
        f"python-{RUNNING}",
    ]
    assert {each.split("==")[0] for each in locked.packages} == {"apple", "pear"}
    again = built(tmp_path / "again", Recipe(LOCK, files={"lock": job.lock}, origin="the run"), env)
    assert again.lock == job.lock
    assert again.program("hello; python -c 'import apple; print(apple.VERSION)'") == "hello of conda\n2.0"


def test_conda_packages_that_do_not_go_together_are_a_failure(tmp_path: Path, env: dict[str, str]) -> None:
    recipe = Recipe(CONDA, channels=("forge",), packages=("greeting", "hello=2"), origin="conda.yaml")
    done = Job(tmp_path, recipe, env).step("conda")
    assert done.code == 1
    assert "greeting" in done.said
    assert "hello" in done.said


def test_where_no_channel_can_be_reached_pips_part_is_installed_and_the_rest_is_named(
    tmp_path: Path, env: dict[str, str]
) -> None:
    recipe = Recipe(
        CONDA,
        python=OTHER,
        requirements=("apple==1.0",),
        channels=("conda-forge", "defaults"),
        packages=(f"python={OTHER}", "pip", "numpy>=2", "conda-forge::hello"),
        origin="conda.yaml",
    )
    job = built(tmp_path, recipe, {**env, "CONDA_CHANNEL_ALIAS": "http://127.0.0.1:9"})
    said = job.told["message"]
    assert said.startswith("conda-forge and defaults cannot be reached (")
    assert "numpy>=2, conda-forge::hello left out; what pip installs is installed" in said
    assert f"Python {OTHER} is left out, Python {RUNNING} of the image is used" in said
    assert job.program("python -c 'import apple; print(apple.VERSION)'") == "1.0"


def test_a_broken_recipe_and_wrong_arguments_are_named(tmp_path: Path, env: dict[str, str]) -> None:
    job = Job(tmp_path, Recipe(IMAGE), env)
    assert job.step("bake").code == 2
    (job.work / "recipe.json").write_text("{}")
    done = job.step("build")
    assert done.code == 1
    assert "is no recipe" in done.said
    assert sys.executable not in done.said
