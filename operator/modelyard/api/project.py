"""Where an Experiment's project comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from modelyard.api.common import ApiModel, rules
from modelyard.api.pods import LocalReference

_GIT_URL = r"^((https?|git)://[^\s@]+|ssh://([^\s@:/]+@)?[^\s@]+|[A-Za-z0-9_.-]+@[^\s@:/]+:[^\s@]+)$"


def _inside(field: str, whole: str) -> tuple[str, str]:
    return (
        "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
        f"{field} must stay inside the {whole}: no leading slash, no '..'",
    )


class ConfigMapSource(ApiModel):
    """A ConfigMap of the Experiment's namespace: each key is a file of the project."""

    name: Annotated[str, Field(min_length=1, max_length=253)]


class GitSource(ApiModel):
    """A git repository. What is private is read with a Secret of the Experiment's namespace."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2048,
            pattern=_GIT_URL,
            description="https://, http://, git://, ssh:// or user@host:path, without a password in it.",
        ),
    ]
    revision: Annotated[
        str,
        Field(
            min_length=1,
            max_length=255,
            description="A branch, a tag or a commit SHA. It is resolved once an execution.",
        ),
    ] = "HEAD"
    path: Annotated[
        str,
        Field(
            max_length=1024,
            description="The project's directory in the repository.",
            json_schema_extra=rules(_inside("spec.project.git.path", "repository")),
        ),
    ] = "."
    submodules: Annotated[bool, Field(description="Bring submodules, as MLflow does.")] = True
    secret_ref: Annotated[
        LocalReference | None,
        Field(
            description="A Secret with username and password, or token; or ssh-privatekey and known_hosts;"
            " ca.crt for a server with a certificate authority of its own."
        ),
    ] = None


class S3Source(ApiModel):
    """A directory in S3, or one .tar.gz, .tgz or .zip file there."""

    uri: Annotated[str, Field(max_length=1024, pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s]*)?$")]
    endpoint: Annotated[
        str | None,
        Field(max_length=512, pattern=r"^https?://[^\s@]+$", description="Default: the installation's artifact store."),
    ] = None
    region: Annotated[str | None, Field(max_length=64)] = None
    secret_ref: Annotated[
        LocalReference | None,
        Field(
            description="A Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            " Default: the installation's read-only credentials."
        ),
    ] = None


class ImageSource(ApiModel):
    """A directory of the image in which the entry point runs."""

    path: Annotated[str, Field(min_length=2, max_length=1024, pattern=r"^/[^\s]*[^\s/]$")]


class RunSource(ApiModel):
    """What a run of this tracking server ran: its commit or its kept files, and the lock of its environment."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", max_length=32)]


class ProjectSource(ApiModel):
    """Where the MLproject directory comes from."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.git), has(self.configMap), has(self.s3), has(self.image), has(self.run)]"
                ".filter(x, x).size() == 1",
                "exactly one of spec.project.git, configMap, s3, image and run must be set",
            )
        ),
    )

    git: GitSource | None = None
    config_map: ConfigMapSource | None = None
    s3: Annotated[S3Source | None, Field(alias="s3")] = None
    image: ImageSource | None = None
    run: RunSource | None = None


__all__ = [
    "ConfigMapSource",
    "GitSource",
    "ImageSource",
    "ProjectSource",
    "RunSource",
    "S3Source",
]
