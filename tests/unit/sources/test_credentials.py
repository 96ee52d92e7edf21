from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dulwich.server import DictBackend
from dulwich.web import HTTPGitApplication, WSGIRequestHandlerLogger, WSGIServerLogger

from modelyard.api.project_files import GitFiles
from modelyard.sources.credentials import Credentials
from modelyard.sources.errors import SourceNotFound, SourceUnreachable
from modelyard.sources.git import GitSource, bring
from tests.unit.sources.gitserver import Answer, Asks, Guard, Repository, over_http

PROJECT = {"MLproject": "name: churn", "train.py": "print(1)"}
SECRET = "hunter2-hunter2"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit(PROJECT)
    return made


def credentials(**values: str) -> Credentials:
    return Credentials.of("deploy", {name.replace("_", "."): value.encode() for name, value in values.items()})


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"username": "ada", "password": SECRET}, Asks.password("ada", SECRET)),
        ({"username": "ada\n", "password": f"{SECRET}\n"}, Asks.password("ada", SECRET)),
        ({"token": SECRET}, Asks.password("git", SECRET)),
        ({"token": SECRET, "username": "oauth2"}, Asks.password("oauth2", SECRET)),
        ({"bearerToken": SECRET}, Asks(f"Bearer {SECRET}")),
    ],
)
def test_a_private_repository_is_read(
    repository: Repository, given: dict[str, str], wanted: Asks, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with over_http(repository, guard=wanted) as url:
        commit = GitSource().find(url, "main", credentials(**given)).commit
        workspace = tmp_path / "workspace"
        workspace.mkdir()
        assert bring(GitFiles(url, commit), credentials(**given), workspace, (60, 1 << 20)) == 2
    assert set(wanted.shown) == {wanted.wanted}
    assert SECRET not in caplog.text
    assert wanted.wanted not in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            None,
            "asks for credentials: spec.project.git.secretRef is to name a Secret with username and password, or token",
        ),
        (
            {"token": "wrong-" + SECRET},
            r"does not take the credentials of Secret deploy \(spec.project.git.secretRef\)",
        ),
        ({"password": SECRET}, "spec.project.git.secretRef: Secret deploy has no username"),
    ],
)
def test_without_the_right_credentials_the_field_is_named_and_no_secret(
    repository: Repository, given: dict[str, str] | None, said: str
) -> None:
    with (
        over_http(repository, guard=Asks.password("git", SECRET)) as url,
        pytest.raises(SourceNotFound, match=said) as e,
    ):
        GitSource().find(url, "main", credentials(**given) if given else None)
    assert SECRET not in str(e.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "holds nothing"),
        ({"user": b"x", "key": b"y"}, "holds key, user; it needs username and password, token, or"),
    ],
)
def test_a_secret_without_any_known_key_says_which_ones_do(values: dict[str, bytes], said: str) -> None:
    with pytest.raises(SourceNotFound, match=said):
        Credentials.of("deploy", values)


def test_no_credentials_are_printed() -> None:
    assert SECRET not in repr(credentials(token=SECRET))


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SourceNotFound, match="must not have a password in it") as raised:
        GitSource().find(f"https://ada:{SECRET}@git.example/x.git", "main")
    assert SECRET not in str(raised.value)


def moved(target: str) -> Guard:
    to = target.removesuffix("/churn.git")

    def guard(environ: Mapping[str, Any]) -> Answer | None:
        query = f"?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else ""
        return "307 Temporary Redirect", [("Location", f"{to}{environ['PATH_INFO']}{query}")]

    return guard


def test_a_redirect_to_another_host_takes_no_credentials_along(repository: Repository) -> None:
    there = Asks.password("git", SECRET)
    said = "redirects to localhost, which asks for credentials and gets none"
    with (
        over_http(repository, "localhost", guard=there) as target,
        over_http(repository, guard=moved(target)) as url,
        pytest.raises(SourceNotFound, match=said),
    ):
        GitSource().find(url, "main", credentials(token=SECRET))
    assert set(there.shown) == {""}


def test_a_redirect_that_asks_for_nothing_is_followed(repository: Repository) -> None:
    commit = repository.repo.head().decode()
    with over_http(repository, "localhost") as target, over_http(repository, guard=moved(target)) as url:
        assert GitSource().find(url, "main").commit == commit
        assert GitSource().directory(GitFiles(url, commit)).paths == set(PROJECT)


