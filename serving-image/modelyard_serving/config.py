"""What the environment says, read once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from modelyard_serving.errors import Reason, StartupError

N = TypeVar("N", int, float)
C = TypeVar("C", bound=StrEnum)
TERMINATION_LOG = "/dev/termination-log"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HTTP_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?|https?://\[[0-9a-fA-F:]+\](:[0-9]{1,5})?/?")
_TOKEN = re.compile(r"[!-~]{16,1024}")
_S3_URI = re.compile(r"s3://(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]+)/+(?P<prefix>.*[^/])/*", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """The immutable artifact directory of one model version in S3."""

    bucket: str
    prefix: str
    """Key prefix without leading or trailing slash; the MLmodel file is at `<prefix>/MLmodel`."""

    def __str__(self) -> str:
        """The S3 URI."""
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Prepared:
    """An object that was made for this version beforehand: an ONNX file, or a packed environment."""

    source: Source
    """Its prefix is the object's whole key."""
    digest: str
    """`sha256:<hex>` of its bytes."""


class Runtime(StrEnum):
    """What predicts."""

    AUTO = "auto"
    """ONNX Runtime, where the model has been converted and checked, else the flavor's own library."""
    NATIVE = "native"
    """The flavor's own library."""


class Environment(StrEnum):
    """Where a model runs whose requirements are not those of the image."""

    AUTO = "auto"
    """In an environment of its own, if the image does not do."""
    IMAGE = "image"
    """In the image's, or not at all."""
    MODEL = "model"
    """In its own whenever anything differs."""


