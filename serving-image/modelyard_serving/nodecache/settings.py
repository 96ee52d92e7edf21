"""What the environment says, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard_serving.nodecache.request import Endpoints

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([kMGTPE]i?)?")
_UNITS = ["", "k", "M", "G", "T", "P", "E"]
SHARE = 0.95
"""Of the volume: what a file system needs beside the files' bytes must not reach the volume's limit."""


class SettingsError(Exception):
    """A variable is missing or malformed; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The settings of one process; each field names the variable it comes from."""

    endpoints: Endpoints
    """`MODELYARD_NODE_CACHE_ENDPOINTS`, required: `http(s)://host[:port]`, comma-separated; `*.` in front of a host
    stands for one or more labels, as in the names of buckets."""
    directory: Path
    """`MODELYARD_NODE_CACHE_DIR`, required."""
    limit: int
    """`MODELYARD_NODE_CACHE_SIZE`, required: the directory's size as a Kubernetes quantity, e.g. 10Gi; of this the
    objects get 95 %."""
    host: str = "0.0.0.0"  # noqa: S104 - the pod's address is not known beforehand
    """`MODELYARD_HOST`."""
    port: int = 8080
    """`MODELYARD_PORT`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises SettingsError."""
        try:
            endpoints = Endpoints(_required(env, "MODELYARD_NODE_CACHE_ENDPOINTS").split(","))
        except ValueError as error:
            raise SettingsError(f"MODELYARD_NODE_CACHE_ENDPOINTS: {error}") from None
        port = env.get("MODELYARD_PORT") or str(cls.port)
        if not port.isdigit() or int(port) > 65535:
            raise SettingsError(f"MODELYARD_PORT must be a port, not {port!r}")
        return cls(
            endpoints=endpoints,
            directory=Path(_required(env, "MODELYARD_NODE_CACHE_DIR")),
            limit=int(quantity(_required(env, "MODELYARD_NODE_CACHE_SIZE")) * SHARE),
            host=env.get("MODELYARD_HOST") or cls.host,
            port=int(port),
        )


def quantity(text: str) -> int:
    """Bytes of a Kubernetes quantity: 10Gi, 500M, 1.5Gi. Raises SettingsError."""
    if not (match := _QUANTITY.fullmatch(text)):
        raise SettingsError(f"MODELYARD_NODE_CACHE_SIZE must be a quantity of bytes, e.g. 10Gi, not {text!r}")
    unit = match[2] or ""
    return int(float(match[1]) * (1024 if unit.endswith("i") else 1000) ** _UNITS.index(unit.rstrip("i")))


def _required(env: Mapping[str, str], name: str) -> str:
    if not (value := env.get(name)):
        raise SettingsError(f"{name} is not set")
    return value
