"""`status` and the commands that steer a rollout, on a real API server. The operator's part is written by hand."""

from __future__ import annotations

import http.server
import io
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.api.names import DEPLOYMENT_LABEL, REVISION_LABEL
from modelyard.api.serving import ServedModel
from modelyard.cli.__main__ import main
from modelyard.cli.deployments import Deployments
from modelyard.cli.errors import REFUSED
from tests.e2e.api_server import NAMESPACE, ApiServer, Person, run_api_server
from tests.e2e.processes import wait_until

pytestmark = pytest.mark.timeout(300)

GIT = "argocd-controller"
ABORT, PAUSED = "modelyard.dev/abort", "modelyard.dev/paused"
PROMOTE, REFRESH = "modelyard.dev/promote", "modelyard.dev/refresh"
SINCE = "2026-05-01T12:00:00Z"
STEPS = [{"weight": 10, "hold": True}, {"weight": 50, "pause": "5m"}]

METRICS = """\
# TYPE modelyard_info gauge
modelyard_info{{model="m",version="{version}",digest="d",flavor="sklearn"}} 1.0
# TYPE modelyard_requests_total counter
modelyard_requests_total{{code="200"}} {good}
modelyard_requests_total{{code="500"}} {bad}
# TYPE modelyard_request_seconds histogram
modelyard_request_seconds_bucket{{le="0.008"}} 0.0
modelyard_request_seconds_bucket{{le="0.01"}} {all}
modelyard_request_seconds_bucket{{le="+Inf"}} {all}
"""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with run_api_server(tmp_path_factory.mktemp("api-server"), authorization="RBAC") as running:
        yield running


def digest(version: int) -> str:
    return f"sha256:{version:064d}"


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


@dataclass
class Site:
    """A deployment and its model, of names of their own."""

    server: ApiServer
    name: str = field(default_factory=lambda: f"churn-{uuid.uuid4().hex[:8]}")

    def run(self, command: str, *arguments: str, name: str | None = None) -> Done:
        out, err = io.StringIO(), io.StringIO()
        line = [command, name or self.name, "--kubeconfig", str(self.server.kubeconfig), *arguments]
        with redirect_stdout(out), redirect_stderr(err):
            code = main(line)
        return Done(code, out.getvalue(), err.getvalue())

    def revision(self, version: int) -> str:
        return ServedModel(self.name, version, "", digest(version)).revision

    def apply(self, manifest: Json, manager: str = "test") -> None:
        """Apply on the server's side, as Git's hands do."""
        self.server.kubectl(
            "apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(manifest)
        )

    def deploy(self, reference: Json, manager: str = "test", **annotations: str) -> None:
        rest = {"rollout": {"strategy": "Canary", "steps": STEPS, "analysis": {}}}
        self.apply(
            {
                "apiVersion": "modelyard.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {
                    "name": self.name,
                    "namespace": NAMESPACE,
                    "annotations": {f"modelyard.dev/{key}": value for key, value in annotations.items()},
                },
                "spec": {"model": {"name": self.name, **reference}, "rest": rest},
            },
            manager,
        )

    def say(self, kind: str, status: Json) -> None:
        """Write a status, as an operator does."""
        patch = json.dumps({"status": status})
        self.server.kubectl("patch", kind, self.name, "--subresource=status", "--type=merge", "-p", patch)

    def hold(self, **rollout: Any) -> None:
        """Version 4 is served, version 5 is held at 10 %."""
        at_ten = {"phase": "Held", "step": 1, "steps": 2, "weight": 10, "actualWeight": 10, "stepSince": SINCE}
        ready = {
            "type": "Ready",
            "status": "False",
            "reason": "AwaitingPromotion",
            "message": "version 5 at 10 %: to go on: kubectl modelyard promote",
            "lastTransitionTime": SINCE,
        }
        self.say(
            "modeldeployment",
            {
                "observedGeneration": 1,
                "phase": "Held",
                "served": {"model": self.name, "version": 4, "digest": digest(4), "since": SINCE},
                "candidate": {"model": self.name, "version": 5, "digest": digest(5), "since": SINCE},
                "weight": 10,
                "replicas": 1,
                "readyReplicas": 1,
                "rollout": {
                    "strategy": "Canary",
                    "version": 5,
                    "revision": self.revision(5),
                    "startedAt": SINCE,
                    **at_ten,
                    **rollout,
                },
                "conditions": [ready],
            },
        )

    def model(self, stages: dict[str, int], manager: str = "test", **spec: Any) -> None:
        """The model, with versions up to 5, of which `stages` are where they are wanted."""
        body = {
            "apiVersion": "modelyard.dev/v1alpha1",
            "kind": "RegisteredModel",
            "metadata": {"name": self.name, "namespace": NAMESPACE},
            "spec": {"stages": stages, **spec},
        }
        self.apply(body, manager)
        held = {key: {"version": version, "since": SINCE, "by": manager} for key, version in stages.items()}
        moves = [(5, "None", "Production"), (4, "Production", "Archived")]
        transitions = [
            {"sequence": 9, "version": version, "from": before, "to": after, "at": SINCE, "by": manager}
            for version, before, after in moves
        ]
        self.say("registeredmodel", {"latestVersion": 5, "stages": held, "transitions": transitions})

    @property
    def body(self) -> Json:
        return self.server.get("modeldeployment", self.name)

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.body["metadata"].get("annotations", {}))

    def managers(self, annotation: str) -> list[str]:
        """Who owns an annotation."""
        return [
            entry["manager"]
            for entry in self.body["metadata"]["managedFields"]
            if f"f:{annotation}" in entry["fieldsV1"].get("f:metadata", {}).get("f:annotations", {})
        ]


