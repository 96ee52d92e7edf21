"""The chart's admission policies and roles on a real API server: who may approve, and who changed a stage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from modelyard.api.names import editor_annotation
from tests.e2e.api_server import ApiServer, Person, Refused, run_api_server
from tests.e2e.processes import START_SECONDS, wait_until
from tests.unit.chart.render import template

Json = dict[str, Any]

TEAM = "ml-team"
MUTATING_API = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"
ALICE = Person("alice", ("risk-team",))
BOB = Person("bob", ("data-science",))
MALLORY = Person("mallory", ("risk-team",))
"""In the group, but without the role."""
OWNER = Person("olga", ("owners",))
"""Has the built-in admin role in the namespace."""
ARGO_CD = Person("system:serviceaccount:argocd:argocd-application-controller")
TRACKING = Person("system:serviceaccount:modelyard-system:modelyard-tracking")
OPERATOR = Person("system:serviceaccount:modelyard-system:modelyard-operator")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with RBAC, what the chart puts beside its pods, and people with roles in a namespace."""
    with run_api_server(tmp_path_factory.mktemp("policies"), authorization="RBAC") as made:
        for namespace in (TEAM, "modelyard-system"):
            made.kubectl("create", "namespace", namespace)
        objects = template({"modelNamespace": TEAM}, api_versions=[MUTATING_API])
        chosen = [body for body in objects if "Role" in body["kind"] or "AdmissionPolicy" in body["kind"]]
        made.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": chosen}))
        for role, user in (("edit", "alice"), ("edit", "bob"), ("edit", "mallory"), ("admin", "olga")):
            grant(made, role, user)
        grant(made, "edit", ARGO_CD.user)
        grant(made, "modelyard-approver", "alice")
        # Each built-in role is aggregated by itself, by a controller that is only starting.
        for person, verb, resource in (
            (BOB, "patch", "registeredmodels"),
            (BOB, "list", "approvals"),
            (OWNER, "patch", "registeredmodels"),
            (OWNER, "create", "rolebindings.rbac.authorization.k8s.io"),
            (ALICE, "create", "approvals"),
        ):
            may = partial(made.allows, person, verb, resource, namespace=TEAM)
            wait_until(f"{person.user}'s role, to {verb} {resource}", may, START_SECONDS)
        wait_until("the policies", lambda: in_force(made), START_SECONDS)
        yield made


def grant(server: ApiServer, role: str, user: str) -> None:
    name = f"{role}-{user}".replace(":", "-")
    server.kubectl("-n", TEAM, "create", "rolebinding", name, f"--clusterrole={role}", f"--user={user}")


def in_force(server: ApiServer) -> bool:
    """Whether both policies act: the API server takes them up a moment after they are made."""
    probe = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "RegisteredModel", "metadata": {"name": "probe"}}
    body = json.dumps({**probe, "spec": {"stages": {"staging": 1}}})
    stamped = ""
    with suppress(Refused):
        # Refused until the policy knows the schema of a kind that is new.
        stamped = server.kubectl("-n", TEAM, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=body)
    try:
        approve(server, None, name="probe", dry_run=True)
    except Refused:
        return editor_annotation("staging") in stamped
    return False


def approve(server: ApiServer, person: Person | None, name: str, *, dry_run: bool = False, **change: Any) -> None:
    spec = {
        "model": "churn",
        "version": 3,
        "digest": "sha256:" + "ab" * 32,
        "stage": "production",
        "group": "risk-team",
        "user": person.user if person else "nobody",
        **change,
    }
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "Approval", "metadata": {"name": name}, "spec": spec}
    flags = ["--dry-run=server"] if dry_run else []
    server.kubectl("-n", TEAM, "create", *flags, "-f", "-", stdin=json.dumps(body), as_=person)


