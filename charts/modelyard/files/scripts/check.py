"""`helm test`: asks, from inside the cluster, whether the installation's parts answer by the names that clients use."""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import boto3

KINDS = {"experiments", "registeredmodels", "modeldeployments", "approvals"}
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API = "/api/2.0/mlflow"


def fetch(url: str, headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None) -> str:
    """Return the body of the answer. Raises `urllib.error.URLError` for any that is no success."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - the chart gives the addresses
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
        return str(answer.read().decode())


def kinds_are_served() -> None:
    """Ask the API server for the kinds of our group."""
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    listed = json.loads(fetch("https://kubernetes.default.svc/apis/modelyard.dev/v1alpha1", headers, context))
    missing = KINDS - {resource["name"] for resource in listed["resources"]}
    assert not missing, f"the API server does not serve {', '.join(sorted(missing))}"


def server_answers(host: str) -> Callable[[], None]:
    """Return the check that the tracking server answers as `host`, with runs and with models."""

    def check() -> None:
        fetch(f"http://{host}/health")
        # The health check is exempt from MLflow's check of the Host header; these are not.
        fetch(f"http://{host}{API}/experiments/search?max_results=1")
        fetch(f"http://{host}{API}/registered-models/search?max_results=1")

    return check


def strangers_are_refused(host: str) -> Callable[[], None]:
    """Return the check that a Host header that nobody allowed gets 403."""

    def check() -> None:
        try:
            fetch(f"http://{host}{API}/experiments/search?max_results=1", {"Host": "evil.example"})
            code = 200
        except urllib.error.HTTPError as error:
            code = error.code
        assert code == 403, f"answered {code}, not 403"

    return check


def store_is_readable() -> None:
    """List artifacts with the credentials that model pods get."""
    client = boto3.client("s3", endpoint_url=os.environ.get("MODELYARD_S3_ENDPOINT") or None)
    bucket, _, prefix = os.environ["MODELYARD_ARTIFACT_STORE"].removeprefix("s3://").partition("/")
    client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.strip('/')}/artifacts/".lstrip("/"), MaxKeys=1)


def main() -> int:
    """Run every check, say how each went, and return the exit code."""
    checks: dict[str, Callable[[], None]] = {"the API server serves the kinds": kinds_are_served}
    hosts = os.environ.get("TRACKING_HOSTS", "").split()
    for host in hosts:
        checks[f"the tracking server answers as {host}"] = server_answers(host)
    if hosts:
        checks["the tracking server refuses strange hosts"] = strangers_are_refused(hosts[0])
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        checks["the artifact store answers to the reader"] = store_is_readable
    failed = 0
    for name, check in checks.items():
        try:
            check()
            print(f"ok      {name}")
        except Exception as error:
            failed += 1
            print(f"FAILED  {name}: {error!r}")
    return 1 if failed else 0


sys.exit(main())
