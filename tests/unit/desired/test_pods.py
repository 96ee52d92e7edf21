"""The Deployment of a served version: what users say of its pods, and what they cannot say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.api import ModelDeployment
from modelyard.api.names import REFRESH_ANNOTATION, TEMPLATE_ANNOTATION
from modelyard.api.serving import Prepared, PreparedObject, ServedModel
from modelyard.desired import pods
from tests.unit.desired.deployments import V3, V4, Json, deployment


def template(*, model: ServedModel = V3, image: str = "modelyard/serving:1", **rest: Any) -> Json:
    return pods.template(deployment(**rest), model, image, "IfNotPresent")


def spec(**rest: Any) -> Json:
    found: Json = template(**rest)["spec"]
    return found


def container(**rest: Any) -> Json:
    (found,) = spec(**rest)["containers"]
    return dict(found)


def environment(**rest: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(**rest)["env"]}


def built(owner: ModelDeployment | None = None, replicas: int = 2, **rest: Any) -> Json:
    owner = owner or deployment(**rest)
    made = pods.template(owner, V3, "modelyard/serving:1", "IfNotPresent")
    return pods.deployment(owner, V3, made, pods.template_inputs(owner, V3), replicas)


class TestDeployment:
    def test_is_owned_and_labelled(self) -> None:
        metadata = built()["metadata"]
        (reference,) = metadata["ownerReferences"]
        assert (reference["kind"], reference["name"], reference["uid"]) == ("ModelDeployment", "churn", "u-1")
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "modelyard"
        assert metadata["labels"]["modelyard.dev/deployment"] == "churn"

    def test_has_a_stable_name(self) -> None:
        assert built()["metadata"]["name"] == "churn-v3-9434c6c9"

    def test_selects_the_pods_that_it_makes(self) -> None:
        body = built(pod={"labels": {"team": "churn"}})
        selector = body["spec"]["selector"]["matchLabels"]
        assert selector == {"modelyard.dev/deployment": "churn", "modelyard.dev/revision": V3.revision}
        assert selector.items() <= body["spec"]["template"]["metadata"]["labels"].items()

    def test_has_the_replicas_that_it_is_told_and_not_those_of_the_spec(self) -> None:
        assert built(deployment(replicas=9), replicas=4)["spec"]["replicas"] == 4

    def test_never_goes_below_its_replicas_for_an_edit(self) -> None:
        rolling = built()["spec"]["strategy"]["rollingUpdate"]
        assert rolling == {"maxUnavailable": 0, "maxSurge": "25%"}

    @pytest.mark.parametrize(("rollout", "seconds"), [({}, 300), ({"progressDeadlineSeconds": 45}, 45)])
    def test_has_the_deadline_of_the_spec(self, rollout: Json, seconds: int) -> None:
        assert built(rollout=rollout)["spec"]["progressDeadlineSeconds"] == seconds
        assert built()["spec"]["progressDeadlineSeconds"] == 300


class TestRevision:
    @pytest.mark.parametrize(
        "other",
        [
            ServedModel("another", V3.version, V3.artifact, V3.digest),
            ServedModel(V3.name, 4, V3.artifact, V3.digest),
            ServedModel(V3.name, V3.version, V3.artifact, "sha256:" + "4" * 64),
        ],
        ids=["model", "version", "content"],
    )
    def test_is_another_for_another_content(self, other: ServedModel) -> None:
        assert other.revision != V3.revision


class TestContainer:
    def test_is_told_what_to_load_and_which_digest_to_find(self) -> None:
        assert (
            environment().items()
            >= {
                "MLFLOW_MODEL_URI": "models:/churn-prediction-model/3",
                "MODELYARD_MODEL_SOURCE": V3.artifact,
                "MODELYARD_MODEL_DIGEST": V3.digest,
            }.items()
        )

    @pytest.mark.parametrize(("rest", "remembered"), [({}, "256"), ({"recentRequests": 0}, "0")])
    def test_is_told_how_many_requests_to_remember(self, rest: Json, remembered: str) -> None:
        assert environment(**rest)["MODELYARD_RECENT_REQUESTS"] == remembered

    @pytest.mark.parametrize(
        ("rest", "told"),
        [
            ({"runtime": "Native"}, {"MODELYARD_RUNTIME": "native"}),
            ({"environment": "Image"}, {"MODELYARD_ENVIRONMENT": "image"}),
            ({"environment": "Model"}, {"MODELYARD_ENVIRONMENT": "model"}),
            ({"accessLog": True}, {"MODELYARD_ACCESS_LOG": "1"}),
            (
                {"limits": {"maxBodySize": "2Mi", "timeout": "1m30s"}},
                {
                    "MODELYARD_MAX_BODY_BYTES": "2097152",
                    "MODELYARD_MAX_QUEUE": "256",
                    "MODELYARD_REQUEST_SECONDS": "90",
                    "MODELYARD_MAX_BATCH_ROWS": "1024",
                },
            ),
            (
                {"tracing": {"endpoint": "http://otel:4318", "sampleRatio": "0.1"}},
                {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318",
                    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                    "OTEL_TRACES_SAMPLER_ARG": "0.1",
                    "OTEL_SERVICE_NAME": "churn",
                },
            ),
        ],
        ids=["native", "the image's libraries", "the model's", "an access log", "limits", "tracing"],
    )
    def test_is_told_what_the_spec_says_of_serving_and_nothing_where_it_says_nothing(
        self, rest: Json, told: dict[str, str]
    ) -> None:
        plain = environment()
        assert {key: value for key, value in environment(**rest).items() if plain.get(key) != value} == told
        assert plain.keys().isdisjoint(told)

    def test_speaks_grpc_beside_http(self) -> None:
        ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
        assert ports == {"http": 8080, "grpc": 8081}
        assert environment()["MODELYARD_GRPC_PORT"] == "8081"

    @pytest.mark.parametrize(
        ("rest", "used"),
        [
            ({}, {"ACCELERATED", "ENVIRONMENT"}),
            ({"runtime": "Native"}, {"ENVIRONMENT"}),
            ({"environment": "Image"}, {"ACCELERATED"}),
            ({"environment": "Model"}, {"ACCELERATED", "ENVIRONMENT"}),
        ],
    )
    def test_is_told_what_was_prepared_where_the_spec_lets_it_be_used(self, rest: Json, used: set[str]) -> None:
        prepared = Prepared(PreparedObject("s3://b/m.onnx", "sha256:1"), PreparedObject("s3://b/e.tar.gz", "sha256:2"))
        model = ServedModel(V3.name, V3.version, V3.artifact, V3.digest, prepared)
        (found,) = template(model=model, **rest)["spec"]["containers"]
        told = {each["name"]: each["value"] for each in found["env"]}
        all_of_it = {
            "MODELYARD_ACCELERATED_SOURCE": "s3://b/m.onnx",
            "MODELYARD_ACCELERATED_DIGEST": "sha256:1",
            "MODELYARD_ENVIRONMENT_SOURCE": "s3://b/e.tar.gz",
            "MODELYARD_ENVIRONMENT_DIGEST": "sha256:2",
        }
        wanted = {key: value for key, value in all_of_it.items() if key.split("_")[1] in used}
        assert {key: value for key, value in told.items() if key in all_of_it} == wanted

    def test_has_time_to_drain_and_to_answer_what_has_begun_before_it_is_killed(self) -> None:
        told = environment()
        needed = int(told["MODELYARD_DRAIN_SECONDS"]) + int(told["MODELYARD_SHUTDOWN_SECONDS"])
        assert needed < spec()["terminationGracePeriodSeconds"] == 25

    @pytest.mark.parametrize(("deadline", "allowed"), [(10, 600), (300, 600), (3600, 3600)])
    def test_may_load_as_long_as_the_rollout_waits_and_never_less_than_usual(self, deadline: int, allowed: int) -> None:
        probe = container(rollout={"progressDeadlineSeconds": deadline})["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == allowed

    @pytest.mark.parametrize(
        "resources",
        [
            None,
            {"limits": {"memory": "1Gi"}},
            {"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}},
        ],
    )
    def test_has_the_resources_of_the_spec(self, resources: Json | None) -> None:
        assert container(resources=resources).get("resources") == resources

    def test_has_the_variables_of_the_spec_after_its_own(self) -> None:
        given = [{"name": "OMP_NUM_THREADS", "value": "2"}, {"name": "EMPTY"}]
        assert container(pod={"env": given})["env"][-2:] == [given[0], {"name": "EMPTY", "value": ""}]

    def test_reads_the_artifact_store_with_its_own_secret_whatever_else_it_is_given(self) -> None:
        own = {"secretRef": {"name": "modelyard-artifacts-reader"}}
        assert container()["envFrom"] == [own]
        other = {"configMapRef": {"name": "features", "optional": False}}
        assert container(pod={"envFrom": [other]})["envFrom"] == [{"configMapRef": {"name": "features"}}, own]

    def test_is_asked_often_whether_it_is_ready_and_killed_late(self) -> None:
        found = container()
        silent = {
            probe: found[probe]["periodSeconds"] * found[probe]["failureThreshold"]
            for probe in ("readinessProbe", "livenessProbe")
        }
        assert found["readinessProbe"]["periodSeconds"] == 2
        assert silent == {"readinessProbe": 6, "livenessProbe": 60}


class TestOverrides:
    @pytest.mark.parametrize(
        ("said", "field", "expected"),
        [
            ({"nodeSelector": {"disk": "ssd"}}, "nodeSelector", {"disk": "ssd"}),
            (
                {"tolerations": [{"key": "gpu", "operator": "Exists"}]},
                "tolerations",
                [{"key": "gpu", "operator": "Exists"}],
            ),
            ({"affinity": {"nodeAffinity": {"x": ["y"]}}}, "affinity", {"nodeAffinity": {"x": ["y"]}}),
            ({"priorityClassName": "high"}, "priorityClassName", "high"),
            ({"runtimeClassName": "gvisor"}, "runtimeClassName", "gvisor"),
            ({"serviceAccountName": "churn"}, "serviceAccountName", "churn"),
            ({"imagePullSecrets": [{"name": "registry"}]}, "imagePullSecrets", [{"name": "registry"}]),
        ],
    )
    def test_are_in_the_pod_and_nothing_is_where_nothing_is_said(self, said: Json, field: str, expected: Any) -> None:
        assert spec(pod=said)[field] == expected
        assert field not in spec()

    def test_of_metadata_are_beside_the_operators(self) -> None:
        metadata = template(pod={"labels": {"team": "churn"}, "annotations": {"a": "b"}})["metadata"]
        assert (metadata["labels"]["team"], metadata["annotations"]["a"]) == ("churn", "b")

    @pytest.mark.parametrize(
        ("part", "key"), [("labels", "modelyard.dev/revision"), ("annotations", "modelyard.dev/model-name")]
    )
    def test_of_metadata_do_not_replace_the_operators(self, part: str, key: str) -> None:
        assert template(pod={part: {key: "mine"}})["metadata"][part][key] == template()["metadata"][part][key]

    def test_add_volumes(self) -> None:
        said = {
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": False}}],
            "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {"name": "data", "mountPath": "/fixed", "subPath": "a", "readOnly": True},
            ],
        }
        assert spec(pod=said)["volumes"] == [
            {"name": "tmp", "emptyDir": {}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        ]
        assert container(pod=said)["volumeMounts"] == [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "data", "mountPath": "/data"},
            {"name": "data", "mountPath": "/fixed", "subPath": "a", "readOnly": True},
        ]

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (
                {},
                [
                    ("kubernetes.io/hostname", 1, "ScheduleAnyway"),
                    ("topology.kubernetes.io/zone", 1, "ScheduleAnyway"),
                ],
            ),
            ({"topologySpread": []}, []),
            (
                {"topologySpread": [{"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]},
                [("rack", 2, "DoNotSchedule")],
            ),
        ],
        ids=["default", "none", "one's own"],
    )
    def test_spread_the_pods_of_a_revision(self, said: Json, expected: list[tuple[str, int, str]]) -> None:
        constraints = spec(pod=said).get("topologySpreadConstraints", [])
        assert [(c["topologyKey"], c["maxSkew"], c["whenUnsatisfiable"]) for c in constraints] == expected
        for each in constraints:
            assert each["labelSelector"]["matchLabels"]["modelyard.dev/revision"] == V3.revision

    @pytest.mark.parametrize(("said", "mounted"), [({}, False), ({"serviceAccountName": "churn"}, True)])
    def test_bring_a_token_only_with_an_account_of_its_own(self, said: Json, mounted: bool) -> None:
        assert spec(pod=said)["automountServiceAccountToken"] is mounted


def test_a_pod_fits_the_restricted_standard() -> None:
    pod = spec()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container()["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True


class TestKeptTemplate:
    def test_is_what_an_older_operator_applied(self) -> None:
        owner = deployment(resources={"requests": {"cpu": "1"}})
        inputs = pods.template_inputs(owner, V3)
        older = pods.template(owner, V3, "modelyard/serving:1", "IfNotPresent")
        live = pods.deployment(owner, V3, older, inputs, 2)
        assert pods.kept_template(live, pods.template_inputs(owner, V3)) == older
        again = pods.deployment(owner, V3, older, inputs, 2)
        assert again == live, "what is kept is written as it was"

    @pytest.mark.parametrize(
        "annotation",
        [None, "", "{", "[]", '{"inputs": "x"}', '{"inputs": "x", "template": 1}', '{"inputs": "y", "template": {}}'],
    )
    def test_is_not_there_where_it_cannot_be_read_or_is_of_other_inputs(self, annotation: str | None) -> None:
        annotations = {} if annotation is None else {TEMPLATE_ANNOTATION: annotation}
        assert pods.kept_template({"metadata": {"annotations": annotations}}, "x") is None
        assert pods.kept_template({"metadata": {}}, "x") is None

    def test_leaves_an_object_the_room_for_its_other_annotations(self) -> None:
        large = [{"name": f"V{n}", "value": "x" * 4096} for n in range(64)]
        body = built(pod={"env": large})
        kept = json.loads(body["metadata"]["annotations"][TEMPLATE_ANNOTATION])
        assert kept.keys() == {"inputs"}
        assert pods.kept_template(body, kept["inputs"]) is None


class TestInputs:
    SAME: tuple[tuple[str, Json], ...] = (
        ("replicas", {"replicas": 7}),
        ("a default that is written out", {"recentRequests": 256, "pod": {"env": [], "labels": {}}}),
        ("the way to the pods", {"ingress": {"host": "h"}}),
        ("a rollout", {"rollout": {"strategy": "BlueGreen", "analysis": {"maxP99": "1s"}}}),
        ("a short deadline", {"rollout": {"progressDeadlineSeconds": 20}}),
        ("an autoscaler", {"autoscaling": {"maxReplicas": 3, "targetCPU": 70}}),
        (
            "how serving is by default",
            {"runtime": "Auto", "environment": "Auto", "limits": {"maxQueue": 256}, "accessLog": False},
        ),
    )
    OTHER: tuple[tuple[str, Json], ...] = (
        ("resources", {"resources": {"limits": {"memory": "1Gi"}}}),
        ("a variable", {"pod": {"env": [{"name": "A", "value": "b"}]}}),
        ("no spreading", {"pod": {"topologySpread": []}}),
        ("what is remembered", {"recentRequests": 0}),
        ("a runtime", {"runtime": "Native"}),
        ("an environment", {"environment": "Model"}),
        ("a limit", {"limits": {"timeout": "5s"}}),
        ("an access log", {"accessLog": True}),
        ("tracing", {"tracing": {"endpoint": "http://otel:4318"}}),
        ("more time to load", {"rollout": {"progressDeadlineSeconds": 1200}}),
    )

    @pytest.mark.parametrize("rest", [rest for _, rest in SAME], ids=[name for name, _ in SAME])
    def test_are_the_same_for_what_pods_do_not_have(self, rest: Json) -> None:
        assert pods.template_inputs(deployment(**rest), V3) == pods.template_inputs(deployment(), V3)

    @pytest.mark.parametrize("rest", [rest for _, rest in OTHER], ids=[name for name, _ in OTHER])
    def test_are_others_for_what_pods_have(self, rest: Json) -> None:
        assert pods.template_inputs(deployment(**rest), V3) != pods.template_inputs(deployment(), V3)

    def test_are_the_same_whatever_was_prepared_since(self) -> None:
        prepared = ServedModel(
            V3.name, V3.version, V3.artifact, V3.digest, Prepared(PreparedObject("s3://b/k", "sha256:1"))
        )
        assert pods.template_inputs(deployment(), prepared) == pods.template_inputs(deployment(), V3)
        assert prepared.revision == V3.revision

    def test_are_others_for_another_version(self) -> None:
        assert pods.template_inputs(deployment(), V4) != pods.template_inputs(deployment(), V3)

    def test_are_others_for_every_new_value_of_the_refresh_annotation(self) -> None:
        values = [None, {REFRESH_ANNOTATION: "1"}, {REFRESH_ANNOTATION: "2"}]
        assert len({pods.template_inputs(deployment(annotations=value), V3) for value in values}) == 3

    def test_stay_what_they_are_from_release_to_release(self) -> None:
        said: Json = {"resources": {"limits": {"memory": "1Gi"}}, "pod": {"env": [{"name": "A", "value": "b"}]}}
        assert pods.template_inputs(deployment(**said), V3) == "01ea77a3c8af9eb6"
