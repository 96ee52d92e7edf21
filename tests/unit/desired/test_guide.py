"""The guide's three manifests, a Deployment, a Service and an Ingress, are one ModelDeployment."""

from __future__ import annotations

import yaml

from modelyard.api import ModelDeployment
from modelyard.desired import pods, traffic
from tests.unit.desired.deployments import V3

ONE = """
metadata: {name: churn-model, namespace: ml-serving, uid: u-1}
spec:
  model: {name: churn-prediction-model, stage: Production}
  rest:
    replicas: 3
    resources:
      requests: {memory: 1Gi, cpu: 500m}
      limits: {memory: 2Gi, cpu: 1000m}
    pod:
      labels: {app: churn-model}
      env:
        - {name: GUNICORN_CMD_ARGS, value: "--workers=4 --timeout=60"}
    ingress:
      host: churn-model.your-domain.com
      paths: [{path: /, pathType: Prefix}]
      annotations: {nginx.ingress.kubernetes.io/rewrite-target: /}
"""
OWNER = ModelDeployment.parse(yaml.safe_load(ONE))


def test_the_deployment_is_that_of_the_guide() -> None:
    template = pods.template(OWNER, V3, "your-registry/churn-model:v1.2.0", "IfNotPresent")
    body = pods.deployment(OWNER, V3, template, "inputs", OWNER.spec.rest.replicas)
    (container,) = template["spec"]["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert (body["metadata"]["namespace"], body["spec"]["replicas"]) == ("ml-serving", 3)
    assert template["metadata"]["labels"]["app"] == "churn-model"
    assert {port["name"]: port["containerPort"] for port in container["ports"]}["http"] == 8080
    assert variables["GUNICORN_CMD_ARGS"] == "--workers=4 --timeout=60"
    # A stage means another version tomorrow: what a pod serves is named by number.
    assert variables["MLFLOW_MODEL_URI"] == "models:/churn-prediction-model/3"
    assert container["resources"] == {
        "requests": {"memory": "1Gi", "cpu": "500m"},
        "limits": {"memory": "2Gi", "cpu": "1000m"},
    }
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}


def test_the_service_is_that_of_the_guide() -> None:
    body = traffic.service(OWNER, V3.revision, split=False)
    port = next(each for each in body["spec"]["ports"] if each["name"] == "http")
    assert (body["spec"]["type"], port["port"], port["targetPort"]) == ("ClusterIP", 80, "http")


def test_the_ingress_is_that_of_the_guide() -> None:
    assert OWNER.spec.rest.ingress
    body = traffic.ingress(OWNER, OWNER.spec.rest.ingress)
    (rule,) = body["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert body["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/rewrite-target": "/"}
    assert (rule["host"], path["path"], path["pathType"]) == ("churn-model.your-domain.com", "/", "Prefix")
    assert path["backend"] == {"service": {"name": "churn-model", "port": {"name": "http"}}}
