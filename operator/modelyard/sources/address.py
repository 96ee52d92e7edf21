"""Where a git repository is: URLs as git writes them (https://git-scm.com/docs/git-fetch#_git_urls)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from modelyard.sources.errors import SourceNotFound

_SCHEMES = {"http": 80, "https": 443, "git": 9418, "ssh": 22}
_SCP = re.compile(r"(?:(?P<user>[^\s@:/]+)@)?(?P<host>[^\s@:/]+):(?P<path>\S.*)")
_USER_INFO = re.compile(r"(?<=//)[^/\s]*@")
_SSH_USER = "git"


@dataclass(frozen=True)
class Address:
    """A repository on a server. `path` is what the server is asked for; `user` matters to ssh alone."""

    scheme: str
    host: str
    port: int
    path: str
    user: str = _SSH_USER

    @property
    def netloc(self) -> str:
        """Host and port, as in a URL; a scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _SCHEMES[self.scheme] else f"{host}:{self.port}"

    def trusts(self, other: Address) -> bool:
        """Whether what was given for this address may be shown to the other one.

        It may on the same host: by the same scheme and port, or by one that is encrypted and at its own port.
        """
        same = (self.scheme, self.port) == (other.scheme, other.port)
        safe = other.scheme in ("https", "ssh") and other.port == _SCHEMES[other.scheme]
        return self.host == other.host and (same or safe)


def parse(url: str) -> Address:
    """Return the address of http(s)://, git://, ssh:// or user@host:path. Raises `SourceNotFound`."""
    if "://" not in url and (match := _SCP.fullmatch(url)):
        return Address("ssh", match["host"].lower(), 22, match["path"], match["user"] or _SSH_USER)
    try:
        parts = urlsplit(url)
        port = parts.port or _SCHEMES.get(parts.scheme, 0)
    except ValueError as error:
        raise SourceNotFound(f"{shown(url)} is no URL: {error}") from error
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise SourceNotFound(f"{shown(url)} is no https://, http://, git:// or ssh:// URL, nor user@host:path")
    if parts.password is not None:
        raise SourceNotFound(f"{shown(url)} must not have a password in it: spec.project.git.secretRef names a Secret")
    path = parts.path
    if parts.scheme == "ssh" and path.startswith("/~"):
        path = path[1:]
    return Address(parts.scheme, parts.hostname, port, path, parts.username or _SSH_USER)


def shown(url: str) -> str:
    """Return the URL without user and password, for messages, tags and logs."""
    return _USER_INFO.sub("", url)


def joined(base: str, url: str) -> str:
    """Return a submodule's URL: one that begins with ./ or ../ is relative to its parent's, as in .gitmodules.

    Raises `SourceNotFound`.
    """
    if not url.startswith(("./", "../")):
        return url
    start = base.rstrip("/")
    rest = url
    while True:
        if rest.startswith("./"):
            rest = rest[2:]
        elif rest.startswith("../"):
            rest = rest[3:]
            start = _parent(start, url)
        else:
            return f"{start}{rest}" if start.endswith(":") else f"{start}/{rest}"


def _parent(base: str, url: str) -> str:
    scheme, separator, path = base.rpartition("://")
    head, slash, _ = path.rpartition("/")
    if slash:
        return f"{scheme}{separator}{head}"
    host, colon, _ = path.rpartition(":")
    if separator or not colon or path.endswith(":"):
        raise SourceNotFound(f"the submodule's URL {url} leads out of {shown(base)}")
    # user@host:name: what is left is the home directory.
    return f"{host}:"
