"""Git over ssh: one key, no password, no agent, and a server whose key is known. By paramiko, within bounds."""

from __future__ import annotations

import fnmatch
import hmac
import io
import socket
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Sequence

import paramiko

from modelyard.sources.address import Address
from modelyard.sources.credentials import FIELD, Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable

_KEY_TYPES: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""What servers sign with where their key's type is another name (RFC 8332)."""


class Session:
    """A command that runs on the server. `close` ends it, in any state."""

    def __init__(self, address: Address, credentials: Credentials, connect: Callable[[], socket.socket]) -> None:
        """Prepare; `connect` opens the connection. Raises `SourceError`."""
        self._address = address
        self._credentials = credentials
        self._known = known_keys(credentials, address)
        self._key = private_key(credentials)
        self._transport = paramiko.Transport(connect())
        self.channel: paramiko.Channel | None = None

    def run(self, command: str, variables: dict[str, str], seconds: float, read_seconds: float) -> paramiko.Channel:
        """Check the server, sign in and start the command; `seconds` bound each of these steps.

        Raises `SourceError`, OSError, EOFError.
        """
        where = f"{self._address.user}@{self._address.netloc}"
        transport = self._transport
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = seconds
        options = transport.get_security_options()
        wanted = [name for kind, _ in self._known for name in _SIGNATURES.get(kind, (kind,))]
        # Of keys of other types nothing is known: the server is to show one of these.
        usable = [name for name in options.key_types if name in wanted]
        if not usable:
            self._mismatch(f"has keys of no other type than {', '.join(sorted(set(wanted)))}, which is too weak")
        try:
            options.key_types = usable
            transport.start_client(timeout=seconds)
            self._check(transport.get_remote_server_key())
            transport.auth_publickey(self._address.user, self._key)
            channel = transport.open_session(timeout=seconds)
            channel.settimeout(read_seconds)
            channel.update_environment(variables)
            channel.exec_command(command)
        except paramiko.AuthenticationException as error:
            raise SourceNotFound(
                f"{where} does not take the key of Secret {self._credentials.secret} ({FIELD})"
            ) from error
        except paramiko.SSHException as error:
            if "no acceptable host key" in str(error).lower():
                self._mismatch(f"shows no key of the types {', '.join(kind for kind, _ in self._known)}")
            raise SourceUnreachable(f"ssh to {where}: {error}") from error
        self.channel = channel
        return channel

    def complaint(self) -> str:
        """Return what the command has written to its standard error, in one line."""
        if self.channel is None or not self.channel.recv_stderr_ready():
            return ""
        return " ".join(self.channel.recv_stderr(4096).decode(errors="replace").split())[:500]

    def close(self) -> None:
        """End the session."""
        self._transport.close()

    def _check(self, key: paramiko.PKey) -> None:
        if (key.get_name(), key.asbytes()) not in self._known:
            self._mismatch(f"shows another key: {key.get_name()} {key.fingerprint}")

    def _mismatch(self, what: str) -> None:
        raise SourceNotFound(
            f"{self._address.netloc} is not the server that known_hosts of Secret {self._credentials.secret} ({FIELD})"
            f" names: it {what}"
        )


def private_key(credentials: Credentials) -> paramiko.PKey:
    """Return the key to sign in with. Raises `SourceNotFound`."""
    where = f"{FIELD}: ssh-privatekey of Secret {credentials.secret}"
    text = credentials.text("ssh-privatekey", "identity")
    if text is None:
        raise SourceNotFound(f"{where} is missing: ssh asks for a key")
    # An OpenSSH key's last line needs its end.
    for kind in _KEY_TYPES:
        try:
            return kind.from_private_key(io.StringIO(f"{text}\n"), password=credentials.text("password"))
        except paramiko.PasswordRequiredException as error:
            raise SourceNotFound(f"{where} is encrypted, and there is no password in the Secret") from error
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            continue
    raise SourceNotFound(f"{where} cannot be read: it has to be an Ed25519, ECDSA or RSA key, as ssh-keygen writes it")


def known_keys(credentials: Credentials, address: Address) -> Sequence[tuple[str, bytes]]:
    """Return the host's keys as known_hosts has them: type and key. Raises `SourceNotFound` where there is none.

    Format: https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT
    """
    text = credentials.text("known_hosts")
    scan = f"ssh-keyscan -p {address.port} {address.host}" if address.port != 22 else f"ssh-keyscan {address.host}"
    if text is None:
        raise SourceNotFound(
            f"{FIELD}: Secret {credentials.secret} has no known_hosts: without it nobody knows whether"
            f" {address.netloc} is the right server. `{scan}` prints it; compare it with what the server's owner says"
        )
    names = [address.host, f"[{address.host}]:{address.port}"]
    found, revoked = [], set()
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or not _matches(fields[0], names):
            continue
        try:
            key = (fields[1], b64decode(fields[2], validate=True))
        except (Base64Error, ValueError):
            continue
        if marker == "@revoked":
            revoked.add(key)
        elif not marker:
            found.append(key)
    if kept := [key for key in found if key not in revoked]:
        return kept
    raise SourceNotFound(
        f"{FIELD}: known_hosts of Secret {credentials.secret} has no key of {address.netloc}: `{scan}` prints it"
    )


def _matches(patterns: str, names: Sequence[str]) -> bool:
    matched = False
    for pattern in patterns.split(","):
        if pattern.startswith("|1|"):
            matched = matched or any(_hashed(name, pattern) for name in names)
            continue
        # Brackets stand for themselves in known_hosts.
        plain = pattern.removeprefix("!").lower().replace("[", "[[]")
        if any(fnmatch.fnmatchcase(name, plain) for name in names):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched


def _hashed(name: str, pattern: str) -> bool:
    try:
        _, _, salt, digest = pattern.split("|")
        return hmac.compare_digest(hmac.digest(b64decode(salt), name.encode(), "sha1"), b64decode(digest))
    except (ValueError, Base64Error):
        return False
