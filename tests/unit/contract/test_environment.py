"""What the operator tells a model pod is what the model server understands."""

from __future__ import annotations

from modelyard.api import ModelDeployment
from modelyard.api.serving import DRAIN_SECONDS, ServedModel
from modelyard.desired import pods
from modelyard_serving.config import Config

MODEL = ServedModel("churn", 3, "s3://modelyard/artifacts/1/model", "sha256:" + "3" * 64)


def test_the_pods_environment_is_a_valid_configuration() -> None:
    owner = ModelDeployment.parse(
        {
            "metadata": {"name": "web", "namespace": "ml", "uid": "u"},
            "spec": {"model": {"name": "churn", "stage": "Production"}, "rest": {}},
        }
    )
    (container,) = pods.template(owner, MODEL, "image", "Never")["spec"]["containers"]
    config = Config.from_env({each["name"]: each["value"] for each in container["env"]})
    assert (config.model_name, config.model_version) == ("churn", "3")
    assert (str(config.source), config.digest) == (MODEL.artifact, MODEL.digest)
    assert config.port == pods.PORT
    assert (config.drain_seconds, config.shutdown_seconds) == (DRAIN_SECONDS, pods.SHUTDOWN_SECONDS)