def test_a_server_that_only_redirects_is_left_in_the_end(repository: Repository) -> None:
    def guard(environ: Mapping[str, Any]) -> Answer:
        return "302 Found", [("Location", environ["PATH_INFO"])]

    with over_http(repository, guard=guard) as url, pytest.raises(SourceUnreachable, match="redirect"):
        GitSource().find(url, "main")


class TestSubmodules:
    def test_come_recursively_by_relative_urls_with_the_same_credentials(
        self, repository: Repository, tmp_path: Path
    ) -> None:
        inner, library = Repository(tmp_path / "inner"), Repository(tmp_path / "library")
        deepest = inner.commit({"deep.py": "1"})
        library.commit({"library.py": "2"})
        nested = library.submodules({"inner": ("../inner.git", deepest)})
        asks = Asks.password("git", SECRET)
        with over_http(repository, guard=asks, others={"library.git": library, "inner.git": inner}) as url:
            commit = repository.submodules({"lib": ("./../library.git", nested)})
            files = GitFiles(url, commit)
            assert GitSource().directory(files, credentials(token=SECRET)).paths == {
                *PROJECT,
                ".gitmodules",
                "lib/library.py",
                "lib/.gitmodules",
                "lib/inner/deep.py",
            }
            inside = GitFiles(url, commit, "lib/inner")
            assert GitSource().directory(inside, credentials(token=SECRET)).paths == {"deep.py"}
            without = GitFiles(url, commit, submodules=False)
            assert GitSource().directory(without, credentials(token=SECRET)).paths == {*PROJECT, ".gitmodules"}

    def test_of_another_host_are_asked_for_without_credentials(self, repository: Repository, tmp_path: Path) -> None:
        library = Repository(tmp_path / "library")
        head = library.commit({"library.py": "2"})
        here, there = Asks.password("git", SECRET), Asks.password("git", SECRET)
        with over_http(library, "localhost", guard=there) as other, over_http(repository, guard=here) as url:
            commit = repository.submodules({"lib": (other, head)})
            said = r"submodule lib: .*asks for credentials.* \(spec.project.git.secretRef is for 127.0.0.1 alone\)"
            with pytest.raises(SourceNotFound, match=said):
                GitSource().directory(GitFiles(url, commit), credentials(token=SECRET))
        assert set(there.shown) == {""}
        assert here.wanted in here.shown

    @pytest.mark.parametrize(
        ("asked", "said"),
        [
            ("/etc/repository.git", "is no https://"),
            ("file:///etc/repository.git", "is no https://"),
            ("../../../../x.git", "leads out of"),
            ("ext::sh -c true", "is no https://|ssh"),
            ("../other.git", "submodule lib: there is no git repository at"),
        ],
    )
    def test_of_urls_that_cannot_be_read_are_refused(self, repository: Repository, asked: str, said: str) -> None:
        with over_http(repository) as url:
            commit = repository.submodules({"lib": (asked, "a" * 40)})
            with pytest.raises(SourceNotFound, match=said):
                GitSource().directory(GitFiles(url, commit))

    def test_that_hold_themselves_come_to_an_end(self, repository: Repository) -> None:
        commit = repository.repo.head().decode()
        for _ in range(12):
            commit = repository.submodules({"lib": ("./../churn.git", commit)})
        with over_http(repository) as url, pytest.raises(SourceNotFound, match="nested too deeply"):
            GitSource().directory(GitFiles(url, commit))


@contextmanager
def over_https(repository: Repository, directory: Path) -> Iterator[tuple[str, str]]:
    """Serve with a certificate of its own; yield the URL and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "git")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = certificate.public_bytes(serialization.Encoding.PEM)
    form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / "tls.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption) + authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "tls.pem")
    application = HTTPGitApplication(DictBackend({b"/churn.git": repository.repo}))  # type: ignore[arg-type]
    server = make_server(
        "127.0.0.1", 0, application, handler_class=WSGIRequestHandlerLogger, server_class=WSGIServerLogger
    )
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/churn.git", authority.decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_is_trusted_by_the_secrets_authority_alone(repository: Repository, tmp_path: Path) -> None:
    with over_https(repository, tmp_path) as (url, authority):
        assert GitSource().find(url, "main", credentials(ca_crt=authority)).commit == repository.repo.head().decode()
        with pytest.raises(SourceUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            GitSource().find(url, "main")
        with pytest.raises(SourceNotFound, match=r"ca\.crt of Secret deploy holds no certificate"):
            GitSource().find(url, "main", credentials(ca_crt="none"))
