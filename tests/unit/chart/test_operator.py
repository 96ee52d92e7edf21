"""The chart and the program agree: on settings, and on what the operator may do."""

from __future__ import annotations

import pytest

from modelyard.api.names import GROUP
from modelyard.cluster.resources import BY_KIND
from modelyard.desired.serving import READER_SECRET
from modelyard.settings import RegistrySettings, Settings
from tests.unit.chart.cases import CASES
from tests.unit.chart.render import (
    NAMESPACE,
    Json,
    container,
    environment,
    find,
    names,
    rules,
    template,
)

OWN_KINDS = ("experiments", "registeredmodels", "modeldeployments")


@pytest.fixture(scope="module")
def defaults() -> list[Json]:
    return template()


class TestSettings:
    @pytest.mark.parametrize("name", [name for name in CASES if name != "without operator"])
    def test_of_the_operator_are_complete(self, name: str) -> None:
        objects = template(CASES[name].values)
        settings = Settings.from_environment(
            environment(container(objects, "Deployment", "modelyard-operator", "operator"))
        )
        assert settings.watch_namespaces == tuple(
            CASES[name].values.get("operator", {}).get("watchNamespaces", ()),
        )
        assert "argocd-controller" in settings.git_managers

    def test_of_the_registry_store_are_complete(self) -> None:
        objects = template({"tracking": {"transitionTimeoutSeconds": 12}, "gitManagers": ["flux", "helm"]})
        settings = RegistrySettings.from_environment(
            environment(container(objects, "Deployment", "modelyard-tracking", "tracking"))
        )
        assert settings.transition_timeout == 12
        assert settings.git_managers == ("flux", "helm")
        assert settings.artifact_store == "s3://modelyard"

    def test_of_the_operator_and_the_tracking_server_name_one_place_for_artifacts(self, defaults: list[Json]) -> None:
        settings = Settings.from_environment(
            environment(container(defaults, "Deployment", "modelyard-operator", "operator"))
        )
        server = container(defaults, "Deployment", "modelyard-tracking", "tracking")
        assert f"--artifacts-destination={settings.artifacts_destination}" in server["args"]


class TestRights:
    def test_reads_specs_and_writes_status_only(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        for plural in OWN_KINDS:
            verbs = {verb for group, resource, verb in allowed if (group, resource) == (GROUP, plural)}
            assert verbs - {"create"} == {"get", "list", "watch"}
            status = {verb for group, resource, verb in allowed if (group, resource) == (GROUP, f"{plural}/status")}
            assert status == {"get", "patch", "update"}

    def test_creates_no_object_of_its_kinds_but_models(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        assert {resource for group, resource, verb in allowed if group == GROUP and verb == "create"} == {
            "registeredmodels"
        }

    def test_covers_every_resource_that_the_program_speaks_about(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        for resource in BY_KIND.values():
            assert (resource.group, resource.plural, "get") in allowed

    def test_one_secret_by_name(self, defaults: list[Json]) -> None:
        role = find(defaults, "ClusterRole", "modelyard-operator")
        (rule,) = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
        assert rule["resourceNames"] == [READER_SECRET]
        assert rule["resources"] == ["secrets"]

    def test_some_namespaces_replace_the_whole_cluster(self) -> None:
        objects = template(CASES["some namespaces"].values)
        assert "modelyard-operator" not in names(objects, "ClusterRole")
        assert not names(objects, "ClusterRoleBinding")
        for kind in ("Role", "RoleBinding"):
            where = {
                b["metadata"]["namespace"] for b in objects if b["kind"] == kind and "operator" in b["metadata"]["name"]
            }
            assert where == {"team-a", "team-b"}

    def test_nothing_needs_to_be_outside_of_namespaces(self) -> None:
        values = {**CASES["some namespaces"].values, "crds": {"enabled": False}, "rbac": {"userRoles": False}}
        assert all("namespace" in body["metadata"] for body in template(values))

    def test_of_the_tracking_server_are_models_of_one_namespace(self) -> None:
        objects = template({"modelNamespace": "ml-team"})
        assert find(objects, "Role", "modelyard-tracking")["metadata"]["namespace"] == "ml-team"
        (subject,) = find(objects, "RoleBinding", "modelyard-tracking")["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "modelyard-tracking", "namespace": NAMESPACE}
        resources = {resource for _, resource, _ in rules(objects, "Role", "modelyard-tracking")}
        assert resources == {"registeredmodels", "registeredmodels/status"}


class TestUsers:
    @pytest.mark.parametrize("kind", ["experiment", "registeredmodel", "modeldeployment"])
    def test_viewers_read_and_editors_edit_but_neither_writes_status(self, defaults: list[Json], kind: str) -> None:
        view = rules(defaults, "ClusterRole", f"modelyard-{kind}-viewer")
        assert {verb for _, _, verb in view} == {"get", "list", "watch"}
        edit = rules(defaults, "ClusterRole", f"modelyard-{kind}-editor")
        assert (GROUP, f"{kind}s", "patch") in edit
        assert {verb for _, resource, verb in edit if resource == f"{kind}s/status"} == {"get"}

    @pytest.mark.parametrize(("role", "aggregated"), [("viewer", "view"), ("editor", "edit")])
    def test_roles_are_part_of_the_built_in_ones(self, defaults: list[Json], role: str, aggregated: str) -> None:
        label = f"rbac.authorization.k8s.io/aggregate-to-{aggregated}"
        assert find(defaults, "ClusterRole", f"modelyard-experiment-{role}")["metadata"]["labels"][label] == "true"
        apart = template({"rbac": {"aggregateToDefaultRoles": False}})
        assert label not in find(apart, "ClusterRole", f"modelyard-experiment-{role}")["metadata"]["labels"]
