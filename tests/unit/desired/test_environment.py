"""The Job that makes an environment: which container may do what; and what trials get."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, replace

import pytest

from modelyard.api.experiment import Experiment
from modelyard.api.project_files import TrialEnvironment
from modelyard.desired.environment import (
    Building,
    Entering,
    JobSettings,
    entering,
    environment_job,
    upload_secret,
)
from modelyard.desired.reader import READER_SECRET
from tests.unit.desired.deployments import Json

TEMPLATE: Json = {
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "imagePullSecrets": [{"name": "registry"}],
    "runtimeClassName": "nvidia",
}
BUILDING = Building("environment-abc", "abc" * 8, "training:1", "s3://b/environments/abc/recipe.json")
SOURCE = {"secretRef": {"name": "uv", "optional": True}}
SETTINGS = JobSettings("operator:1", "Never", 1800, {"limits": {"memory": "4Gi"}}, (SOURCE,), "https://i", "https://c")
MADE = TrialEnvironment("k", "training:1", archive="s3://b/k/environment.tar.gz", digest="sha256:1")


@dataclass(frozen=True)
class Images:
    fetch: str = "operator:1"
    pull_policy: str = "Never"


def job(building: Building = BUILDING, template: Json | None = None) -> Json:
    spec: Json = {"project": {"configMap": {"name": "x"}}}
    if template:
        spec["template"] = template
    owner = Experiment.parse({"metadata": {"name": "churn", "namespace": "ml", "uid": "u"}, "spec": spec})
    return environment_job(owner, building, SETTINGS)


def containers(building: Building = BUILDING) -> dict[str, Json]:
    pod = job(building)["spec"]["template"]["spec"]
    return {each["name"]: each for each in (*pod["initContainers"], *pod["containers"])}


def variables(container: Json) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_channels_are_asked_only_where_there_are_any() -> None:
    assert list(containers()) == ["tools", "build", "upload"]
    assert list(containers(replace(BUILDING, conda=True))) == ["tools", "conda", "build", "upload"]


def test_what_runs_code_of_packages_can_neither_read_nor_write_the_store() -> None:
    made = containers(replace(BUILDING, conda=True))
    assert {name for name, each in made.items() if each["image"] == "training:1"} == {"build"}
    reads = [name for name, each in made.items() if {"secretRef": {"name": READER_SECRET}} in each.get("envFrom", [])]
    writes = [name for name, each in made.items() if any("valueFrom" in variable for variable in each["env"])]
    assert (reads, writes) == (["tools"], ["upload"])


def test_what_installs_has_the_installations_index_channels_resources_and_variables() -> None:
    made = containers(replace(BUILDING, conda=True))
    for name in ("conda", "build"):
        assert made[name]["envFrom"] == [SOURCE]
        assert made[name]["resources"] == {"limits": {"memory": "4Gi"}}
        said = variables(made[name])
        assert (said["UV_DEFAULT_INDEX"], said["CONDA_CHANNEL_ALIAS"]) == ("https://i", "https://c")
        assert said["MODELYARD_SECONDS"] == "1800"
    assert all(each["resources"]["limits"]["memory"] for each in made.values())


def test_it_fits_the_restricted_standard_and_has_no_token() -> None:
    pod = job()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for each in containers(replace(BUILDING, conda=True)).values():
        security = each["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False


def test_it_runs_where_trials_run() -> None:
    pod = job(template=TEMPLATE)["spec"]["template"]["spec"]
    assert {name: pod[name] for name in TEMPLATE} == TEMPLATE
    assert TEMPLATE.keys().isdisjoint(job()["spec"]["template"]["spec"])


def test_it_ends_in_time_and_only_a_pod_that_the_cluster_took_is_replaced() -> None:
    spec = job()["spec"]
    assert spec["activeDeadlineSeconds"] == 1800
    disrupted, ended = spec["podFailurePolicy"]["rules"]
    assert (disrupted["action"], ended["action"]) == ("Count", "FailJob")
    assert spec["ttlSecondsAfterFinished"] > 0


def test_it_is_the_experiments_that_asked_first() -> None:
    metadata = job()["metadata"]
    assert metadata["labels"]["modelyard.dev/experiment"] == "churn"
    assert [each["name"] for each in metadata["ownerReferences"]] == ["churn"]
    assert "modelyard.dev/trial" not in metadata["labels"], "it is no trial"


def test_a_trial_unpacks_it_where_it_was_built_with_credentials_in_that_container_alone() -> None:
    found = entering(MADE, Images())
    (container,) = found.init_containers
    assert container["command"][-3:] == ["s3://b/k/environment.tar.gz", "sha256:1", "/environment"]
    assert container["envFrom"] == [{"secretRef": {"name": READER_SECRET}}]
    assert [each["mountPath"] for each in found.mounts] == ["/environment"]
    assert {each["name"] for each in found.volumes} == {each["name"] for each in found.mounts}
    assert list(found.env) == ["BASH_ENV"]


def test_a_trial_that_uses_its_image_gets_nothing() -> None:
    assert entering(replace(MADE, archive=None, digest=None), Images()) == Entering()


@pytest.mark.parametrize("urls", [{"report": "https://x/1", "lock": "https://x/2"}, {}])
def test_the_secret_has_a_part_for_each_job(urls: dict[str, str]) -> None:
    data = upload_secret("ml", "environment-abc", urls)["data"]
    assert {name: b64decode(value).decode() for name, value in data.items()} == {
        f"environment-abc.{name}": url for name, url in urls.items()
    }
