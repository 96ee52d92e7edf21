from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.api.project_files import GitFiles, ImageFiles, KeptFiles, ProjectFiles, from_json
from modelyard.desired.project_files import Fetching, fetching
from modelyard.projects.command import Download

GIT = GitFiles("https://git.example/churn.git", "a" * 40, "sub", secret="deploy")
KEPT = KeptFiles("s3://models/team/projects/x.tar.gz", "b" * 64, "configmap:churn")
IMAGE = ImageFiles("/opt/churn")
DATA = Download("data", "s3://bucket/data.csv", "/workspace-data/param_0")
PAGE = Download("page", "https://example.com/page", "/workspace-data/param_1")
READER = [{"secretRef": {"name": "modelyard-artifacts-reader"}}]


@dataclass(frozen=True)
class Images:
    trial: str = "trial:1"
    fetch: str = "operator:1"
    pull_policy: str = "Always"


def built(files: ProjectFiles, *downloads: Download, paths: tuple[str, ...] = ()) -> Fetching:
    return fetching(files, downloads, paths, Images(), "http://tracking:5000")


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"]}


@pytest.mark.parametrize("files", [GIT, KEPT])
def test_the_operators_image_fetches_what_one_variable_says(files: ProjectFiles) -> None:
    made = built(files)
    assert [container["name"] for container in made.containers] == ["project"]
    assert made.container["image"] == "operator:1"
    assert made.container["command"] == ["python", "-m", "modelyard.sources.fetch"]
    assert from_json(variables(made.container)["MODELYARD_PROJECT"]) == files
    assert "MODELYARD_PARAMETERS" not in variables(made.container)
    assert made.mounts == ({"name": "modelyard-workspace", "mountPath": "/workspace"},)


def test_the_secret_of_a_repository_is_mounted_where_it_is_fetched_and_nowhere_else() -> None:
    made = built(GIT, PAGE)
    assert {"name": "modelyard-git", "mountPath": "/modelyard/git", "readOnly": True} in made.container["volumeMounts"]
    assert {"name": "modelyard-git", "secret": {"secretName": "deploy", "defaultMode": 0o440}} in made.volumes
    assert all(mount["name"] != "modelyard-git" for mount in made.mounts)
    assert "secret" not in json.dumps(built(KEPT).volumes)


@pytest.mark.parametrize(
    ("files", "downloads", "reads"),
    [
        (KEPT, (), True),
        (GIT, (), False),
        (GIT, (PAGE,), False),
        (GIT, (DATA,), True),
        (GIT, (Download("model", "models:/churn/1", "/workspace-data/param_0"),), True),
    ],
)
def test_the_stores_credentials_are_there_where_something_is_read_from_it(
    files: ProjectFiles, downloads: tuple[Download, ...], reads: bool
) -> None:
    assert built(files, *downloads).container.get("envFrom") == (READER if reads else None)


def test_parameters_have_a_volume_that_the_program_sees() -> None:
    made = built(GIT, DATA, PAGE, paths=("/workspace/data.csv",))
    given = variables(made.container)
    assert json.loads(given["MODELYARD_PARAMETERS"]) == {
        "downloads": [
            {"name": "data", "uri": "s3://bucket/data.csv", "directory": "/workspace-data/param_0"},
            {"name": "page", "uri": "https://example.com/page", "directory": "/workspace-data/param_1"},
        ],
        "paths": ["/workspace/data.csv"],
    }
    assert given["MLFLOW_TRACKING_URI"] == "http://tracking:5000"
    assert [mount["mountPath"] for mount in made.mounts] == ["/workspace", "/workspace-data"]
    assert {volume["name"] for volume in made.volumes} >= {mount["name"] for mount in made.mounts}


def test_a_directory_of_an_image_is_copied_in_that_image() -> None:
    made = built(IMAGE, paths=("/workspace/data.csv",))
    assert [container["image"] for container in made.containers] == ["trial:1"]
    assert made.container["command"][3:] == ["project", "/opt/churn", "/workspace/data.csv"]
    assert [container["image"] for container in built(IMAGE, DATA).containers] == ["trial:1", "operator:1"]


@pytest.mark.parametrize("files", [GIT, KEPT, IMAGE])
def test_every_container_is_restricted_and_every_mount_has_its_volume(files: ProjectFiles) -> None:
    made = built(files, DATA)
    names = {volume["name"] for volume in made.volumes}
    for container in made.containers:
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"]["memory"]
        assert {mount["name"] for mount in container["volumeMounts"]} <= names
    assert all(name.startswith("modelyard-") for name in names)


def copied(directory: Path, tmp_path: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    """Run the copying as a pod would, with its directories below `tmp_path`."""
    # The kubelet makes one of two dollar signs.
    made = built(ImageFiles(str(directory)), paths=paths).container["command"]
    command = [part.replace("$$", "$") for part in made]
    command[2] = command[2].replace("/workspace", str(tmp_path)).replace("/dev/termination-log", f"{tmp_path}-log")
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_copies_can_be_written_by_the_group(tmp_path: Path) -> None:
    source, workspace = tmp_path / "source", tmp_path / "workspace"
    (source / "nested").mkdir(parents=True)
    workspace.mkdir()
    (source / ".env").write_text("x")
    (source / "nested/train.py").write_text("print(1)")
    (source / "nested/train.py").chmod(0o444)
    assert copied(source, workspace).returncode == 0
    assert (workspace / ".env").read_text() == "x"
    assert (workspace / "nested/train.py").stat().st_mode & 0o777 == 0o664
    assert (workspace / "nested").stat().st_mode & 0o070 == 0o070


@pytest.mark.parametrize(
    ("missing", "paths", "said"),
    [
        (True, (), "spec.project.image.path: the image has no directory"),
        (False, ("/nowhere/x.csv",), "Got value /nowhere/x.csv for a path parameter, but no such file"),
    ],
)
def test_what_an_image_lacks_is_told_in_one_line(
    tmp_path: Path, missing: bool, paths: tuple[str, ...], said: str
) -> None:
    source, workspace = tmp_path / "source", tmp_path / "workspace"
    workspace.mkdir()
    if not missing:
        source.mkdir()
    assert copied(source, workspace, *paths).returncode == 1
    log = Path(f"{workspace}-log").read_text()
    assert said in log
    assert len(log.splitlines()) == 1
