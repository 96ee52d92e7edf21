"""The chart and the program agree: on settings, and on what the operator may do."""

from __future__ import annotations

import pytest

from modelyard.api.names import GROUP, RECORDS_PORT, editor_annotation
from modelyard.api.stages import STAGE_KEYS
from modelyard.cluster.resources import (
    BY_KIND,
    DEPLOYMENTS,
    FLUX_HELM_RELEASES,
    FLUX_KUSTOMIZATIONS,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    SERVICES,
    ResourceType,
)
from modelyard.desired.environment import SECRET as ENVIRONMENTS_SECRET
from modelyard.desired.preparation import SECRET as PREPARATION_SECRET
from modelyard.desired.reader import READER_SECRET
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

ADMISSION = "admissionregistration.k8s.io"
MUTATING = "MutatingAdmissionPolicy"
POLICY = "modelyard-approvals.modelyard-system"
ROUTING = "modelyard-routing.modelyard-system"
ROUTING_RULES = {
    ("networking.k8s.io", "ingressclasses", "get"),
    ("gateway.networking.k8s.io", "gateways", "get"),
}
OWN_KINDS = ("experiments", "registeredmodels", "modeldeployments")

MADE_OF_A_DEPLOYMENT = (
    DEPLOYMENTS,
    SERVICES,
    INGRESSES,
    HTTP_ROUTES,
    HORIZONTAL_POD_AUTOSCALERS,
    POD_DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
)


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
        assert settings.operator_namespace == "metadata.namespace"

    def test_of_the_records_are_what_the_command_line_looks_for(self, defaults: list[Json]) -> None:
        operator = container(defaults, "Deployment", "modelyard-operator", "operator")
        service = find(defaults, "Service", "modelyard-operator")
        (port,) = service["spec"]["ports"]
        assert {"name": port["targetPort"], "containerPort": RECORDS_PORT} in operator["ports"]
        assert environment(operator)["MODELYARD_RECORDS_TOKEN"] == "modelyard-operator-records/token"
        assert set(find(defaults, "Secret", "modelyard-operator-records")["stringData"]) == {"token"}
        labels = service["metadata"]["labels"]
        assert {labels["app.kubernetes.io/part-of"], labels["app.kubernetes.io/component"]} == {"modelyard", "operator"}

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


class TestPreparation:
    def test_is_on_and_bounded(self, defaults: list[Json]) -> None:
        found = operator_settings(defaults).preparation
        assert found is not None
        assert (found.deadline_seconds, found.wait_seconds) == (900, 300)
        assert found.resources["limits"] == {"memory": "2Gi"}
        assert (found.env_from, found.index_url) == ((), None)

    def test_is_as_the_values_say(self) -> None:
        source = {"secretRef": {"name": "uv"}}
        values = {
            "preparation": {"activeDeadlineSeconds": 60, "waitSeconds": 5},
            "environments": {"indexUrl": "https://packages.example.com/simple", "envFrom": [source]},
        }
        found = operator_settings(template({"serving": values})).preparation
        assert found is not None
        assert (found.deadline_seconds, found.wait_seconds) == (60, 5)
        assert (found.env_from, found.index_url) == ((source,), "https://packages.example.com/simple")

    def test_can_be_turned_off(self) -> None:
        assert operator_settings(template({"serving": {"preparation": {"enabled": False}}})).preparation is None


class TestEnvironments:
    def test_are_on_and_bounded(self, defaults: list[Json]) -> None:
        found = operator_settings(defaults).environments
        assert found.enabled
        assert found.deadline_seconds == 1800
        assert found.resources["limits"] == {"memory": "4Gi"}
        assert (found.env_from, found.index_url, found.channel_alias) == ((), None, None)

    def test_are_as_the_values_say(self) -> None:
        source = {"configMapRef": {"name": "proxy"}}
        values = {
            "enabled": False,
            "activeDeadlineSeconds": 60,
            "indexUrl": "https://packages.example.com/simple",
            "channelAlias": "https://packages.example.com/conda",
            "envFrom": [source],
        }
        found = operator_settings(template({"training": {"environments": values}})).environments
        assert (found.enabled, found.deadline_seconds, found.env_from) == (False, 60, (source,))
        assert found.index_url == "https://packages.example.com/simple"
        assert found.channel_alias == "https://packages.example.com/conda"


