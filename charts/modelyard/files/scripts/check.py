"""`helm test`: asks, from inside the cluster, whether the installation's parts answer by the names that clients use."""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable

KINDS = {"experiments", "registeredmodels", "modeldeployments"}
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def fetch(url: str, headers: dict[str, str] | None = None, context: ssl.SSLContext | None = None) -> str:
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        return str(answer.read().decode())


def kinds_are_served() -> None:
    with open(f"{ACCOUNT}/token") as token:
        headers = {"Authorization": f"Bearer {token.read()}"}
    context = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")
    listed = json.loads(fetch("https://kubernetes.default.svc/apis/modelyard.dev/v1alpha1", headers, context))
    missing = KINDS - {resource["name"] for resource in listed["resources"]}
    assert not missing, f"the API server does not serve {', '.join(sorted(missing))}"


def server_answers(host: str) -> Callable[[], None]:
    def check() -> None:
        fetch(f"http://{host}/health")
        # The health check is exempt from MLflow's check of the Host header; this is not.
        fetch(f"http://{host}/api/2.0/mlflow/experiments/search?max_results=1")
        fetch(f"http://{host}/api/2.0/mlflow/registered-models/search?max_results=1")

    return check


def strange_hosts_are_refused(host: str) -> Callable[[], None]:
    def check() -> None:
        try:
            fetch(f"http://{host}/api/2.0/mlflow/experiments/search?max_results=1", {"Host": "evil.example"})
        except urllib.error.HTTPError as error:
            assert error.code == 403, f"answered {error.code}, not 403"
        else:
            raise AssertionError("a request with a strange Host header was answered")

    return check


def store_is_reachable() -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ.get("MODELYARD_S3_ENDPOINT") or None)
    bucket, _, prefix = os.environ["MODELYARD_ARTIFACT_STORE"].removeprefix("s3://").partition("/")
    client.list_objects_v2(Bucket=bucket, Prefix=f"{prefix.strip('/')}/artifacts/".lstrip("/"), MaxKeys=1)


def main() -> int:
    checks: dict[str, Callable[[], None]] = {"the API server serves the three kinds": kinds_are_served}
    for host in os.environ.get("TRACKING_HOSTS", "").split():
        checks[f"the tracking server answers as {host}"] = server_answers(host)
        checks[f"the tracking server refuses strange hosts at {host}"] = strange_hosts_are_refused(host)
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        checks["the artifact store answers to the reader"] = store_is_reachable
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