class TestApprovals:
    def test_who_has_the_role_approves_for_a_group_of_theirs(self, server: ApiServer) -> None:
        approve(server, ALICE, "given")
        assert server.get("approvals", "given", TEAM)["spec"]["user"] == "alice"

    def test_for_somebody_else_is_refused(self, server: ApiServer) -> None:
        with pytest.raises(Refused, match=r"spec\.user must be who makes the request, alice, not bob"):
            approve(server, ALICE, "forged", user="bob")

    def test_for_a_group_that_one_is_not_in_is_refused(self, server: ApiServer) -> None:
        with pytest.raises(Refused, match=r"spec\.group must be a group of alice, which auditors is not"):
            approve(server, ALICE, "forged", group="auditors")

    def test_even_an_administrator_approves_as_who_they_are(self, server: ApiServer) -> None:
        with pytest.raises(Refused, match=r"spec\.user must be who makes the request, admin, not alice"):
            approve(server, None, "forged", user="alice")

    @pytest.mark.parametrize("person", [BOB, MALLORY, OWNER, ARGO_CD, TRACKING, OPERATOR], ids=lambda p: p.user)
    def test_without_the_role_nobody_approves(self, server: ApiServer, person: Person) -> None:
        with pytest.raises(Refused, match='cannot create resource "approvals"'):
            approve(server, person, "forged")

    def test_who_may_not_approve_may_not_let_others(self, server: ApiServer) -> None:
        role = "--clusterrole=modelyard-approver"
        with pytest.raises(Refused, match="attempting to grant RBAC permissions not currently held"):
            server.kubectl("-n", TEAM, "create", "rolebinding", "forged", role, "--user=olga", as_=OWNER)

    def test_whoever_sees_models_sees_their_approvals(self, server: ApiServer) -> None:
        assert server.allows(BOB, "list", "approvals", namespace=TEAM)
        assert server.allows(OPERATOR, "watch", "approvals", namespace=TEAM)

    @pytest.mark.parametrize("change", [{"user": "bob"}, {"version": 4}, {"group": "data-science"}], ids=str)
    def test_one_that_was_given_stays_as_it_is(self, server: ApiServer, change: Json) -> None:
        approve(server, ALICE, f"kept-{next(iter(change))}")
        patch = json.dumps({"spec": change})
        with pytest.raises(Refused, match="an Approval cannot be changed"):
            server.kubectl("-n", TEAM, "patch", "approval", f"kept-{next(iter(change))}", "--type=merge", "-p", patch)

    def test_is_taken_back_by_deleting_it(self, server: ApiServer) -> None:
        approve(server, ALICE, "regretted")
        with pytest.raises(Refused, match='cannot delete resource "approvals"'):
            server.kubectl("-n", TEAM, "delete", "approval", "regretted", as_=BOB)
        server.kubectl("-n", TEAM, "delete", "approval", "regretted", as_=ALICE)

    def test_operator_sees_the_policy_that_vouches_for_them_and_no_other(self, server: ApiServer) -> None:
        name = "modelyard-approvals.modelyard-system"
        for resource in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
            full = f"{resource}.admissionregistration.k8s.io"
            server.kubectl("get", full, name, as_=OPERATOR)
            assert not server.allows(OPERATOR, "get", full, "another", namespace=TEAM)
            assert not server.allows(OPERATOR, "patch", full, name, namespace=TEAM)


def edit(server: ApiServer, person: Person, name: str, **patch: Any) -> None:
    server.kubectl("-n", TEAM, "patch", "registeredmodel", name, "--type=merge", "-p", json.dumps(patch), as_=person)


def create(server: ApiServer, person: Person, name: str, spec: Json, annotations: Json | None = None) -> None:
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "RegisteredModel", "metadata": metadata, "spec": spec}
    server.kubectl("-n", TEAM, "create", "-f", "-", stdin=json.dumps(body), as_=person)


