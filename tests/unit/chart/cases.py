"""The ways to install that every check goes through: values by name, and the Secrets that the user brings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DIGEST = "sha256:" + "ab" * 32
OWN_S3 = {"uri": "s3://company-models/team", "region": "eu-central-1"}


@dataclass(frozen=True)
class Case:
    values: dict[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()


CASES: dict[str, Case] = {
    "defaults": Case(),
    "postgresql": Case({"tracking": {"database": "postgresql"}}),
    "own database by URI": Case({"tracking": {"database": "external", "databaseUri": "postgresql://u:p@db/mlflow"}}),
    "own database by Secret": Case(
        {"tracking": {"database": "external", "replicas": 2, "databaseSecret": {"name": "db", "key": "url"}}},
        frozenset({"db"}),
    ),
    "own S3": Case(
        {
            "minio": {"enabled": False},
            "artifactStore": {**OWN_S3, "existingSecret": "s3-writer", "readerSecret": "s3-reader"},
        },
        frozenset({"s3-writer", "s3-reader"}),
    ),
    "own S3 by workload identity": Case(
        {
            "minio": {"enabled": False},
            "artifactStore": {**OWN_S3, "createBucket": True},
            "operator": {"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/o"}}},
        }
    ),
    "GitOps": Case(
        {
            "audit": {"argocdNamespace": "argocd", "flux": True},
            "credentials": {"generate": False},
            "tracking": {"database": "postgresql"},
            "minio": {"existingSecret": "root"},
            "postgresql": {"existingSecret": "pg"},
            "artifactStore": {"existingSecret": "writer", "readerSecret": "reader"},
        },
        frozenset({"root", "pg", "writer", "reader", "modelyard-operator-records"}),
    ),
    "some namespaces": Case({"operator": {"watchNamespaces": ["team-a", "team-b"]}, "modelNamespace": "team-a"}),
    "nothing of the cluster": Case(
        {
            "crds": {"enabled": False},
            "rbac": {"userRoles": False, "routing": False},
            "operator": {"watchNamespaces": ["team-a"]},
            "approvals": {"policy": {"enabled": False}},
            "audit": {"editors": "disabled"},
        }
    ),
    "editors written down": Case({"audit": {"editors": "enabled"}}),
    "network policies": Case({"networkPolicy": {"enabled": True}, "tracking": {"database": "postgresql"}}),
    "digests": Case({"images": {"operator": {"digest": DIGEST}, "minio": {"digest": DIGEST}}}),
    "Ingress": Case(
        {"tracking": {"ingress": {"enabled": True, "host": "mlflow.example.com", "tlsSecretName": "mlflow-tls"}}},
        frozenset({"mlflow-tls"}),
    ),
    "NodePort": Case({"tracking": {"service": {"type": "NodePort", "nodePort": 32111}}, "modelNamespace": "ml"}),
    "nothing persistent": Case(
        {
            "tracking": {"database": "sqlite", "persistence": {"enabled": False}},
            "minio": {"persistence": {"enabled": False}},
        }
    ),
    "without tracking server": Case({"tracking": {"enabled": False, "externalUri": "https://mlflow.example.com"}}),
    "without operator": Case({"operator": {"enabled": False}}),
    "without CRDs and roles": Case({"crds": {"enabled": False}, "rbac": {"create": False}}),
    "everywhere placed": Case(
        {
            "commonLabels": {"team": "platform"},
            "images": {"pullSecrets": [{"name": "registry"}]},
            **{
                component: {
                    "podAnnotations": {"a": "b"},
                    "podLabels": {"c": "d"},
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "gpu", "operator": "Exists"}],
                    "affinity": {"podAntiAffinity": {}},
                    "priorityClassName": "high",
                }
                for component in ("operator", "tracking", "minio", "nodeCache", "postgresql")
            },
        },
        frozenset({"registry"}),
    ),
}