@dataclass(frozen=True)
class Config:
    """The settings of one server process; each field names the variable it comes from."""

    model_name: str
    """`MODELYARD_MODEL_NAME`, required."""
    model_version: str
    """`MODELYARD_MODEL_VERSION`, required."""
    source: Source
    """`MODELYARD_MODEL_SOURCE`, required: `s3://bucket/prefix`."""
    digest: str
    """`MODELYARD_MODEL_DIGEST`, required: `sha256:` and 64 lower-case hex digits."""
    model_uri: str
    """`MLFLOW_MODEL_URI`, e.g. `models:/churn/3`; only reported."""
    model_dir: Path = Path("/tmp/model")  # noqa: S108 - the one writable directory of a pod whose root is read-only
    """`MODELYARD_MODEL_DIR`: the model is kept in a directory below it, named by the digest."""
    host: str = "0.0.0.0"  # noqa: S104 - the pod's address is not known beforehand
    """`MODELYARD_HOST`."""
    port: int = 8080
    """`MODELYARD_PORT`."""
    grpc_port: int = 0
    """`MODELYARD_GRPC_PORT`; 0: no gRPC."""
    threads: int = 4
    """`MODELYARD_THREADS`: how many predictions may run at a time."""
    max_queue: int = 256
    """`MODELYARD_MAX_QUEUE`: how many requests may wait for a prediction; more are refused with 503."""
    max_batch_rows: int = 1024
    """`MODELYARD_MAX_BATCH_ROWS`: how many rows of waiting requests are predicted together at most; 0: none are."""
    request_seconds: float = 60.0
    """`MODELYARD_REQUEST_SECONDS`: how long a request may take before it is answered with 504."""
    runtime: Runtime = Runtime.AUTO
    """`MODELYARD_RUNTIME`."""
    accelerated: Prepared | None = None
    """`MODELYARD_ACCELERATED_SOURCE` and `_DIGEST`: the model as ONNX, found to give the same answers."""
    environment: Environment = Environment.AUTO
    """`MODELYARD_ENVIRONMENT`."""
    packed_environment: Prepared | None = None
    """`MODELYARD_ENVIRONMENT_SOURCE` and `_DIGEST`: the model's own environment."""
    node_cache: str | None = None
    """`MODELYARD_NODE_CACHE`: `http://host:port` of the node's cache of objects."""
    access_log: bool = False
    """`MODELYARD_ACCESS_LOG`: whether each request gets a line."""
    max_body_bytes: int = 64 * 1024 * 1024
    """`MODELYARD_MAX_BODY_BYTES`: a larger request is refused with 413."""
    max_values: int = 1_000_000
    """`MODELYARD_MAX_VALUES`: JSON with more values, by its commas and brackets, is refused with 413."""
    drain_seconds: float = 5.0
    """`MODELYARD_DRAIN_SECONDS`: after SIGTERM, how long new requests are still answered."""
    shutdown_seconds: int = 12
    """`MODELYARD_SHUTDOWN_SECONDS`: after draining, how long requests in flight may take to end. With ten seconds of
    draining the process ends well within the 30 s that Kubernetes gives a pod by default."""
    keep_alive_seconds: int = 75
    """`MODELYARD_KEEP_ALIVE_SECONDS`: an idle connection is kept this long, longer than proxies keep theirs, so that
    it is the proxy that closes it and never the server under a request on its way."""
    header_seconds: float = 10.0
    """`MODELYARD_HEADER_SECONDS`: how long a client may take to send the headers of a request."""
    max_connections: int = 2048
    """`MODELYARD_MAX_CONNECTIONS`: how many may be open; a new one takes the place of an idle one, or is refused."""
    s3_endpoint: str | None = field(default=None)
    """`MLFLOW_S3_ENDPOINT_URL`, unless boto3 finds its own `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`."""
    termination_log: Path = Path(TERMINATION_LOG)
    """`MODELYARD_TERMINATION_LOG`."""
    recent_requests: int = 0
    """`MODELYARD_RECENT_REQUESTS`: how many of the newest requests are remembered for candidates."""
    control_token: str | None = field(default=None, repr=False)
    """`MODELYARD_CONTROL_TOKEN`: what the operator and other pods show at /modelyard; without it nobody gets in."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Raises StartupError(ConfigInvalid) naming the first variable that is missing or malformed."""
        name = _required(env, "MODELYARD_MODEL_NAME")
        version = _required(env, "MODELYARD_MODEL_VERSION")
        own_endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
        return cls(
            model_name=name,
            model_version=version,
            source=_source(env, "MODELYARD_MODEL_SOURCE"),
            digest=_digest(env, "MODELYARD_MODEL_DIGEST"),
            model_uri=env.get("MLFLOW_MODEL_URI") or f"models:/{name}/{version}",
            model_dir=Path(env.get("MODELYARD_MODEL_DIR") or cls.model_dir),
            host=env.get("MODELYARD_HOST") or cls.host,
            port=_number(env, "MODELYARD_PORT", int, cls.port, low=1, high=65535),
            grpc_port=_number(env, "MODELYARD_GRPC_PORT", int, cls.grpc_port, low=0, high=65535),
            threads=_number(env, "MODELYARD_THREADS", int, cls.threads, low=1, high=256),
            max_queue=_number(env, "MODELYARD_MAX_QUEUE", int, cls.max_queue, low=1, high=1_000_000),
            max_batch_rows=_number(env, "MODELYARD_MAX_BATCH_ROWS", int, cls.max_batch_rows, low=0, high=1_000_000),
            request_seconds=_number(
                env, "MODELYARD_REQUEST_SECONDS", float, cls.request_seconds, low=0.001, high=86_400
            ),
            runtime=_choice(env, "MODELYARD_RUNTIME", Runtime, cls.runtime),
            accelerated=_prepared(env, "MODELYARD_ACCELERATED"),
            environment=_choice(env, "MODELYARD_ENVIRONMENT", Environment, cls.environment),
            packed_environment=_prepared(env, "MODELYARD_ENVIRONMENT"),
            node_cache=_url(env, "MODELYARD_NODE_CACHE"),
            access_log=_number(env, "MODELYARD_ACCESS_LOG", int, 0, low=0, high=1) == 1,
            max_body_bytes=_number(env, "MODELYARD_MAX_BODY_BYTES", int, cls.max_body_bytes, low=1, high=2**40),
            max_values=_number(env, "MODELYARD_MAX_VALUES", int, cls.max_values, low=1, high=2**40),
            drain_seconds=_number(env, "MODELYARD_DRAIN_SECONDS", float, cls.drain_seconds, low=0, high=3600),
            shutdown_seconds=_number(env, "MODELYARD_SHUTDOWN_SECONDS", int, cls.shutdown_seconds, low=0, high=3600),
            keep_alive_seconds=_number(
                env, "MODELYARD_KEEP_ALIVE_SECONDS", int, cls.keep_alive_seconds, low=1, high=3600
            ),
            header_seconds=_number(env, "MODELYARD_HEADER_SECONDS", float, cls.header_seconds, low=0.1, high=3600),
            max_connections=_number(env, "MODELYARD_MAX_CONNECTIONS", int, cls.max_connections, low=1, high=1_000_000),
            s3_endpoint=None if own_endpoint else env.get("MLFLOW_S3_ENDPOINT_URL") or None,
            termination_log=termination_log(env),
            recent_requests=_number(env, "MODELYARD_RECENT_REQUESTS", int, cls.recent_requests, low=0, high=10_000),
            control_token=_token(env, "MODELYARD_CONTROL_TOKEN"),
        )