def apply(server: ApiServer, person: Person, name: str, spec: Json, manager: str) -> None:
    body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "RegisteredModel", "metadata": {"name": name}, "spec": spec}
    flags = ("--server-side", f"--field-manager={manager}", "-f", "-")
    server.kubectl("-n", TEAM, "apply", *flags, stdin=json.dumps(body), as_=person)


def annotations_of(server: ApiServer, name: str) -> Json:
    return dict(server.get("registeredmodel", name, TEAM)["metadata"].get("annotations", {}))


def editors(server: ApiServer, name: str) -> Json:
    """Return who is written down: stage key → user."""
    written = annotations_of(server, name)
    return {
        key: written[editor_annotation(key)] for key in ("production", "staging") if editor_annotation(key) in written
    }


PRODUCTION_BY = editor_annotation("production")
STAGING_BY = editor_annotation("staging")


class TestEditors:
    def test_a_model_without_stages_has_none(self, server: ApiServer) -> None:
        create(server, ALICE, "none", {"description": "new"})
        assert annotations_of(server, "none") == {}

    def test_whoever_creates_a_model_with_stages_is_written_down(self, server: ApiServer) -> None:
        create(server, ALICE, "created", {"stages": {"production": 1}}, {"team": "risk"})
        assert annotations_of(server, "created") == {"team": "risk", PRODUCTION_BY: "alice"}

    def test_each_stage_has_its_own(self, server: ApiServer) -> None:
        create(server, ALICE, "each", {})
        edit(server, ALICE, "each", spec={"stages": {"production": 1}})
        edit(server, BOB, "each", spec={"stages": {"staging": 2}})
        assert editors(server, "each") == {"production": "alice", "staging": "bob"}

    def test_an_edit_of_something_else_keeps_them(self, server: ApiServer) -> None:
        create(server, ALICE, "unrelated", {"stages": {"production": 1}})
        edit(server, BOB, "unrelated", spec={"description": "edited"}, metadata={"annotations": {"note": "x"}})
        edit(server, BOB, "unrelated", spec={"stages": {"production": 1}})
        assert annotations_of(server, "unrelated") == {"note": "x", PRODUCTION_BY: "alice"}

    def test_the_next_promotion_replaces_them(self, server: ApiServer) -> None:
        create(server, ALICE, "replaced", {"stages": {"production": 1, "staging": 1}})
        edit(server, BOB, "replaced", spec={"stages": {"production": 2}})
        assert editors(server, "replaced") == {"production": "bob", "staging": "alice"}

    def test_taking_a_version_out_of_a_stage_is_an_edit(self, server: ApiServer) -> None:
        create(server, ALICE, "emptied", {"stages": {"production": 1}})
        edit(server, BOB, "emptied", spec={"stages": None})
        assert editors(server, "emptied") == {"production": "bob"}

    @pytest.mark.parametrize(
        ("name", "forgery"),
        [
            ("rewritten", {PRODUCTION_BY: "bob"}),
            ("removed", {PRODUCTION_BY: None}),
            ("all-removed", None),
            ("invented", {STAGING_BY: "bob"}),
            ("both", {PRODUCTION_BY: "bob", STAGING_BY: "bob"}),
        ],
    )
    def test_forging_is_undone(self, server: ApiServer, name: str, forgery: Json | None) -> None:
        create(server, ALICE, name, {"stages": {"production": 1}})
        edit(server, MALLORY, name, metadata={"annotations": forgery})
        assert annotations_of(server, name) == {PRODUCTION_BY: "alice"}

    def test_forging_at_the_start_and_with_a_promotion_is_undone(self, server: ApiServer) -> None:
        create(server, MALLORY, "forged", {}, {PRODUCTION_BY: "alice", STAGING_BY: "alice"})
        assert annotations_of(server, "forged") == {}
        edit(
            server, MALLORY, "forged", spec={"stages": {"staging": 1}}, metadata={"annotations": {STAGING_BY: "alice"}}
        )
        assert annotations_of(server, "forged") == {STAGING_BY: "mallory"}

    def test_replacing_the_whole_object_keeps_them(self, server: ApiServer) -> None:
        create(server, ALICE, "whole", {"stages": {"production": 1}})
        body = server.get("registeredmodel", "whole", TEAM)
        del body["metadata"]["annotations"]
        server.kubectl("-n", TEAM, "replace", "-f", "-", stdin=json.dumps(body), as_=BOB)
        assert annotations_of(server, "whole") == {PRODUCTION_BY: "alice"}

    def test_the_tracking_server_is_written_down_as_its_account(self, server: ApiServer) -> None:
        create(server, ALICE, "by-mlflow", {})
        apply(server, TRACKING, "by-mlflow", {"stages": {"staging": 1}}, "mlflow")
        assert editors(server, "by-mlflow") == {"staging": TRACKING.user}

    def test_a_status_changes_nothing(self, server: ApiServer) -> None:
        create(server, ALICE, "status", {"stages": {"production": 1}})
        patch = json.dumps({"status": {"latestVersion": 1}})
        flags = ("--subresource=status", "--type=merge", "-p", patch)
        server.kubectl("-n", TEAM, "patch", "registeredmodel", "status", *flags, as_=OPERATOR)
        body = server.get("registeredmodel", "status", TEAM)
        assert (body["metadata"]["annotations"], body["status"]["latestVersion"]) == ({PRODUCTION_BY: "alice"}, 1)


