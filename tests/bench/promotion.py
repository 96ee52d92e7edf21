"""How long a promotion takes, from the edit to the first answer of the new version, beside a bare `kubectl set image`.

`make bench` runs it on the cluster with the demo's deployment. Each round promotes another version and, on a plain
Deployment of the same pod (same image, model, probes and resources), changes the image to another tag of the same
image; the two alternate. Both are asked for the first answer through the same Ingress controller.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from examples.demo import screen
from examples.demo.kubectl import Kubectl, run
from examples.demo.steps import DEPLOYMENT, MODEL, REQUEST, Demo
from examples.demo.traffic import Endpoint

Json = dict[str, Any]
ROUNDS = 5
BARE = "bare-model"
HEADER_WAIT = 0.02


def until_version(endpoint: Endpoint, version: str, seconds: float = 300.0) -> float:
    """Ask until an answer is of that version; return when, on the monotonic clock."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = endpoint.ask(REQUEST)
        except OSError:
            answer = None
        if answer is not None and answer.status == 200 and answer.version == version:
            return time.monotonic()
        time.sleep(HEADER_WAIT)
    raise TimeoutError(f"version {version} did not answer within {seconds:.0f} s")


def settle(kubectl: Kubectl) -> None:
    """Wait until nothing drains and no pod of either is going."""
    kubectl.wait_for("modeldeployment", DEPLOYMENT, lambda body: not body["status"].get("draining"), 120)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pods = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
        if not any(pod["metadata"].get("deletionTimestamp") for pod in pods):
            return
        time.sleep(0.5)
    raise TimeoutError("pods are still going")


def bare_objects(kubectl: Kubectl) -> tuple[Json, list[Json]]:
    """Return the pod template of the served version, and a Deployment, Service and Ingress around it."""
    (served,) = json.loads(kubectl("get", "deployment", "-l", f"modelyard.dev/deployment={DEPLOYMENT}", "-o", "json"))[
        "items"
    ]
    template = served["spec"]["template"]
    labels = {"app": BARE}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": BARE},
        "spec": {
            "replicas": served["spec"]["replicas"],
            "selector": {"matchLabels": labels},
            "strategy": served["spec"]["strategy"],
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": BARE},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    backend = {"service": {"name": BARE, "port": {"name": "http"}}}
    rule = {
        "host": f"{BARE}.example.com",
        "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
    }
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": BARE},
        "spec": {"rules": [rule]},
    }
    return template, [deployment, service, ingress]


def main() -> int:
    """Measure and print; return the exit code."""
    demo = Demo.from_environment()
    kubectl = demo.kubectl
    model = kubectl.get("registeredmodel", MODEL)
    if model is None or model["status"]["latestVersion"] < 2:
        screen.say("make demo first: two versions are needed")
        return 1
    template, objects = bare_objects(kubectl)
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl("rollout", "status", f"deployment/{BARE}", "--timeout=180s")
    bare = Endpoint(demo.ingress, f"{BARE}.example.com")
    promotions, images = [], []
    number = model["status"]["stages"]["production"]["version"]
    try:
        for turn in range(ROUNDS):
            number = 2 if number == 1 else 1
            settle(kubectl)
            started = time.monotonic()
            kubectl.patch("registeredmodel", MODEL, {"spec": {"stages": {"production": number}}})
            promotions.append(until_version(demo.endpoint, str(number)) - started)
            settle(kubectl)
            images.append(set_image(kubectl, bare, template, turn))
            screen.say(f"round {turn + 1}: promotion {promotions[-1]:.2f} s, kubectl set image {images[-1]:.2f} s")
    finally:
        kubectl("delete", "deployment,service,ingress", BARE, "--ignore-not-found")
    ratios = [ours / theirs for ours, theirs in zip(promotions, images, strict=True)]
    screen.table(
        ["", "MIN", "MEDIAN", "MAX"],
        [
            [name, *(f"{pick(values):.2f}" for pick in (min, statistics.median, max))]
            for name, values in (
                ("promotion, s", promotions),
                ("kubectl set image, s", images),
                ("ratio", ratios),
            )
        ],
    )
    return 0


def set_image(kubectl: Kubectl, endpoint: Endpoint, template: Json, turn: int) -> float:
    """Change the image as `kubectl set image` does, and time the first answer of a new pod.

    The new image is the same one under another tag, so both sides start the same bytes; the version that the pod
    reports is changed with it in the same patch, since that is how its answers are told apart.
    """
    container = template["spec"]["containers"][0]
    image = container["image"]
    tag = f"{image.rsplit(':', 1)[0]}:bench-{turn}"
    run("ctr", "--address", containerd_address(), "-n", "k8s.io", "images", "tag", "--force", image, tag)
    version = f"9{turn}"
    patch = {"spec": {"template": {"spec": {"containers": [patched(container["name"], tag, version)]}}}}
    started = time.monotonic()
    kubectl("patch", "deployment", BARE, "--type=strategic", "-p", json.dumps(patch))
    return until_version(endpoint, version) - started


def patched(name: str, image: str, version: str) -> Json:
    """Return the container's part of the patch."""
    return {"name": name, "image": image, "env": [{"name": "MODELYARD_MODEL_VERSION", "value": version}]}


def containerd_address() -> str:
    """Return the local cluster's containerd socket."""
    from tests.cluster import containerd  # noqa: PLC0415 - only this benchmark needs the local cluster

    return str(containerd.socket())


if __name__ == "__main__":
    sys.exit(main())
