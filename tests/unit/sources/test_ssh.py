from __future__ import annotations

import hmac
import logging
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.api.project_files import GitFiles
from modelyard.sources import git
from modelyard.sources.address import Address
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.git import GitSource, bring
from modelyard.sources.ssh import known_keys, private_key
from tests.unit.sources.gitserver import Repository
from tests.unit.sources.sshd import Key, Server, run_sshd

PROJECT = {"MLproject": "name: churn", "train.py": "print(1)"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with run_sshd(tmp_path_factory.mktemp("sshd"), Key.ed25519()) as made:
        yield made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "it's a repository")


def credentials(values: dict[str, bytes]) -> Credentials:
    return Credentials.of("deploy", values)


def find(server: Server, repository: Repository, values: dict[str, bytes], revision: str = "main") -> str:
    return GitSource().find(server.url(repository.directory), revision, credentials(values)).commit


@pytest.mark.parametrize("revision", ["main", "HEAD", "light", "annotated"])
def test_a_repository_is_read_with_a_key_from_a_known_server(
    server: Server, repository: Repository, revision: str, tmp_path: Path
) -> None:
    commit = repository.commit(PROJECT)
    repository.tag("light", annotated=False)
    repository.tag("annotated", annotated=True)
    assert find(server, repository, server.secret(), revision) == commit
    files = GitFiles(server.url(repository.directory), commit)
    assert GitSource().directory(files, credentials(server.secret())).paths == set(PROJECT)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    assert bring(files, credentials(server.secret()), workspace, (60, 1 << 20)) == 2
    assert (workspace / "train.py").read_text() == "print(1)"


def test_a_short_commit_is_found_in_the_history(server: Server, repository: Repository) -> None:
    first = repository.commit(PROJECT)
    repository.commit({"train.py": "print(2)"})
    assert find(server, repository, server.secret(), first[:8]) == first


def test_large_files_do_not_come_to_be_looked_at(
    server: Server, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "READ_LIMIT", 1 << 20)
    commit = repository.commit({**PROJECT, "data.bin": os.urandom(3 << 20).hex()})
    files = GitFiles(server.url(repository.directory), commit)
    (repository.directory / ".git/config").write_text("[uploadpack]\n\tallowFilter = true\n")
    found = GitSource().directory(files, credentials(server.secret()))
    assert found.paths == {*PROJECT, "data.bin"}
    assert found.texts == {"MLproject": "name: churn"}


@pytest.mark.parametrize("names", ["ed25519", "ecdsa", "rsa"])
def test_hosts_have_keys_of_every_kind(names: str, repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(PROJECT)
    directory = tmp_path / "sshd"
    directory.mkdir()
    with run_sshd(directory, getattr(Key, names)()) as server:
        assert find(server, repository, server.secret()) == commit


def test_fluxs_names_of_the_same_values_do_as_well(server: Server, repository: Repository) -> None:
    commit = repository.commit(PROJECT)
    values = {"identity": server.login.private("secret").encode(), "password": b"secret\n"}
    assert find(server, repository, {**values, "known_hosts": server.known_hosts.encode()}) == commit


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"known_hosts": None}, r"has no known_hosts: .* `ssh-keyscan -p \d+ 127\.0\.0\.1` prints it"),
        ({"known_hosts": f"github.com {Key.ed25519().public}"}, "has no key of 127.0.0.1"),
        ({"ssh-privatekey": None}, "ssh-privatekey of Secret deploy is missing"),
        ({"ssh-privatekey": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "cannot be read: it has to be an Ed25519, ECDSA"),
        ({"ssh-privatekey": Key.ed25519().private("secret")}, "is encrypted, and there is no password"),
        ({"ssh-privatekey": Key.ed25519().private()}, "does not take the key of Secret deploy"),
    ],
)
def test_a_secret_that_does_not_do_says_what_to_correct(
    server: Server, repository: Repository, changed: dict[str, str | None], said: str
) -> None:
    repository.commit(PROJECT)
    with pytest.raises(SourceNotFound, match=said) as raised:
        find(server, repository, server.secret(**changed))
    assert "spec.project.git.secretRef" in str(raised.value)
    assert "PRIVATE KEY" not in str(raised.value)


@pytest.mark.parametrize("other", [Key.ed25519(), Key.rsa()], ids=["same kind", "other kind"])
def test_a_server_with_another_key_is_not_spoken_to(server: Server, repository: Repository, other: Key) -> None:
    repository.commit(PROJECT)
    with pytest.raises(SourceNotFound, match="is not the server that known_hosts of Secret deploy"):
        find(server, repository, server.secret(known_hosts=f"[127.0.0.1]:{server.port} {other.public}"))


def test_a_repository_that_is_not_there_is_not_found(server: Server, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"there is no git repository at ssh://127.0.0.1"):
        GitSource().find(server.url(tmp_path / "other.git"), "main", credentials(server.secret()))


def test_a_server_that_does_not_answer_is_unreachable(server: Server) -> None:
    values = server.secret(known_hosts=f"127.0.0.1 {Key.ed25519().public}")
    with pytest.raises(SourceUnreachable, match=r"ssh://127.0.0.1:1/x"):
        GitSource().find("ssh://git@127.0.0.1:1/x", "main", credentials(values))


def test_no_key_is_logged(server: Server, repository: Repository, caplog: pytest.LogCaptureFixture) -> None:
    repository.commit(PROJECT)
    caplog.set_level(logging.DEBUG)
    find(server, repository, server.secret())
    assert "PRIVATE KEY" not in caplog.text
    assert server.login.private().splitlines()[2] not in caplog.text


HOST = Key.ed25519()
SALT = b"0123456789abcdef0123"


def hashed(name: str) -> str:
    digest = hmac.digest(SALT, name.encode(), "sha1")
    return f"|1|{b64encode(SALT).decode()}|{b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("git.example {key}", True),
        ("GIT.example {key} a comment", True),
        ("other.example,git.example {key}", True),
        ("*.example {key}", True),
        ("*.example,!git.example {key}", False),
        ("[git.example]:22 {key}", True),
        ("[git.example]:2222 {key}", False),
        (hashed("git.example") + " {key}", True),
        (hashed("other.example") + " {key}", False),
        ("|1|x|y {key}", False),
        ("# git.example {key}", False),
        ("git.example", False),
        ("git.example ssh-ed25519 not-base64!", False),
        ("@revoked git.example {key}", False),
        ("git.example {key}\n@revoked * {key}", False),
        ("@cert-authority *.example {key}", False),
    ],
)
def test_known_hosts_is_read_as_openssh_reads_it(line: str, known: bool) -> None:
    given = credentials({"known_hosts": line.format(key=HOST.public).encode()})
    address = Address("ssh", "git.example", 22, "/x.git")
    if known:
        assert [kind for kind, _ in known_keys(given, address)] == ["ssh-ed25519"]
    else:
        with pytest.raises(SourceNotFound, match=r"has no key of git\.example"):
            known_keys(given, address)


@pytest.mark.parametrize("key", [Key.ed25519(), Key.ecdsa(), Key.rsa()], ids=["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("password", [None, "secret"])
def test_keys_of_every_kind_sign_in(key: Key, password: str | None) -> None:
    values = {"ssh-privatekey": key.private(password).encode()}
    read = private_key(credentials({**values, **({"password": password.encode()} if password else {})}))
    assert read.get_base64() == key.public.split()[1]