def termination_log(env: Mapping[str, str]) -> Path:
    """Where the reason of a failed start goes; known even when the rest of the configuration is broken."""
    return Path(env.get("MODELYARD_TERMINATION_LOG") or TERMINATION_LOG)


def _invalid(name: str, problem: str) -> StartupError:
    return StartupError(Reason.CONFIG_INVALID, f"{name} {problem}")


def _required(env: Mapping[str, str], name: str) -> str:
    if not (value := env.get(name)):
        raise _invalid(name, "is not set")
    return value


def _source(env: Mapping[str, str], name: str) -> Source:
    value = _required(env, name)
    if not (match := _S3_URI.fullmatch(value)):
        raise _invalid(name, f"must be s3://bucket/prefix, not {value!r}")
    return Source(bucket=match["bucket"], prefix=match["prefix"])


def _digest(env: Mapping[str, str], name: str) -> str:
    value = _required(env, name)
    if not _DIGEST.fullmatch(value):
        raise _invalid(name, f"must be sha256: and 64 hex digits, not {value!r}")
    return value


def _prepared(env: Mapping[str, str], name: str) -> Prepared | None:
    """Both of the variables or neither."""
    if not (env.get(f"{name}_SOURCE") or env.get(f"{name}_DIGEST")):
        return None
    return Prepared(_source(env, f"{name}_SOURCE"), _digest(env, f"{name}_DIGEST"))


def _choice(env: Mapping[str, str], name: str, kind: type[C], default: C) -> C:
    if not (text := env.get(name)):
        return default
    try:
        return kind(text.lower())
    except ValueError:
        raise _invalid(name, f"must be one of {', '.join(kind)}, not {text!r}") from None


def _url(env: Mapping[str, str], name: str) -> str | None:
    if not (text := env.get(name)):
        return None
    if not _HTTP_URL.fullmatch(text):
        raise _invalid(name, f"must be http://host:port, not {text!r}")
    return text.rstrip("/")


def _token(env: Mapping[str, str], name: str) -> str | None:
    """A secret that fits in a header; the error does not repeat it."""
    if not (value := env.get(name)):
        return None
    if not _TOKEN.fullmatch(value):
        raise _invalid(name, "must be 16 to 1024 printable ASCII characters without spaces")
    return value


def _number(env: Mapping[str, str], name: str, parse: Callable[[str], N], default: N, *, low: float, high: float) -> N:
    if not (text := env.get(name)):
        return default
    try:
        value = parse(text)
    except ValueError:
        raise _invalid(name, f"must be a number, not {text!r}") from None
    if not low <= value <= high:
        raise _invalid(name, f"must be between {low:g} and {high:g}, not {text}")
    return value
