"""What the operator tells a model pod is what the model server understands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelyard.api import ModelDeployment
from modelyard.api.serving import DRAIN_SECONDS, Prepared, PreparedObject, ServedModel
from modelyard.desired import pods
from modelyard_serving.config import Config

MODEL = ServedModel("churn", 3, "s3://modelyard/artifacts/1/model", "sha256:" + "3" * 64)


def config_of(rest: dict[str, Any], prepared: Prepared | None = None) -> Config:
    owner = ModelDeployment.parse(
        {
            "metadata": {"name": "web", "namespace": "ml", "uid": "u"},
            "spec": {"model": {"name": "churn", "stage": "Production"}, "rest": rest},
        }
    )
    model = replace(MODEL, prepared=prepared or Prepared())
    (container,) = pods.template(owner, model, "image", "Never")["spec"]["containers"]
    return Config.from_env({each["name"]: each["value"] for each in container["env"]})


def test_the_pods_environment_is_a_valid_configuration() -> None:
    config = config_of({})
    assert (config.model_name, config.model_version) == ("churn", "3")
    assert (str(config.source), config.digest) == (MODEL.artifact, MODEL.digest)
    assert config.port == pods.PORT
    assert (config.drain_seconds, config.shutdown_seconds) == (DRAIN_SECONDS, pods.SHUTDOWN_SECONDS)


def test_what_the_spec_says_of_serving_arrives() -> None:
    rest = {
        "environment": "Model",
        "accessLog": True,
        "limits": {"maxBodySize": "1Mi", "maxQueue": 7, "timeout": "5s", "maxBatchRows": 0},
    }
    prepared = Prepared(
        PreparedObject("s3://modelyard/prepared/x/model.onnx", "sha256:" + "1" * 64),
        PreparedObject("s3://modelyard/prepared/x/environment.tar.gz", "sha256:" + "2" * 64),
    )
    config = config_of(rest, prepared)
    assert (config.max_body_bytes, config.max_queue, config.request_seconds) == (1 << 20, 7, 5.0)
    assert (config.max_batch_rows, config.access_log, config.environment) == (0, True, "model")
    assert config.grpc_port == pods.GRPC_PORT
    assert config.accelerated is not None
    assert config.packed_environment is not None
    assert prepared.accelerated is not None
    assert (str(config.accelerated.source), config.accelerated.digest) == (
        prepared.accelerated.source,
        prepared.accelerated.digest,
    )
    assert str(config.packed_environment.source).endswith("environment.tar.gz")
    assert config_of({"runtime": "Native"}, prepared).accelerated is None
    assert config_of({"runtime": "Native"}, prepared).runtime == "native"
