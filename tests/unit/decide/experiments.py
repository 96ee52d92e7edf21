"""Experiments, Jobs and pods to decide about."""

from __future__ import annotations

from typing import Any

from modelyard.api.experiment import Experiment

Json = dict[str, Any]
UID = "1b2c"

SWEEP: Json = {
    "project": {"configMap": {"name": "files"}},
    "entryPoint": "train",
    "sweep": {"parameters": {"configuration": {"values": ["a", "b", "c"]}}, "parallelism": 2},
    "objective": {"metric": "f1", "goal": "Maximize"},
    "register": {"model": "churn", "when": [{"metric": "f1", "min": "0.5"}]},
}


def experiment(spec: Json | None = None, status: Json | None = None, **metadata: Any) -> Experiment:
    return Experiment.parse(
        {
            "metadata": {"name": "churn", "namespace": "ml", "uid": UID, "generation": 1, **metadata},
            "spec": spec or SWEEP,
            "status": status or {},
        }
    )


def job(index: int, execution: str = "e1", *, state: str | None = None, message: str = "", uid: str = UID) -> Json:
    conditions = [{"type": state, "status": "True", "reason": "BackoffLimitExceeded", "message": message}]
    return {
        "metadata": {
            "name": f"churn-{execution}-{index}",
            "uid": f"job-{execution}-{index}",
            "labels": {"modelyard.dev/execution": execution, "modelyard.dev/trial": str(index)},
            "annotations": {"modelyard.dev/run-id": f"run-{index}"},
            "ownerReferences": [{"uid": uid}],
        },
        "status": {"conditions": conditions if state else []},
    }


def pod(job_name: str, *, status: Json, created: str = "2026-01-01T00:00:00Z") -> Json:
    labels = {"batch.kubernetes.io/job-name": job_name}
    return {
        "metadata": {"name": f"{job_name}-x", "labels": labels, "creationTimestamp": created},
        "status": status,
    }


def terminated(name: str, code: int, reason: str = "Error", message: str = "") -> Json:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "message": message}}}
