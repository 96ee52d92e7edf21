"""What holds for the rendered chart whatever the values are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.chart.cases import CASES, Case
from tests.unit.chart.render import CHART, NAMESPACE, Json, containers, helm, names, pod_templates, template

CLUSTER_WIDE = {
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
}
STANDARD_LABELS = {
    "helm.sh/chart",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def objects(case: Case) -> list[Json]:
    return template(case.values)


def test_lint_finds_nothing(case: Case) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), values=case.values)


def test_no_two_objects_have_one_name(objects: list[Json]) -> None:
    keys = [(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]) for body in objects]
    assert len(keys) == len(set(keys))


def test_every_object_has_the_standard_labels_and_its_namespace(objects: list[Json]) -> None:
    for body in objects:
        metadata = body["metadata"]
        assert set(metadata["labels"]) >= STANDARD_LABELS, metadata["name"]
        assert ("namespace" in metadata) != (body["kind"] in CLUSTER_WIDE), metadata["name"]


def test_pods_pass_the_restricted_pod_security_standard(objects: list[Json]) -> None:
    for owner, pod in pod_templates(objects):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True, owner
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, owner
            assert context["capabilities"] == {"drop": ["ALL"]}, owner
            assert context["readOnlyRootFilesystem"] is True, owner


def test_every_container_asks_for_resources_and_bounds_its_memory(objects: list[Json]) -> None:
    for owner, pod in pod_templates(objects):
        for container in containers(pod):
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}, owner
            assert "memory" in container["resources"]["limits"], owner


def test_every_image_is_pinned(objects: list[Json]) -> None:
    for owner, pod in pod_templates(objects):
        for container in containers(pod):
            name, _, tag = container["image"].rpartition(":")
            assert name, owner
            assert tag, owner
            assert tag != "latest", owner


def test_pods_hold_an_account_token_only_where_they_use_one(objects: list[Json]) -> None:
    for owner, pod in pod_templates(objects):
        uses = owner.endswith(("-operator", "-tracking", "-test"))
        assert pod["spec"]["automountServiceAccountToken"] is uses, owner


def test_no_pod_gets_variables_for_the_services_beside_it(objects: list[Json]) -> None:
    # MinIO and MLflow would read some of them as settings.
    assert {pod["spec"]["enableServiceLinks"] for _, pod in pod_templates(objects)} == {False}


def test_long_running_containers_are_probed(objects: list[Json]) -> None:
    for owner, pod in pod_templates(objects):
        for container in pod["spec"]["containers"]:
            if owner.endswith("-test"):
                continue
            assert "startupProbe" in container, owner
            assert ("readinessProbe" in container) == ("ports" in container), owner


def test_what_pods_refer_to_is_there(objects: list[Json], case: Case) -> None:
    there = {kind: names(objects, kind) for kind in ("ConfigMap", "PersistentVolumeClaim", "ServiceAccount", "Secret")}
    there["Secret"] |= case.secrets
    there["ServiceAccount"].add("default")
    for owner, pod in pod_templates(objects):
        for kind, name in references(pod["spec"]):
            assert name in there[kind], f"{owner} refers to {kind} {name}"


def references(spec: Json) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", spec.get("serviceAccountName", "default")
    for secret in spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"]
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"]
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        for entry in container.get("env", []):
            if "secretKeyRef" in entry.get("valueFrom", {}):
                yield "Secret", entry["valueFrom"]["secretKeyRef"]["name"]


def test_every_mount_has_its_volume(objects: list[Json]) -> None:
    claims = {
        f"{b['kind']}/{b['metadata']['name']}": b["spec"].get("volumeClaimTemplates", [])
        for b in objects
        if "spec" in b
    }
    for owner, pod in pod_templates(objects):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in claims[owner]}
        mounts = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert mounts == volumes, owner


def test_services_and_policies_select_the_pods_of_their_component(objects: list[Json]) -> None:
    pods = [pod["metadata"]["labels"] for _, pod in pod_templates(objects)]
    for body in objects:
        if body["kind"] not in {"Service", "NetworkPolicy"}:
            continue
        selector = body["spec"].get("selector") or body["spec"]["podSelector"]["matchLabels"]
        selected = [labels for labels in pods if selector.items() <= labels.items()]
        assert len(selected) == 1, body["metadata"]["name"]


def test_roles_have_no_wildcards_and_bindings_name_roles_and_accounts_that_exist(objects: list[Json]) -> None:
    accounts = {(NAMESPACE, name) for name in names(objects, "ServiceAccount")}
    for body in objects:
        for rule in body.get("rules", []) if body["kind"] in {"Role", "ClusterRole"} else []:
            assert not any("*" in value for values in rule.values() for value in values), body["metadata"]["name"]
        if body["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            assert body["roleRef"]["name"] in names(objects, body["roleRef"]["kind"])
            assert {(subject["namespace"], subject["name"]) for subject in body["subjects"]} <= accounts
