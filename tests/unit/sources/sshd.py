"""OpenSSH's server, which lets the user of the tests in with one key and runs git's own `git-upload-pack`."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.e2e.processes import free_port, running, wait_until

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_PROGRAM = "sshd"
_UNPACKED = Path.home() / ".cache/modelyard/sshd"


@dataclass(frozen=True)
class Key:
    """A key, as OpenSSH writes it."""

    key: PrivateKey

    @classmethod
    def ed25519(cls) -> Key:
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def ecdsa(cls) -> Key:
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def rsa(cls) -> Key:
        return cls(rsa.generate_private_key(65537, 2048))

    def private(self, password: str | None = None) -> str:
        encryption = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        form = serialization.PrivateFormat.OpenSSH
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()

    @property
    def public(self) -> str:
        form = serialization.PublicFormat.OpenSSH
        return self.key.public_key().public_bytes(serialization.Encoding.OpenSSH, form).decode()


@dataclass(frozen=True)
class Server:
    """A running server: `login` lets in."""

    port: int
    login: Key
    host: Key

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host.public}\n"

    def secret(self, **changed: str | None) -> dict[str, bytes]:
        values = {"ssh-privatekey": self.login.private(), "known_hosts": self.known_hosts, **changed}
        return {name: value.encode() for name, value in values.items() if value is not None}


@contextmanager
def run_sshd(directory: Path, host: Key) -> Iterator[Server]:
    """Run it on the loopback device with this host key."""
    login, port = Key.ed25519(), free_port()
    (directory / "host").write_text(host.private())
    (directory / "host").chmod(0o600)
    (directory / "authorized").write_text(f"{login.public}\n")
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "authorized",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "AcceptEnv": "GIT_PROTOCOL",
    }
    config = directory / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.getuid() == 0:
        # Where sshd locks its unprivileged half in.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with running([_program(), "-D", "-e", "-f", str(config)], directory) as process:
        wait_until("sshd", lambda: process.process.poll() is not None or _listens(port))
        assert process.process.poll() is None, process.log.read_text()
        yield Server(port, login, host)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _program() -> str:
    """Return the server's path; a machine without it gets Debian's package, unpacked beside the other tools."""
    found = shutil.which(_PROGRAM, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    unpacked = _UNPACKED / "usr/sbin" / _PROGRAM
    if found or unpacked.exists():
        return found or str(unpacked)
    _UNPACKED.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "download", "openssh-server"], cwd=_UNPACKED, capture_output=True, check=False)
    packages = list(_UNPACKED.glob("openssh-server_*.deb"))
    if done.returncode or not packages:
        pytest.fail("there is no sshd: install openssh-server")
    subprocess.run(["dpkg-deb", "--extract", str(packages[0]), str(_UNPACKED)], check=True)
    return str(unpacked)
