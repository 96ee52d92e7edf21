"""Runs buildah and mmdebstrap, with all that they keep in the cache directory."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import versions
from tests.cluster.build import ensure
from tests.cluster.errors import ClusterError
from tests.cluster.images.plan import BASE, Image, source_files, stale
from tests.cluster.images.storage import has_containers, stored_images
from tests.cluster.packages import program
from tests.cluster.paths import REPOSITORY, cache_dir
from tests.cluster.progress import progress

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")

KEEP_STEPS = "168h"

MMDEBSTRAP = [
    "mmdebstrap",
    "--variant=minbase",
    f"--include={','.join(PACKAGES)}",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    SUITE,
]


def home() -> Path:
    """Return the directory of everything that the builder keeps. It need not exist."""
    return cache_dir() / "images"


def storage() -> Path:
    """Return the root of buildah's storage, which holds the finished images and the steps that later builds reuse."""
    return home() / "storage"


def certificate_authorities() -> Path:
    """Return the file of the certificate authorities that this machine trusts. Raises ClusterError if there is none."""
    candidates = [os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/cert.pem"]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    raise ClusterError("no file of trusted certificates on this machine; name one in SSL_CERT_FILE")


def inputs() -> dict[str, dict[str, str]]:
    """Return what decides the content of the images besides files of the repository."""
    authorities = hashlib.sha256(certificate_authorities().read_bytes()).hexdigest()
    return {
        BASE: {"machine": os.uname().machine, "mmdebstrap": " ".join(MMDEBSTRAP), "authorities": authorities},
        "minio": {"program": _minio().home().name},
    }


@contextmanager
def snapshot(wanted: Sequence[Image]) -> Iterator[Path]:
    """Provide a copy of the files of the repository that the images are made of, and of nothing else."""
    with tempfile.TemporaryDirectory(prefix="sources-", dir=environment()["TMPDIR"]) as directory:
        files = {file for image in wanted for file in source_files(REPOSITORY, [image.dockerfile, *image.sources])}
        for file in files:
            copy = Path(directory, file.relative_to(REPOSITORY))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
        yield Path(directory)


def build(image: Image, ref: str, base: str, sources: Path) -> None:
    """Build the image under this full name, from a snapshot.

    Raises ClusterError, naming the log, with the log's last lines.
    """
    log = cache_dir() / "logs" / f"image-{image.name}-{ref.rpartition(':')[2]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with progress(f"building image {image.name}"), _context(image, sources, log) as context:
        command = [
            "bud",
            "--isolation=chroot",
            "--pull-never",
            f"--file={sources / image.dockerfile}",
            f"--tag={ref}",
        ]
        # The steps of the base are not worth keeping: all of it is made anew whenever any of it changes.
        command.append(f"--layers={'true' if image.base else 'false'}")
        if image.base:
            command.append(f"--build-arg=BASE_IMAGE={base}")
        if image.target:
            command.append(f"--target={image.target}")
        _run(_buildah(*command, str(context)), log, environment())


def clear() -> None:
    """Remove the containers, mounts and files that a failed or killed build left. No build may be running."""
    if has_containers(storage()):
        _run(_buildah("rm", "--all"), cache_dir() / "logs" / "image-clear.log", environment())


def prune(current: Sequence[str]) -> None:
    """Remove images of earlier inputs, but for the last few and the current ones, and steps that no image came of.

    Steps are kept for a week, since they save the next builds time. Raises ClusterError, naming the log.
    """
    log = cache_dir() / "logs" / "image-prune.log"
    log.unlink(missing_ok=True)
    if removed := stale(stored_images(storage()), current):
        _run(_buildah("rmi", "--force", *removed), log, environment())
    listed = _buildah(
        "images", "--all", "--quiet", "--no-trunc", "--filter=dangling=true", f"--filter=until={KEEP_STEPS}"
    )
    done = subprocess.run(listed, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"buildah images: {done.stderr.strip()}")
    if steps := sorted(set(done.stdout.split())):
        _run(_buildah("rmi", *steps), log, environment())


def environment() -> dict[str, str]:
    """Return buildah's environment: TMPDIR also has uv's cache, which steps mount as `type=cache`."""
    temporary = home() / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary)}


@contextmanager
def _context(image: Image, sources: Path, log: Path) -> Iterator[Path]:
    """Provide the directory that the Dockerfile copies from."""
    if image.sources:
        yield sources
    elif image.name == BASE:
        with tempfile.TemporaryDirectory(prefix="base-", dir=environment()["TMPDIR"]) as directory:
            context = Path(directory)
            shutil.copyfile(certificate_authorities(), context / "ca-certificates.crt")
            _run([program("mmdebstrap"), *MMDEBSTRAP[1:], str(context / "base.tar")], log, environment())
            yield context
    elif image.name == "minio":
        pinned = versions.load()
        ensure(pinned.components["minio"], pinned.toolchain)
        yield _minio().home()
    else:
        yield (sources / image.dockerfile).parent


def _minio() -> versions.Recipe:
    return versions.load().components["minio"]


def _buildah(*arguments: str) -> list[str]:
    # What the run root says of mounts must not outlive the machine's start, and each cache has its own.
    run = Path("/run/modelyard-images") / hashlib.sha256(str(storage()).encode()).hexdigest()[:12]
    return [program("buildah"), f"--root={storage()}", f"--runroot={run}", "--storage-driver=overlay", *arguments]


def _run(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
    with log.open("a") as output:
        print("+", *command, file=output, flush=True)
        code = subprocess.run(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=variables, check=False
        ).returncode
    if code != 0:
        tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-20:])
        raise ClusterError(f"{Path(command[0]).name} exited {code}; the whole log is {log}:\n{tail}")
