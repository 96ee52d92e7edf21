"""The last lines of a container's log."""

from __future__ import annotations

from modelyard.cluster.client import ApiError, Client, NotFound
from modelyard.cluster.resources import PODS

_ANSWER_LIMIT = 1 << 20
_NO_LOG = 400
"""The container has not started."""

_GONE = b"unable to retrieve container logs for "
"""What the kubelet writes in the place of a log that it has no longer, with status 200."""


def last_lines(client: Client, namespace: str, pod: str, container: str, lines: int) -> str:
    """Return at most so many lines, at most 1 MiB; "" where there is no log (any more). Raises `ApiError`.

    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod
    """
    path = PODS.path(namespace, pod, "log")
    while True:
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", str(_ANSWER_LIMIT))]
        try:
            answer = client.read(path, query)
        except NotFound:
            return ""
        except ApiError as error:
            if error.code == _NO_LOG:
                return ""
            raise
        if answer.startswith(_GONE):
            return ""
        # The kubelet goes back so many lines first and then stops after so many bytes: the last lines, which count
        # most, would be those that are missing.
        if len(answer) < _ANSWER_LIMIT or lines == 1:
            return answer.decode(errors="replace")
        lines = max(lines // 4, 1)
