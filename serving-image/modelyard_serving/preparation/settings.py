"""What the environment of the Job says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelyard_serving.config import Config
from modelyard_serving.errors import Reason, StartupError


@dataclass(frozen=True)
class Uploads:
    """URLs to which one object each may be PUT; they are secrets."""

    evidence: str = field(repr=False)
    """`MODELYARD_PREPARATION_EVIDENCE_URL`."""
    model: str = field(repr=False)
    """`MODELYARD_PREPARATION_MODEL_URL`."""
    environment: str = field(repr=False)
    """`MODELYARD_PREPARATION_ENVIRONMENT_URL`."""


@dataclass(frozen=True)
class Settings:
    """One preparation."""

    config: Config
    """The model: what a server of it has as well."""
    uploads: Uploads
    image: str
    """`MODELYARD_PREPARATION_IMAGE`: the serving image, as the operator calls it."""
    seconds: float
    """`MODELYARD_PREPARATION_SECONDS`: how long all of it may take."""
    recent_url: str | None
    """`MODELYARD_PREPARATION_RECENT_URL`: where pods tell what they were asked lately."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises StartupError(ConfigInvalid) naming the first variable that is missing or malformed."""
        prefix = "MODELYARD_PREPARATION_"
        urls = {name: _url(env, f"{prefix}{name.upper()}_URL") for name in ("evidence", "model", "environment")}
        seconds = env.get(f"{prefix}SECONDS") or "900"
        if not (seconds.isascii() and seconds.isdigit() and int(seconds)):
            raise StartupError(Reason.CONFIG_INVALID, f"{prefix}SECONDS must be a number of seconds, not {seconds!r}")
        return cls(
            config=Config.from_env(env),
            uploads=Uploads(**urls),
            image=env.get(f"{prefix}IMAGE", ""),
            seconds=float(seconds),
            recent_url=env.get(f"{prefix}RECENT_URL") or None,
        )


def _url(env: Mapping[str, str], name: str) -> str:
    url = env.get(name, "")
    if not url.startswith(("http://", "https://")):
        # What is there may be a secret all the same.
        raise StartupError(Reason.CONFIG_INVALID, f"{name} must be an http(s) URL")
    return url
