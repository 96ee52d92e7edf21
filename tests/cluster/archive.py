"""Images of single programs, written as `docker-archive` tars by hand: the cluster's own add-ons need no builder.

The format is that of `docker save`: manifest.json names a configuration and the layers, each a file of the archive
(https://github.com/moby/docker-image-spec/blob/main/v1.2.md, "Combined Image JSON + Filesystem Changeset Format").
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.locks import exclusive
from tests.cluster.packages import static_busybox
from tests.cluster.paths import cache_dir
from tests.cluster.versions import Versions

PREFIX = "localhost/modelyard"

# The name that tests may give to a pod's image: a shell, wget, nslookup, httpd.
BUSYBOX = f"{PREFIX}/busybox:dev"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """An image of one program and nothing else."""

    name: str
    tag: str
    """Stands for the content: the same tag is the same image."""
    program: Path
    path: str
    """Where the program is in the image."""
    entrypoint: tuple[str, ...]
    links: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    """Further full names."""

    @property
    def ref(self) -> str:
        """Return the image's full name."""
        return f"{PREFIX}/{self.name}:{self.tag}"

    @property
    def archive(self) -> Path:
        """Return where the archive is in the cache once `ensure` has made it."""
        return cache_dir() / "component-images" / f"{self.name}-{self.tag}.tar"


def images(versions: Versions) -> list[Image]:
    """Return the images that the cluster itself needs, of components that are built."""
    own = [_program_image(versions, name) for name in ("pause", "coredns", "local-path-provisioner")]
    return [*own, _busybox_image()]


def ensure(image: Image) -> None:
    """Write the image's archive unless the cache has it."""
    if image.archive.exists():
        return
    with exclusive("component-images"):
        image.archive.parent.mkdir(parents=True, exist_ok=True)
        partial = image.archive.with_suffix(".partial")
        write(image, partial)
        partial.replace(image.archive)


def write(image: Image, target: Path) -> None:
    """Write the image as an archive. The same image gives the same bytes, on every day and for every user."""
    layer = _layer(image)
    config = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(image.entrypoint), "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image.ref, *image.aliases], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as archive:
        _add_file(archive, name, config)
        _add_file(archive, "layer.tar", layer)
        _add_file(archive, "manifest.json", json.dumps(manifest).encode())


def _layer(image: Image) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        _add_directories(layer, [image.path, *image.links])
        scratch = tarfile.TarInfo("tmp")
        scratch.type, scratch.mode = tarfile.DIRTYPE, 0o1777
        layer.addfile(scratch)
        _add_file(layer, image.path, image.program.read_bytes(), mode=0o755)
        for path, destination in image.links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, destination
            layer.addfile(link)
    return buffer.getvalue()


def _add_directories(layer: tarfile.TarFile, files: list[str]) -> None:
    for directory in sorted({str(parent) for file in files for parent in Path(file).parents} - {"."}):
        entry = tarfile.TarInfo(directory)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        layer.addfile(entry)


def _add_file(archive: tarfile.TarFile, path: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _program_image(versions: Versions, component: str) -> Image:
    program = versions.program(component)
    return Image(
        name=component,
        tag=program.parent.name,
        program=program,
        path=f"bin/{component}",
        entrypoint=(f"/bin/{component}",),
    )


def _busybox_image() -> Image:
    program = static_busybox()
    if program is None:
        raise ClusterError("busybox-static is not installed")
    applets = subprocess.run([program, "--list-full"], capture_output=True, text=True, check=True).stdout.split()
    return Image(
        name="busybox",
        tag=hashlib.sha256(program.read_bytes()).hexdigest()[:12],
        program=program,
        path="bin/busybox",
        entrypoint=(),
        links={applet: "/bin/busybox" for applet in applets if os.path.basename(applet) != "busybox"},  # noqa: PTH119
        aliases=(BUSYBOX,),
    )
