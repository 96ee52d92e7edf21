from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cluster.cli import environment_lines, external_kubeconfig


@pytest.fixture(autouse=True)
def directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MODELYARD_STATE", str(tmp_path / "it's a state"))
    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path / "a $cache"))
    return tmp_path


def shell_value(lines: list[str], name: str) -> str:
    script = "\n".join([*lines, f'printf %s "${name}"'])
    return subprocess.run(["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True).stdout


def test_a_shell_reads_the_lines_as_they_were_meant_whatever_the_paths_hold(directories: Path) -> None:
    lines = environment_lines({"PATH": "/a dir:/b"})
    assert shell_value(lines, "KUBECONFIG") == f"{directories}/it's a state/admin.kubeconfig"
    assert shell_value(lines, "PATH") == f"{directories}/a $cache/bin:/a dir:/b"
    assert shell_value(lines, "MLFLOW_TRACKING_URI") == "http://127.0.0.1:30500"


def test_a_second_time_does_not_lengthen_the_path(directories: Path) -> None:
    path = f"{directories}/a $cache/bin:/b"
    assert shell_value(environment_lines({"PATH": path}), "PATH") == path


def test_a_cluster_of_the_users_own_is_named_and_its_tracking_server_is_the_users_to_name() -> None:
    lines = environment_lines({"KUBECONFIG": "/home/me/config", "PATH": "/b"})
    assert shell_value(lines, "KUBECONFIG") == "/home/me/config"
    assert "MLFLOW_TRACKING_URI" not in "\n".join(lines)
    given = environment_lines({"KUBECONFIG": "/home/me/config", "PATH": "/b", "MLFLOW_TRACKING_URI": "https://mlflow"})
    assert shell_value(given, "MLFLOW_TRACKING_URI") == "https://mlflow"


def test_a_kubeconfig_in_the_environment_is_the_cluster_to_use_unless_the_local_one_is_asked_for() -> None:
    assert external_kubeconfig({"KUBECONFIG": "/home/me/config"}) == "/home/me/config"
    assert external_kubeconfig({"KUBECONFIG": "/home/me/config", "MODELYARD_CLUSTER": "local"}) is None
    assert external_kubeconfig({"KUBECONFIG": ""}) is None
    assert external_kubeconfig({}) is None


def test_the_local_clusters_own_kubeconfig_is_the_local_cluster(directories: Path) -> None:
    assert external_kubeconfig({"KUBECONFIG": f"{directories}/it's a state/admin.kubeconfig"}) is None
