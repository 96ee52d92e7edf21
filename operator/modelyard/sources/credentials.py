"""What a private git repository is read with: a Secret, under the keys of Kubernetes and of Flux.

Kubernetes: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types (basic-auth, ssh-auth);
Flux: https://fluxcd.io/flux/components/source/gitrepositories/#secret-reference
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modelyard.sources.address import Address
from modelyard.sources.errors import SourceNotFound

FIELD = "spec.project.git.secretRef"
_ANY_USER = "git"
"""Servers that take a token as the password take any name with it."""

_KEYS = (
    "username",
    "password",
    "token",
    "bearerToken",
    "ssh-privatekey",
    "identity",
    "known_hosts",
    "ca.crt",
    "caFile",
)
_PUBLIC = ("known_hosts", "ca.crt", "caFile")
_WANTED = "username and password, token, or ssh-privatekey and known_hosts"
_LIMIT = 1 << 20


@dataclass(frozen=True, repr=False)
class Credentials:
    """A Secret's values. Nothing here is printed: neither `repr` nor any message has more than the Secret's name."""

    secret: str
    values: Mapping[str, bytes]

    @classmethod
    def of(cls, secret: str, values: Mapping[str, bytes]) -> Credentials:
        """Return the credentials in a Secret's data, decoded. Raises `SourceNotFound`."""
        known = {key: values[key] for key in _KEYS if values.get(key)}
        if not known:
            held = ", ".join(sorted(values)) or "nothing"
            raise SourceNotFound(f"{FIELD}: Secret {secret} holds {held}; it needs {_WANTED}")
        return cls(secret, known)

    @classmethod
    def from_object(cls, secret: str, body: Mapping[str, object]) -> Credentials:
        """Return those of a Secret as the API server shows it. Raises `SourceNotFound`."""
        data = body.get("data")
        encoded = data if isinstance(data, dict) else {}
        return cls.of(secret, {name: b64decode(value) for name, value in encoded.items()})

    @classmethod
    def from_directory(cls, secret: str, directory: Path) -> Credentials:
        """Return those of a Secret that is mounted. Raises `SourceNotFound`, OSError."""
        files = {name: directory / name for name in _KEYS if (directory / name).is_file()}
        return cls.of(secret, {name: path.read_bytes()[:_LIMIT] for name, path in files.items()})

    def public(self) -> Credentials:
        """Return what of it is no secret, and so may be used with every server."""
        return Credentials(self.secret, {key: self.values[key] for key in _PUBLIC if key in self.values})

    def text(self, *names: str) -> str | None:
        """Return the first of the values that is there, without the line's end that `echo` leaves.

        Raises `SourceNotFound`.
        """
        for name in names:
            if name in self.values:
                try:
                    return self.values[name].decode().strip("\r\n")
                except UnicodeDecodeError as error:
                    raise SourceNotFound(f"{FIELD}: {name} of Secret {self.secret} is no text") from error
        return None

    def header(self, address: Address) -> str:
        """Return the value of HTTP's `Authorization`. Raises `SourceNotFound` where there is nothing to make it of."""
        if bearer := self.text("bearerToken"):
            return self._line(f"Bearer {bearer}", "bearerToken")
        password = self.text("token", "password")
        username = self.text("username") or (_ANY_USER if "token" in self.values else None)
        if password is None or username is None:
            lacks = "password or token" if password is None else "username"
            raise SourceNotFound(
                f"{FIELD}: Secret {self.secret} has no {lacks}, which {address.scheme}://{address.netloc} is asked with"
            )
        return f"Basic {b64encode(f'{username}:{password}'.encode()).decode()}"

    def speaks_http(self) -> bool:
        """Whether there is something to show to an HTTP server."""
        return any(name in self.values for name in ("password", "token", "bearerToken"))

    @property
    def authority(self) -> str | None:
        """The certificate authority of the server, PEM."""
        return self.text("ca.crt", "caFile")

    def _line(self, value: str, name: str) -> str:
        if any(character in value for character in "\r\n\0"):
            raise SourceNotFound(f"{FIELD}: {name} of Secret {self.secret} has more than one line")
        return value
