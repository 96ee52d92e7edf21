"""The cluster's certificates and kubeconfigs, made with the `openssl` program.

What each certificate says is Kubernetes' own convention: https://kubernetes.io/docs/setup/best-practices/certificates/.
They are valid for ten years, as the cluster they belong to is thrown away long before.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.packages import program
from tests.cluster.paths import kubeconfig, state_dir
from tests.cluster.settings import CLUSTER_DOMAIN, NODE, Settings

DAYS = "3650"
CLIENT = "clientAuth"
SERVER = "serverAuth"


@dataclass(frozen=True)
class Certificate:
    """A certificate to issue: the user and group names of a client are its CN and O."""

    name: str
    common_name: str
    organization: str = ""
    usages: tuple[str, ...] = (CLIENT,)
    alternative_names: tuple[str, ...] = ()
    authority: str = "ca"


def directory() -> Path:
    """Return the directory of the certificates and keys."""
    return state_dir() / "pki"


def cert(name: str) -> str:
    """Return the path of a certificate."""
    return str(directory() / f"{name}.crt")


def key(name: str) -> str:
    """Return the path of a certificate's key."""
    return str(directory() / f"{name}.key")


def certificates(settings: Settings) -> list[Certificate]:
    """Return every certificate of a cluster with these addresses."""
    masters = "system:masters"
    loopback = ("IP:127.0.0.1", "DNS:localhost")
    service = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{CLUSTER_DOMAIN}")
    apiserver = (*loopback, f"IP:{settings.node_ip}", f"IP:{settings.apiserver_service_ip}")
    return [
        Certificate(
            "apiserver",
            "kube-apiserver",
            usages=(SERVER,),
            alternative_names=(*apiserver, *(f"DNS:{name}" for name in service)),
        ),
        Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", masters),
        Certificate("etcd", "etcd", usages=(SERVER, CLIENT), alternative_names=loopback, authority="etcd-ca"),
        Certificate("apiserver-etcd-client", "kube-apiserver-etcd-client", authority="etcd-ca"),
        Certificate("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
        Certificate(
            "kubelet",
            f"system:node:{NODE}",
            "system:nodes",
            usages=(SERVER, CLIENT),
            alternative_names=(f"DNS:{NODE}", f"IP:{settings.node_ip}"),
        ),
        Certificate("controller-manager", "system:kube-controller-manager"),
        Certificate("scheduler", "system:kube-scheduler"),
        Certificate("proxy", "system:kube-proxy"),
        Certificate("contour", "modelyard:contour"),
        Certificate("admin", "modelyard:admin", masters),
    ]


# The clients that get a kubeconfig, by the name of their certificate.
CLIENTS = ("kubelet", "controller-manager", "scheduler", "proxy", "contour", "admin")


def ensure(settings: Settings) -> None:
    """Issue what is missing. The directory appears when all of it is complete."""
    if directory().is_dir():
        return
    partial = directory().with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    for authority in ("ca", "etcd-ca", "front-proxy-ca"):
        _issue_authority(partial, authority)
    for certificate in certificates(settings):
        _issue(partial, certificate)
    _openssl("genpkey", *_EC_KEY, "-out", str(partial / "service-account.key"))
    _openssl(
        "pkey", "-in", str(partial / "service-account.key"), "-pubout", "-out", str(partial / "service-account.pub")
    )
    for client in CLIENTS:
        _write_kubeconfig(partial, client, settings)
    partial.rename(directory())


def publish_admin() -> None:
    """Put the administrator's kubeconfig where people look for it: a sign that the cluster can be used."""
    partial = kubeconfig().with_suffix(".partial")
    partial.touch(mode=0o600)
    shutil.copyfile(client_config("admin"), partial)
    partial.replace(kubeconfig())


def client_config(name: str) -> str:
    """Return the path of a client's kubeconfig."""
    return str(directory() / f"{name}.kubeconfig")


_EC_KEY = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
_EC_REQUEST = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-sha256", "-days", DAYS)

# openssl's own configuration file would add extensions of an authority to every certificate.
_CONFIG = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = unused\n"


def _issue_authority(target: Path, name: str) -> None:
    config = target / "openssl.cnf"
    config.write_text(_CONFIG)
    extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
    _request(target, name, f"/CN=modelyard-{name}", ["subjectKeyIdentifier=hash", *extensions], [])


def _issue(target: Path, certificate: Certificate) -> None:
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        f"extendedKeyUsage={','.join(certificate.usages)}",
        "authorityKeyIdentifier=keyid",
    ]
    if certificate.alternative_names:
        extensions.append(f"subjectAltName={','.join(certificate.alternative_names)}")
    subject = (f"/O={certificate.organization}" if certificate.organization else "") + f"/CN={certificate.common_name}"
    authority = target / certificate.authority
    signed_by = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"]
    _request(target, certificate.name, subject, extensions, signed_by)


def _request(target: Path, name: str, subject: str, extensions: Sequence[str], signed_by: Sequence[str]) -> None:
    added = [argument for extension in extensions for argument in ("-addext", extension)]
    files = ["-keyout", str(target / f"{name}.key"), "-out", str(target / f"{name}.crt")]
    config = ["-config", str(target / "openssl.cnf")]
    _openssl("req", "-x509", *config, *_EC_REQUEST, "-subj", subject, *files, *added, *signed_by)


def _openssl(*arguments: str) -> None:
    done = subprocess.run([program("openssl"), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"openssl {' '.join(arguments)} failed:\n{done.stderr}")


def _write_kubeconfig(target: Path, client: str, settings: Settings) -> None:
    def data(file: str) -> str:
        return base64.b64encode((target / file).read_bytes()).decode()

    server = f"https://127.0.0.1:{settings.ports.apiserver}"
    user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NODE, "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": client}}],
        "current-context": NODE,
    }
    path = target / f"{client}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2))