class TestGit:
    SPEC: Json = {"stages": {"production": 1}}  # noqa: RUF012

    def test_a_client_side_apply_of_the_same_changes_nothing(self, server: ApiServer) -> None:
        metadata = {"name": "plain", "namespace": TEAM}
        body = {"apiVersion": "modelyard.dev/v1alpha1", "kind": "RegisteredModel", "metadata": metadata}
        manifest = json.dumps({**body, "spec": self.SPEC})
        server.kubectl("apply", "-f", "-", stdin=manifest, as_=ARGO_CD)
        assert editors(server, "plain") == {"production": ARGO_CD.user}
        assert server.kubectl("diff", "-f", "-", stdin=manifest) == ""
        assert "unchanged" in server.kubectl("apply", "-f", "-", stdin=manifest, as_=ARGO_CD)

    def test_applying_the_same_again_changes_nothing(self, server: ApiServer) -> None:
        apply(server, ARGO_CD, "synced", self.SPEC, "argocd-controller")
        before = server.get("registeredmodel", "synced", TEAM)
        assert before["metadata"]["annotations"] == {PRODUCTION_BY: ARGO_CD.user}
        for _ in range(3):
            apply(server, ARGO_CD, "synced", self.SPEC, "argocd-controller")
        assert server.get("registeredmodel", "synced", TEAM) == before

    def test_what_is_written_down_is_no_field_of_the_appliers(self, server: ApiServer) -> None:
        apply(server, ARGO_CD, "owned", self.SPEC, "argocd-controller")
        (managed,) = server.get("registeredmodel", "owned", TEAM)["metadata"]["managedFields"]
        assert managed["manager"] == "argocd-controller"
        assert managed["fieldsV1"] == {"f:spec": {"f:stages": {"f:production": {}}}}

    def test_git_and_people_each_promote_to_their_stage(self, server: ApiServer) -> None:
        apply(server, ARGO_CD, "shared", self.SPEC, "argocd-controller")
        edit(server, BOB, "shared", spec={"stages": {"staging": 2}})
        apply(server, ARGO_CD, "shared", {"stages": {"production": 2}}, "argocd-controller")
        assert editors(server, "shared") == {"production": ARGO_CD.user, "staging": "bob"}
        assert server.get("registeredmodel", "shared", TEAM)["spec"]["stages"] == {"production": 2, "staging": 2}
        with pytest.raises(Refused, match=r'conflict with "argocd-controller": \.spec\.stages\.production'):
            apply(server, TRACKING, "shared", {"stages": {"production": 3}}, "mlflow")