@pytest.fixture
def site(server: ApiServer) -> Site:
    return Site(server)


def test_a_rollout_is_steered_by_annotations_in_the_commands_name(site: Site) -> None:
    site.deploy({"stage": "Production"})
    site.hold()
    steps = [
        (("promote",), {PROMOTE: "5/1"}),
        (("promote", "--full"), {PROMOTE: "5"}),
        (("abort",), {ABORT: "5"}),
        (("pause",), {ABORT: "5", PAUSED: "true"}),
        (("resume",), {ABORT: "5"}),
    ]
    generation = site.body["metadata"]["generation"]
    for line, expected in steps:
        done = site.run(*line)
        assert done.code == 0, done.err
        assert site.annotations == expected
    assert site.managers(ABORT) == ["kubectl-modelyard"]
    assert site.run("refresh").code == 0
    assert set(site.annotations) == {ABORT, REFRESH}
    # Nothing of this is a change of the spec.
    assert site.body["metadata"]["generation"] == generation


def test_what_makes_no_sense_is_not_written(site: Site) -> None:
    missing = site.run("promote")
    assert (missing.code, missing.err) == (
        REFUSED,
        f"error: there is no model deployment '{site.name}' in namespace {NAMESPACE}\n",
    )
    site.deploy({"stage": "Production"})
    for command in ("promote", "abort"):
        done = site.run(command)
        assert done.code == REFUSED
        assert f"nothing of {site.name} is rolling out: no version is served yet" in done.err
    site.hold(phase="Shifting")
    site.say("modeldeployment", {"phase": "Progressing"})
    version = site.body["metadata"]["resourceVersion"]
    assert "is not held (10 %): it goes on by itself" in site.run("promote").err
    assert site.body["metadata"]["resourceVersion"] == version


def test_annotations_that_git_owns_are_gits(site: Site) -> None:
    site.deploy({"stage": "Production"}, GIT, paused="true")
    site.hold()
    done = site.run("resume")
    assert done.code == REFUSED
    assert f"the annotation {PAUSED} of {site.name} is managed by {GIT}: resume it there" in done.err
    assert site.annotations == {PAUSED: "true"}
    # One that Git does not have is anybody's.
    assert site.run("abort").code == 0
    # What Git applies again leaves it alone, and takes back what is its own.
    site.deploy({"stage": "Production"}, GIT)
    assert site.annotations == {ABORT: "5"}


