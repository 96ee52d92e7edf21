"""What single values do."""

from __future__ import annotations

import functools

import pytest
import yaml

from tests.unit.chart.cases import CASES, DIGEST, OWN_S3
from tests.unit.chart.render import (
    CHART,
    NAMESPACE,
    Json,
    Refused,
    container,
    environment,
    find,
    names,
    pod_templates,
    template,
)


@functools.cache
def case(name: str) -> list[Json]:
    return template(CASES[name].values)


def tracking(objects: list[Json], container_name: str = "tracking") -> Json:
    return container(objects, "Deployment", "modelyard-tracking", container_name)


def operator_environment(objects: list[Json]) -> dict[str, str]:
    return environment(container(objects, "Deployment", "modelyard-operator", "operator"))


def allowed_hosts(objects: list[Json]) -> list[str]:
    return environment(tracking(objects))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")


class TestCustomResources:
    def test_are_the_generated_ones_and_stay_at_uninstall(self) -> None:
        objects = template()
        for path in sorted((CHART / "files/crds").glob("*.yaml")):
            generated = yaml.safe_load(path.read_text())
            body = find(objects, "CustomResourceDefinition", generated["metadata"]["name"])
            assert body["spec"] == generated["spec"]
            assert body["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}

    def test_can_be_left_to_helm_or_left_out(self) -> None:
        removed = template({"crds": {"keep": False}})
        assert len(names(removed, "CustomResourceDefinition")) == 4
        assert not any("annotations" in b["metadata"] for b in removed if b["kind"] == "CustomResourceDefinition")
        assert not names(template({"crds": {"enabled": False}}), "CustomResourceDefinition")


class TestNames:
    @pytest.mark.parametrize(
        ("release", "values", "service"),
        [
            ("modelyard", {}, "modelyard-tracking"),
            ("ml", {}, "ml-modelyard-tracking"),
            ("ml", {"fullnameOverride": "yard"}, "yard-tracking"),
            ("a-release-with-a-name-of-many-many-words", {}, "a-release-with-a-name-of-many-many-words-tracking"),
        ],
    )
    def test_come_from_the_release(self, release: str, values: Json, service: str) -> None:
        assert service in names(template(values, release=release), "Service")


class TestImages:
    def test_digest_goes_before_the_tag(self) -> None:
        operator = container(case("digests"), "Deployment", "modelyard-operator", "operator")
        assert operator["image"] == f"localhost/modelyard/operator@{DIGEST}"

    def test_jobs_run_in_the_tracking_image_unless_one_is_named(self) -> None:
        own = operator_environment(template({"images": {"tracking": {"tag": "7"}}}))
        assert own["MODELYARD_TRAINING_IMAGE"] == "localhost/modelyard/tracking:7"
        named = operator_environment(template({"images": {"training": {"repository": "r/train", "tag": "1"}}}))
        assert named["MODELYARD_TRAINING_IMAGE"] == "r/train:1"


class TestTrackingServer:
    def test_one_process_with_threads_over_the_registry_of_the_model_namespace(self) -> None:
        server = tracking(template({"modelNamespace": "ml-team", "artifactStore": {"uri": "s3://models/a/"}}))
        assert server["command"] == ["mlflow", "server"]
        assert "--workers=1" in server["args"]
        assert "--registry-store-uri=modelyard://ml-team" in server["args"]
        assert "--artifacts-destination=s3://models/a/artifacts" in server["args"]
        assert environment(server)["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"

    def test_sqlite_has_one_writer(self) -> None:
        assert find(template(), "Deployment", "modelyard-tracking")["spec"]["strategy"] == {"type": "Recreate"}
        with pytest.raises(Refused, match="replicas above 1 needs a database other than sqlite"):
            template({"tracking": {"replicas": 2}})

    def test_other_databases_roll_without_a_gap(self) -> None:
        spec = find(case("own database by Secret"), "Deployment", "modelyard-tracking")["spec"]
        assert spec["replicas"] == 2
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0

    @pytest.mark.parametrize(
        ("name", "uri"),
        [
            ("defaults", "sqlite:////data/mlflow.db"),
            ("postgresql", "postgresql+psycopg2://mlflow@modelyard-postgresql:5432/mlflow"),
            ("own database by URI", "modelyard-tracking-database/uri"),
            ("own database by Secret", "db/url"),
        ],
    )
    def test_keeps_runs_where_it_is_told_and_waits_for_it(self, name: str, uri: str) -> None:
        objects = case(name)
        for container_name in ("prepare", "tracking"):
            assert environment(tracking(objects, container_name))["MLFLOW_BACKEND_STORE_URI"] == uri

    def test_no_password_is_in_a_command_line(self) -> None:
        server = tracking(case("own database by URI"))
        assert "u:p@db" not in str(server)

    def test_a_uri_without_a_driver_gets_the_images(self) -> None:
        secret = find(case("own database by URI"), "Secret", "modelyard-tracking-database")
        assert secret["stringData"] == {"uri": "postgresql+psycopg2://u:p@db/mlflow"}

    def test_an_external_database_must_be_named(self) -> None:
        with pytest.raises(Refused, match=r"databaseUri or tracking\.databaseSecret"):
            template({"tracking": {"database": "external"}})

    def test_volume_of_sqlite_outlives_the_release_if_wanted(self) -> None:
        claim = find(template(), "PersistentVolumeClaim", "modelyard-tracking")
        assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        removed = template({"tracking": {"persistence": {"keep": False}}})
        assert "annotations" not in find(removed, "PersistentVolumeClaim", "modelyard-tracking")["metadata"]


class TestAllowedHosts:
    def test_in_cluster_names_with_and_without_port(self) -> None:
        hosts = allowed_hosts(template())
        for name in ("", f".{NAMESPACE}", f".{NAMESPACE}.svc", f".{NAMESPACE}.svc.cluster.local"):
            assert f"modelyard-tracking{name}" in hosts
            assert f"modelyard-tracking{name}:5000" in hosts
        assert {"localhost:*", "127.0.0.1:*"} <= set(hosts)

    def test_addresses_of_nodes_only_where_there_is_a_port_on_them(self) -> None:
        assert "10.*" not in allowed_hosts(template())
        assert {"10.*", "192.168.*", "172.16.*", "172.31.*"} <= set(allowed_hosts(case("NodePort")))

    def test_host_of_the_ingress_and_own_ones(self) -> None:
        ingress = {"enabled": True, "host": "mlflow.example.com", "tlsSecretName": "tls"}
        objects = template({"tracking": {"ingress": ingress, "allowedHosts": ["mlflow"], "service": {"port": 80}}})
        assert {"mlflow.example.com", "mlflow.example.com:*", "mlflow", "modelyard-tracking:80"} <= set(
            allowed_hosts(objects)
        )
        assert environment(tracking(objects))["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == "https://mlflow.example.com"

    def test_never_everything(self) -> None:
        for each in CASES.values():
            if each.values.get("tracking", {}).get("enabled", True):
                assert "*" not in allowed_hosts(template(each.values))


class TestArtifactStore:
    def test_root_of_minio_is_in_its_pod_alone(self) -> None:
        holders = {owner for owner, pod in pod_templates(template()) if "modelyard-minio-root" in str(pod)}
        assert holders == {"StatefulSet/modelyard-minio"}

    def test_operator_and_tracking_server_write_and_the_reader_is_handed_on(self) -> None:
        objects = template()
        operator = operator_environment(objects)
        assert operator["AWS_ACCESS_KEY_ID"] == "modelyard-store-writer/AWS_ACCESS_KEY_ID"
        assert operator["MODELYARD_READER_ACCESS_KEY_ID"] == "modelyard-store-reader/AWS_ACCESS_KEY_ID"
        server = environment(tracking(objects))
        assert server["AWS_SECRET_ACCESS_KEY"] == "modelyard-store-writer/AWS_SECRET_ACCESS_KEY"
        assert server["MLFLOW_S3_ENDPOINT_URL"] == server["MODELYARD_S3_ENDPOINT"]
        assert server["MODELYARD_S3_ENDPOINT"] == f"http://modelyard-minio.{NAMESPACE}.svc:9000"
        assert not any("reader" in value for value in server.values())

    def test_own_s3_replaces_minio(self) -> None:
        objects = case("own S3")
        assert not names(objects, "StatefulSet")
        assert names(objects, "Secret") == {"modelyard-operator-records"}
        server = environment(tracking(objects))
        assert server["MODELYARD_S3_ENDPOINT"] == ""
        assert server["AWS_DEFAULT_REGION"] == OWN_S3["region"]
        assert "MLFLOW_S3_ENDPOINT_URL" not in server

    def test_workload_identity_needs_no_keys(self) -> None:
        objects = case("own S3 by workload identity")
        assert "AWS_ACCESS_KEY_ID" not in operator_environment(objects)
        account = find(objects, "ServiceAccount", "modelyard-operator")
        assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/o"}
        bucket = container(objects, "Deployment", "modelyard-operator", "bucket")
        assert bucket["command"] == ["python", "-m", "modelyard.artifacts.bootstrap"]

    def test_reader_alone_is_refused(self) -> None:
        with pytest.raises(Refused, match=r"without artifactStore\.existingSecret"):
            template({"minio": {"enabled": False}, "artifactStore": {"readerSecret": "r"}})


class TestCredentials:
    def test_are_made_once_a_rendering(self) -> None:
        objects = case("postgresql")
        secrets = [body for body in objects if body["kind"] == "Secret"]
        made = [
            value for body in secrets for key, value in body["stringData"].items() if not key.endswith("ACCESS_KEY_ID")
        ]
        assert len(set(made)) == len(made) == 5
        assert {len(each) for each in made} == {40}
        holders = ("Deployment/modelyard-operator", "Deployment/modelyard-tracking", "StatefulSet/modelyard-minio")
        sums = {
            o: pod["metadata"]["annotations"]["checksum/store"] for o, pod in pod_templates(objects) if o in holders
        }
        assert len(sums) == 3
        assert len(set(sums.values())) == 1

    def test_existing_secrets_make_the_rendering_reproducible(self) -> None:
        objects = case("GitOps")
        assert objects == template(CASES["GitOps"].values)
        assert not names(objects, "Secret")

    @pytest.mark.parametrize(
        ("given", "asked"),
        [
            ({}, "minio.existingSecret"),
            ({"minio": {"existingSecret": "a"}}, "artifactStore.existingSecret"),
            (
                {"minio": {"existingSecret": "a"}, "artifactStore": {"existingSecret": "b"}},
                "artifactStore.readerSecret",
            ),
            (
                {
                    "minio": {"existingSecret": "a"},
                    "artifactStore": {"existingSecret": "b", "readerSecret": "c"},
                    "tracking": {"database": "postgresql"},
                },
                "postgresql.existingSecret",
            ),
        ],
    )
    def test_are_asked_for_where_none_may_be_made(self, given: Json, asked: str) -> None:
        with pytest.raises(Refused, match=f"credentials.generate is false: name an existing Secret in {asked}"):
            template({"credentials": {"generate": False}, **given})


class TestNetworkPolicies:
    def test_name_who_may_reach_the_store_and_the_database(self) -> None:
        objects = case("network policies")
        (store,) = find(objects, "NetworkPolicy", "modelyard-minio")["spec"]["ingress"]
        own = {each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in store["from"][:4]}
        assert own == {"operator", "tracking", "node-cache", "test"}
        assert {each["podSelector"]["matchExpressions"][0]["key"] for each in store["from"][4:]} == {
            "modelyard.dev/deployment",
            "modelyard.dev/model",
            "modelyard.dev/experiment",
        }
        (database,) = find(objects, "NetworkPolicy", "modelyard-postgresql")["spec"]["ingress"]
        (only,) = database["from"]
        assert only["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "tracking"


def test_without_a_tracking_server_another_must_be_named() -> None:
    with pytest.raises(Refused, match=r"set tracking\.externalUri"):
        template({"tracking": {"enabled": False}})
    operator = operator_environment(case("without tracking server"))
    assert operator["MODELYARD_TRACKING_URI"] == "https://mlflow.example.com"
