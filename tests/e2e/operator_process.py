"""The operator's own process against a test's own API server and MinIO: what is killed is what is shipped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.processes import Process, free_port, running
from tests.e2e.registry_fixtures import Cluster

# As in a pod, but for the port: several of them run on one machine.
MAIN = """
import sys
from modelyard import __main__ as operator
operator.HEALTH = f"http://127.0.0.1:{sys.argv[1]}/healthz"
sys.exit(operator.main())
"""


@contextmanager
def run_operator(cluster: Cluster, directory: Path) -> Iterator[Process]:
    """Run it until the block ends; it is ready when this begins. There is no tracking server."""
    directory.mkdir(exist_ok=True)
    settings, port = cluster.minio.settings, free_port()
    environment = {
        **cluster.minio.writer.environment,
        "AWS_DEFAULT_REGION": settings.s3_region,
        "KUBECONFIG": str(cluster.kubeconfig),
        "MODELYARD_ARTIFACT_STORE": settings.artifact_store,
        "MODELYARD_S3_ENDPOINT": str(settings.s3_endpoint),
        "MODELYARD_GIT_MANAGERS": ",".join(settings.git_managers),
        "MODELYARD_TRACKING_URI": "http://127.0.0.1:9",
        "MODELYARD_SERVING_IMAGE": "serving",
        "MODELYARD_TRAINING_IMAGE": "training",
        "MODELYARD_OPERATOR_IMAGE": "operator",
        "MODELYARD_WEBHOOK_HOSTS": "127.0.0.1",
    }
    command = [sys.executable, "-c", MAIN, str(port)]
    with running(command, directory, environment) as process:
        process.wait_for(f"http://127.0.0.1:{port}/healthz")
        yield process


def kill(process: Process) -> None:
    """End it as a node's failure does."""
    os.killpg(process.process.pid, signal.SIGKILL)
    process.process.wait(timeout=60)