def test_an_edit_that_comes_in_between_is_seen(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.deploy({"stage": "Production"})
    site.hold()
    looked: list[Json] = []
    body_of = Deployments.body

    def body(deployments: Deployments, given: str) -> Json:
        found = body_of(deployments, given)
        if not looked:
            site.hold(step=2, weight=50)
        looked.append(found)
        return found

    monkeypatch.setattr(Deployments, "body", body)
    assert site.run("promote").code == 0
    assert len(looked) == 2
    assert site.annotations == {PROMOTE: "5/2"}


def test_a_stage_is_rolled_back_in_the_registry(site: Site) -> None:
    site.deploy({"stage": "Production"})
    site.model({"production": 5})
    done = site.run("rollback", "--no-wait")
    assert done.code == 0, done.err
    assert done.out == f"spec.stages.production of {site.name} is 4\n"
    model = site.server.get("registeredmodel", site.name)
    assert model["spec"]["stages"] == {"production": 4}
    assert "kubectl-modelyard" in {entry["manager"] for entry in model["metadata"]["managedFields"]}
    assert f"follow it with: kubectl modelyard status {site.name} --watch" in done.err


def test_a_stage_that_git_owns_is_reverted_in_git(site: Site) -> None:
    site.deploy({"stage": "Production"})
    site.model({"production": 5}, GIT)
    done = site.run("rollback", "--no-wait")
    assert done.code == REFUSED
    assert f"production of {site.name} is managed by {GIT}: change it there (git revert" in done.err
    assert site.server.get("registeredmodel", site.name)["spec"]["stages"] == {"production": 5}


@pytest.mark.parametrize("manager", ["test", GIT])
def test_an_alias_is_rolled_back_in_the_registry(site: Site, manager: str) -> None:
    site.deploy({"alias": "champion"})
    site.model({"production": 5}, manager, aliases={"champion": 5})
    done = site.run("rollback", "--to", "4")
    model = site.server.get("registeredmodel", site.name)
    if manager == GIT:
        assert (done.code, model["spec"]["aliases"]) == (REFUSED, {"champion": 5})
        assert f"aliases.champion of {site.name} is managed by {GIT}" in done.err
    else:
        assert (done.code, model["spec"]["aliases"]) == (0, {"champion": 4})


@pytest.mark.parametrize("manager", ["test", GIT])
def test_a_number_is_rolled_back_in_the_deployment(site: Site, manager: str) -> None:
    site.deploy({"version": 5}, manager)
    site.hold()
    done = site.run("rollback")
    wanted = site.body["spec"]["model"]["version"]
    if manager == GIT:
        assert (done.code, wanted) == (REFUSED, 5)
        assert f"spec.model.version of {site.name} is managed by {GIT}" in done.err
    else:
        assert (done.code, wanted) == (0, 4)


class ModelServer:
    """Model pods' /metrics, on an address that the API server takes for a pod's."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = outer.answers.get(self.path)
                self.send_response(200 if answer else 404)
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep quiet."""

        self.address = _address()
        self._server = http.server.ThreadingHTTPServer((self.address, 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _address() -> str:
    """Return an address of this machine that is not the loopback device's: the API server sends nobody there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: a datagram's socket only chooses where it would leave.
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def run_pod(site: Site, version: int, address: str) -> None:
    """A Deployment and a ready pod of it, as its controllers would have made them."""
    labels = {DEPLOYMENT_LABEL: site.name, REVISION_LABEL: site.revision(version)}
    container = {"name": "model", "image": "none"}
    name = f"{site.name}-v{version}"
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    site.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    pod_spec = {"containers": [container], "automountServiceAccountToken": False}
    site.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec})
    ready = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    conditions = [{"type": "Ready", "status": "True"}]
    for kind, status in (
        ("deployment", {"replicas": 1, "readyReplicas": 1}),
        ("pod", {**ready, "conditions": conditions}),
    ):
        patch = json.dumps({"status": status})
        site.server.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


def test_the_pods_tell_their_requests_through_the_api_server(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.deploy({"stage": "Production"})
    site.hold()
    with ModelServer() as pods:
        monkeypatch.setattr("modelyard.cli.traffic.PORT", pods.port)
        for version in (4, 5):
            run_pod(site, version, pods.address)
        pods.answers["/metrics"] = METRICS.format(version=4, good=98.0, bad=2.0, all=100.0).encode()
        done = site.run("status")
        assert done.code == 0, done.err
        rows = {row[0]: row for row in done.rows if row}
        assert rows["stable"][:10] == ["stable", "4", "90", "%", "1/1", "100", "2", "(2", "%)", "9.98"]
        assert rows["candidate"][:5] == ["candidate", "5", "10", "%", "1/1"]
        assert f"kubectl modelyard promote {site.name} --full" in done.out
        pods.answers.clear()
        quiet = site.run("status")
        assert "requests are not complete: 2 of 2 pods give no metrics" in quiet.out
        assert quiet.rows[6][:8] == ["candidate", "5", "10", "%", "1/1", "–", "–", "–"]  # noqa: RUF001 - a dash


def test_who_may_only_look_at_deployments_sees_the_rest(site: Site, tmp_path: Path) -> None:
    site.deploy({"stage": "Production"})
    site.hold()
    run_pod(site, 4, "10.0.0.1")
    rights = ["--verb=get,list", "--resource=modeldeployments.modelyard.dev"]
    site.server.kubectl("create", "serviceaccount", site.name)
    site.server.kubectl("create", "role", site.name, *rights)
    site.server.kubectl(
        "create", "rolebinding", site.name, f"--role={site.name}", f"--serviceaccount={NAMESPACE}:{site.name}"
    )
    account = Person(f"system:serviceaccount:{NAMESPACE}:{site.name}")
    wait_until("the account's rights", lambda: site.server.allows(account, "list", "modeldeployments"))
    config = yaml.safe_load(site.server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": site.server.kubectl("create", "token", site.name).strip()}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    viewer = Site(ApiServer(tmp_path / "kubeconfig"), site.name)
    done = viewer.run("status", "-o", "json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [row["version"] for row in answer["versions"]] == [4, 5]
    assert answer["versions"][0]["readyPods"] == 1
    assert any("you may not list pods" in note for note in answer["notes"])
    forbidden = viewer.run("abort")
    assert forbidden.code == REFUSED
    assert "cannot patch" in forbidden.err
    assert site.annotations == {}


def test_a_wait_ends_with_what_came_of_it(site: Site) -> None:
    site.deploy({"stage": "Production"})
    site.model({"production": 5})
    site.hold()
    open_ = site.run("status", "--wait", "--timeout", "0.1")
    assert (open_.code, open_.err.splitlines()[-1]) == (REFUSED, "error: not settled after 0.1 s")
    served = {"model": site.name, "version": 5, "digest": digest(5), "since": SINCE}
    ready = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": SINCE}
    site.say(
        "modeldeployment",
        {"phase": "Serving", "served": served, "candidate": None, "rollout": None, "conditions": [ready]},
    )
    assert site.run("status", "--wait").code == 0
