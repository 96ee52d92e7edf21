"""`modelyard` and `kubectl modelyard` on a real API server and a real MinIO, with the operator's own process."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli.__main__ import main
from modelyard.cli.errors import ALTERED, REFUSED
from tests.e2e.operator_process import run_operator
from tests.e2e.processes import program, wait_until
from tests.e2e.registry_fixtures import Cluster, api_server, minio, own_cluster

__all__ = ["api_server", "minio", "own_cluster"]

pytestmark = pytest.mark.timeout(600)

QUALITY = {"name": "quality", "metric": "f1_score", "min": "0.85"}
STAGED = {"name": "was-staged", "fromStage": "staging"}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[str]:
        """Each line, with one space where there are several."""
        return [" ".join(line.split()) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Site:
    """A model whose versions Git declares: 1 and 2 are good, 3 is not. Commands read the artifact store."""

    cluster: Cluster
    name: str

    def run(self, command: str, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([command, self.name, "--kubeconfig", str(self.cluster.kubeconfig), *arguments])
        return Done(code, out.getvalue(), err.getvalue())

    def record(self, sequence: int) -> str:
        """The key of a record in the store."""
        return f"registry/default/{self.name}/log/{sequence:08d}.json"


@pytest.fixture(scope="module")
def operator(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with run_operator(own_cluster, tmp_path_factory.mktemp("operator")):
        yield


@pytest.fixture
def site(own_cluster: Cluster, operator: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    settings = own_cluster.minio.settings
    for name, value in own_cluster.minio.writer.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MODELYARD_ARTIFACT_STORE", settings.artifact_store)
    monkeypatch.setenv("MODELYARD_S3_ENDPOINT", str(settings.s3_endpoint))
    monkeypatch.setenv("MODELYARD_GIT_MANAGERS", ",".join(settings.git_managers))
    made = Site(own_cluster, f"cli-{uuid.uuid4().hex[:8]}")
    scores = {1: "0.91", 2: "0.93", 3: "0.71"}
    declared = [
        {
            "version": version,
            "source": own_cluster.put_model(f"{made.name}-{version}", str(version).encode()),
            "metrics": {"f1_score": score},
        }
        for version, score in scores.items()
    ]
    own_cluster.apply(made.name, {"versions": declared, "gates": {"production": [QUALITY]}}, "argocd-controller")
    wait_until("three versions", lambda: own_cluster.model(made.name).status.latest_version == 3)
    yield made
    own_cluster.kubectl("delete", "registeredmodel", made.name)


def test_a_model_is_promoted_refused_and_its_history_read(site: Site) -> None:
    done = site.run("promote", "1")
    assert done.code == 0, done.err
    assert done.rows[0] == f"version 1 of {site.name} is in Production"
    assert re.fullmatch(r"Passed quality .*0\.91.*0\.85.*", done.rows[2])
    assert site.run("promote", "2", "--stage", "staging").code == 0

    refused = site.run("promote", "3")
    assert refused.code == REFUSED
    assert refused.rows[0] == f"version 3 of {site.name} is refused in Production"
    assert re.fullmatch(r"Failed quality .*0\.71.*0\.85.*", refused.rows[2])
    assert site.run("promote", "2").code == 0

    history = site.run("history")
    assert history.code == 0, history.err
    moves = [row.split()[3:] for row in history.rows[1:]]
    assert [move[:3] for move in moves if move[2] != "Archived"] == [
        ["1", "None", "Production"],
        ["2", "None", "Staging"],
        ["3", "Production", "refused"],
        ["2", "Staging", "Production"],
    ]
    assert "kubectl-modelyard" in history.out
    assert re.search(r"Failed quality: .*0\.71", history.out)
    assert "every one as it was written" in history.err


def test_what_was_in_production_then(site: Site) -> None:
    assert site.run("promote", "1").code == 0
    first = site.cluster.model(site.name).status.stages["production"].since
    assert site.run("promote", "2").code == 0
    second = site.cluster.model(site.name).status.stages["production"].since
    for moment, version in ((first, 1), (second, 2)):
        answer = site.run("history", "--at", moment, "--stage", "production", "-o", "json").json
        assert answer["stages"]["production"]["version"] == version
        assert answer["stages"]["production"]["gates"][0]["verdict"] == "Passed"
    table = site.run("history", "--at", "2026-01-01").rows
    assert table[1:] == ["Production none", "Staging none"]


def test_the_object_may_be_gone(site: Site) -> None:
    assert site.run("promote", "1").code == 0
    site.cluster.kubectl("delete", "registeredmodel", site.name)
    assert any("1 None Production kubectl-modelyard" in row for row in site.run("history").rows)
    verified = site.run("verify")
    assert verified.code == 0
    assert "the object is gone" in verified.out
    site.cluster.apply(site.name, {"description": "again"}, "argocd-controller")


def test_a_record_that_is_altered_or_removed_is_named(site: Site) -> None:
    assert site.run("promote", "1").code == 0
    assert site.run("verify", "--artifacts").code == 0
    store, key = site.cluster.store, site.record(2)
    kept = store.get(key).data
    store.put(key, kept.replace(b"0.93", b"0.99"))
    for command in ("history", "verify", "versions"):
        altered = site.run(command)
        assert (altered.code, altered.out) == (ALTERED, "")
        assert "record 2 was altered or replaced" in altered.err
    site.cluster.s3.delete_object(
        Bucket=site.cluster.minio.settings.bucket, Key=f"{site.cluster.minio.settings.prefix}/{key}"
    )
    assert "record 2 is missing" in site.run("verify").err
    store.put(key, kept)
    assert site.run("verify").code == 0


def test_a_file_that_is_altered_is_found(site: Site) -> None:
    site.cluster.put_model(f"{site.name}-2", b"another")
    done = site.run("verify", "--artifacts")
    assert done.code == ALTERED
    assert "version 2: registered as sha256:" in done.out


def test_what_git_owns_is_changed_in_git(site: Site) -> None:
    model = site.cluster.model(site.name)
    spec = {
        "versions": [version.to_dict() for version in model.spec.versions],
        "gates": {"production": [QUALITY]},
        "stages": {"production": 1},
    }
    site.cluster.apply(site.name, spec, "argocd-controller")
    done = site.run("promote", "2")
    assert done.code == REFUSED
    assert f"production of {site.name} is managed by argocd-controller: change it there" in done.err
    assert site.run("promote", "2", "--stage", "staging").code == 0


def test_an_approval_is_made_in_the_users_name(site: Site) -> None:
    site.cluster.patch(site.name, {"gates": {"production": [{"name": "consent", "approvers": ["system:masters"]}]}})
    done = site.run("approve", "2", "--comment", "seen")
    assert done.code == 0, done.err
    name = done.out.split(":")[0].removeprefix("approval/")
    spec = json.loads(site.cluster.kubectl("get", "approval", name, "-o", "json"))["spec"]
    assert (spec["user"], spec["group"], spec["comment"]) == ("admin", "system:masters", "seen")
    assert spec["digest"] == next(
        each.digest for each in site.cluster.model(site.name).status.versions if each.version == 2
    )


def test_what_retention_would_delete(site: Site) -> None:
    for version in ("1", "2"):
        assert site.run("promote", version, "--stage", "staging").code == 0
    answer = site.run("retention", "--dry-run", "--archived", "0", "-o", "json").json
    # Versions that Git declares keep their files.
    assert answer["delete"] == []
    assert {each["version"]: each["why"] for each in answer["keep"]} == {
        1: "spec.versions declares it",
        2: "it is not archived",
        3: "it is not archived",
    }


def test_without_rights_to_the_records_the_newest_transitions_are_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert site.run("promote", "1").code == 0
    monkeypatch.delenv("MODELYARD_ARTIFACT_STORE")
    done = site.run("history")
    assert done.code == 0
    assert "no Service of the operator was found" in done.err
    assert "the chain of records was not checked" in done.err
    assert any("1 None Production kubectl-modelyard" in row for row in done.rows)
    assert site.run("verify").code == REFUSED


def test_kubectl_finds_it(site: Site) -> None:
    assert site.run("promote", "1").code == 0
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "KUBECONFIG": str(site.cluster.kubeconfig),
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [program("kubernetes", "kubectl"), "modelyard", "versions", site.name],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["VERSION", "STAGE"],
        ["3", "None"],
        ["2", "None"],
        ["1", "Production"],
    ]
    assert "\x1b[" not in done.stdout


def test_a_wrong_command_line_is_said(site: Site) -> None:
    assert site.run("history", "--context", "none").code == REFUSED
    assert "no context 'none'" in site.run("history", "--context", "none").err
    with pytest.raises(SystemExit) as ended:
        site.run("history", "--at", "yesterday")
    assert ended.value.code == 2
    unknown = Site(site.cluster, "unknown").run("history")
    assert unknown.code == REFUSED
    assert "no registered model 'unknown' in namespace default" in unknown.err