class TestRights:
    def test_reads_specs_and_writes_status_only(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        for plural in OWN_KINDS:
            verbs = {verb for group, resource, verb in allowed if (group, resource) == (GROUP, plural)}
            # It makes the model that an Experiment registers, and ends what deletes or renames one.
            own = {"create", "delete"} if plural == "registeredmodels" else set()
            assert verbs == {"get", "list", "watch"} | own
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

    def test_reads_approvals_and_gives_none(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        assert {verb for _, resource, verb in allowed if resource == "approvals"} == {"get", "list", "watch"}

    def test_writes_three_secrets_and_reads_those_of_projects_and_webhooks_by_name(self, defaults: list[Json]) -> None:
        assert secret_rules(defaults) == [
            ([READER_SECRET, ENVIRONMENTS_SECRET, PREPARATION_SECRET], ["get", "create", "patch"]),
            (["modelyard-git", "modelyard-s3"], ["get"]),
            (["modelyard-webhooks"], ["get"]),
        ]
        for index, chosen in ((1, {"training": {"projects": {"secretNames": ["a", "b"]}}}), (2, _WEBHOOKS)):
            assert secret_rules(template(chosen))[index] == (["a", "b"], ["get"])
        assert secret_rules(template({"webhooks": {"secretNames": []}}))[2] == (None, ["get"])
        assert secret_rules(template({"training": {"projects": {"secretNames": []}}}))[1] == (None, ["get"])

    def test_some_namespaces_replace_the_whole_cluster(self) -> None:
        objects = template(CASES["some namespaces"].values)
        assert "modelyard-operator" not in names(objects, "ClusterRole")
        assert names(objects, "ClusterRoleBinding") == {POLICY, ROUTING}
        for kind in ("Role", "RoleBinding"):
            where = {
                b["metadata"]["namespace"] for b in objects if b["kind"] == kind and "operator" in b["metadata"]["name"]
            }
            assert where == {"team-a", "team-b"}

    def test_reads_ingress_classes_and_gateways_of_the_cluster_and_no_more_of_it(self, defaults: list[Json]) -> None:
        assert rules(defaults, "ClusterRole", "modelyard-operator") >= ROUTING_RULES
        assert ROUTING not in names(defaults, "ClusterRole")
        objects = template(CASES["some namespaces"].values)
        assert rules(objects, "ClusterRole", ROUTING) == ROUTING_RULES
        binding = find(objects, "ClusterRoleBinding", ROUTING)
        assert binding["roleRef"]["name"] == ROUTING
        assert [(each["name"], each["namespace"]) for each in binding["subjects"]] == [
            ("modelyard-operator", NAMESPACE)
        ]

    @pytest.mark.parametrize("made", MADE_OF_A_DEPLOYMENT, ids=lambda resource: resource.plural)
    def test_makes_changes_and_removes_all_that_a_model_deployment_is_made_of(
        self, defaults: list[Json], made: ResourceType
    ) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        verbs = {verb for group, plural, verb in allowed if (group, plural) == (made.group, made.plural)}
        assert verbs == {"get", "list", "watch", "create", "patch", "delete"}

    def test_has_none_that_nothing_uses(self, defaults: list[Json]) -> None:
        allowed = rules(defaults, "ClusterRole", "modelyard-operator")
        assert "endpointslices" not in {plural for _, plural, _ in allowed}
        assert {verb for _, plural, verb in allowed if plural == "events"} == {"list"}
        assert {verb for _, plural, verb in allowed if plural == "pods"} == {"get", "list", "watch"}

    def test_nothing_needs_to_be_outside_of_namespaces(self) -> None:
        objects = template(CASES["nothing of the cluster"].values, api_versions=[f"{ADMISSION}/v1/{MUTATING}"])
        assert all("namespace" in body["metadata"] for body in objects)

    def test_reads_what_argo_cd_and_flux_applied_only_where_asked_to(self, defaults: list[Json]) -> None:
        resources = {resource for _, resource, _ in rules(defaults, "ClusterRole", "modelyard-operator")}
        assert resources.isdisjoint({"applications", "kustomizations", "helmreleases"})
        assert "modelyard-operator-revisions" not in names(defaults, "Role")

        objects = template({"audit": {"argocdNamespace": "gitops", "flux": True}})
        role = find(objects, "Role", "modelyard-operator-revisions")
        assert role["metadata"]["namespace"] == "gitops"
        assert role["rules"] == [{"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["get"]}]
        allowed = rules(objects, "ClusterRole", "modelyard-operator")
        for resource in (FLUX_KUSTOMIZATIONS, FLUX_HELM_RELEASES):
            verbs = {verb for group, plural, verb in allowed if (group, plural) == (resource.group, resource.plural)}
            assert verbs == {"get"}
        for installed, namespace in ((objects, "gitops"), (defaults, None)):
            variables = environment(container(installed, "Deployment", "modelyard-operator", "operator"))
            assert Settings.from_environment(variables).argocd_namespace == namespace

    def test_of_the_tracking_server_are_models_of_one_namespace(self) -> None:
        objects = template({"modelNamespace": "ml-team"})
        assert find(objects, "Role", "modelyard-tracking")["metadata"]["namespace"] == "ml-team"
        (subject,) = find(objects, "RoleBinding", "modelyard-tracking")["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": "modelyard-tracking", "namespace": NAMESPACE}
        resources = {resource for _, resource, _ in rules(objects, "Role", "modelyard-tracking")}
        assert resources == {"registeredmodels", "registeredmodels/status"}


class TestPolicies:
    def test_of_approvals_refuses_and_the_operator_may_see_that_it_does(self, defaults: list[Json]) -> None:
        policy = find(defaults, "ValidatingAdmissionPolicy", POLICY)
        assert policy["spec"]["failurePolicy"] == "Fail"
        binding = find(defaults, "ValidatingAdmissionPolicyBinding", POLICY)
        assert binding["spec"] == {"policyName": POLICY, "validationActions": ["Deny"]}
        (rule,) = find(defaults, "ClusterRole", POLICY)["rules"]
        assert (rule["resourceNames"], rule["verbs"]) == ([POLICY], ["get"])
        assert operator_settings(defaults).approval_policy == POLICY

    @pytest.mark.parametrize(
        ("values", "kubernetes"),
        [({"approvals": {"policy": {"enabled": False}}}, "1.34.4"), ({}, "1.29.0")],
    )
    def test_without_one_no_approval_counts(self, values: Json, kubernetes: str) -> None:
        objects = template(values, kubernetes=kubernetes)
        assert not names(objects, "ValidatingAdmissionPolicy") | names(objects, "ValidatingAdmissionPolicyBinding")
        assert operator_settings(objects).approval_policy is None

    @pytest.mark.parametrize(
        ("mode", "api_versions", "kubernetes", "made"),
        [
            ("auto", [], "1.34.4", None),
            ("auto", [f"{ADMISSION}/v1beta1/{MUTATING}"], "1.34.4", "v1beta1"),
            ("auto", [f"{ADMISSION}/v1beta1/{MUTATING}", f"{ADMISSION}/v1/{MUTATING}"], "1.36.0", "v1"),
            ("enabled", [], "1.34.4", "v1beta1"),
            ("enabled", [], "1.36.0", "v1"),
            ("disabled", [f"{ADMISSION}/v1/{MUTATING}"], "1.36.0", None),
        ],
    )
    def test_of_editors_is_there_where_the_cluster_has_its_api(
        self, mode: str, api_versions: list[str], kubernetes: str, made: str | None
    ) -> None:
        objects = template({"audit": {"editors": mode}}, api_versions=api_versions, kubernetes=kubernetes)
        versions = {body["apiVersion"] for body in objects if body["kind"].startswith(MUTATING)}
        assert versions == ({f"{ADMISSION}/{made}"} if made else set())
        assert operator_settings(objects).editor_policy == ("modelyard-editors.modelyard-system" if made else None)

    def test_of_editors_writes_the_annotations_that_the_operator_reads(self) -> None:
        objects = template(CASES["editors written down"].values)
        policy = str(find(objects, MUTATING, "modelyard-editors.modelyard-system")["spec"]["mutations"])
        for key in STAGE_KEYS:
            assert f'"/metadata/annotations/{editor_annotation(key).replace("/", "~1")}"' in policy


def operator_settings(objects: list[Json]) -> Settings:
    return Settings.from_environment(environment(container(objects, "Deployment", "modelyard-operator", "operator")))


_WEBHOOKS = {"webhooks": {"secretNames": ["a", "b"]}}


def secret_rules(objects: list[Json]) -> list[tuple[list[str] | None, list[str]]]:
    """Return what the operator may do to which Secrets."""
    role = find(objects, "ClusterRole", "modelyard-operator")
    chosen = [rule for rule in role["rules"] if "secrets" in rule["resources"]]
    assert {tuple(rule["resources"]) for rule in chosen} == {("secrets",)}
    return [(rule.get("resourceNames"), rule["verbs"]) for rule in chosen]


class TestUsers:
    def test_auditors_read_the_records_and_nothing_else(self, defaults: list[Json]) -> None:
        role = find(defaults, "Role", "modelyard-auditor")
        assert role["metadata"]["namespace"] == NAMESPACE
        allowed = [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]]
        assert allowed == [
            (["services"], None, ["list"]),
            (["services/proxy"], ["modelyard-operator:records"], ["get"]),
            (["secrets"], ["modelyard-operator-records"], ["get"]),
        ]

    def test_users_of_the_tracking_server_reach_it_and_nothing_else(self, defaults: list[Json]) -> None:
        role = find(defaults, "Role", "modelyard-tracking-user")
        assert role["metadata"]["namespace"] == NAMESPACE
        allowed = [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]]
        assert allowed == [
            (["services"], None, ["list"]),
            (["services/proxy"], ["modelyard-tracking:http"], ["get", "create"]),
        ]

    def test_approving_is_part_of_no_role_but_its_own(self, defaults: list[Json]) -> None:
        for role in names(defaults, "ClusterRole") - {"modelyard-approver"}:
            verbs = {verb for _, resource, verb in rules(defaults, "ClusterRole", role) if resource == "approvals"}
            assert verbs <= {"get", "list", "watch"}, role
        approver = find(defaults, "ClusterRole", "modelyard-approver")
        assert not [label for label in approver["metadata"]["labels"] if "aggregate" in label]
        approving = {
            v for _, resource, v in rules(defaults, "ClusterRole", "modelyard-approver") if resource == "approvals"
        }
        assert approving == {"get", "list", "watch", "create", "delete"}

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
