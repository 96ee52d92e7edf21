"""The chart as Helm renders it, without a cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.paths import bin_dir

Json = dict[str, Any]

CHART = Path(__file__).resolve().parents[3] / "charts" / "modelyard"
KUBERNETES = "1.34.4"
RELEASE = "modelyard"
NAMESPACE = "modelyard-system"


class Refused(Exception):
    """Helm does not accept the values; the message is what it said."""


def helm(*arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """Run Helm with values and return what it printed. Raises `Refused`."""
    program = shutil.which("helm", path=os.pathsep.join([os.environ.get("PATH", ""), str(bin_dir())]))
    if program is None:
        pytest.fail("there is no helm: make cluster-build")
    done = subprocess.run(
        [program, *arguments, "--values", "-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
        # No cluster: what is rendered must not depend on the one that happens to be there.
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def template(
    values: Mapping[str, Any] | None = None,
    *,
    release: str = RELEASE,
    kubernetes: str = KUBERNETES,
    api_versions: Sequence[str] = (),
) -> list[Json]:
    """Return the objects of a release with these values, hooks included. Raises `Refused`.

    `api_versions` are what a cluster has beside what each has, as group/version/Kind.
    """
    cluster = ("--kube-version", kubernetes, *(f"--api-versions={each}" for each in api_versions))
    arguments = ("template", release, str(CHART), "--namespace", NAMESPACE, *cluster)
    return [body for body in yaml.load_all(helm(*arguments, values=values), yaml.CSafeLoader) if body]


def find(objects: Sequence[Json], kind: str, name: str) -> Json:
    """Return the one object of a kind and name."""
    (found,) = [body for body in objects if (body["kind"], body["metadata"]["name"]) == (kind, name)]
    return found


def names(objects: Sequence[Json], kind: str) -> set[str]:
    """Return the names of all objects of a kind."""
    return {body["metadata"]["name"] for body in objects if body["kind"] == kind}


def pod_templates(objects: Sequence[Json]) -> Iterator[tuple[str, Json]]:
    """Yield each pod template's owner and the template; a pod is its own."""
    for body in objects:
        label = f"{body['kind']}/{body['metadata']['name']}"
        if body["kind"] == "Pod":
            yield label, body
        elif body["kind"] in {"Deployment", "StatefulSet", "DaemonSet", "Job"}:
            yield label, body["spec"]["template"]


def containers(pod: Json) -> list[Json]:
    """Return the init containers and containers of a pod template."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def container(objects: Sequence[Json], kind: str, name: str, container_name: str) -> Json:
    """Return one container of a workload."""
    pod = find(objects, kind, name)["spec"]["template"]
    (found,) = [each for each in containers(pod) if each["name"] == container_name]
    return found


def environment(container: Json) -> dict[str, str]:
    """Return a container's variables; one that comes from a Secret reads `<secret>/<key>`, from the pod its path."""
    return {entry["name"]: _value(entry) for entry in container.get("env", [])}


def _value(entry: Json) -> str:
    if "valueFrom" in entry:
        if field := entry["valueFrom"].get("fieldRef"):
            return str(field["fieldPath"])
        reference = entry["valueFrom"]["secretKeyRef"]
        return f"{reference['name']}/{reference['key']}"
    return str(entry.get("value", ""))


def rules(objects: Sequence[Json], kind: str, name: str) -> set[tuple[str, str, str]]:
    """Return what a role allows: (group, resource, verb)."""
    return {
        (group, resource, verb)
        for rule in find(objects, kind, name)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
