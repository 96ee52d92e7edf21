"""Brings a stored image into the cluster's containerd, through an OCI archive that lacks what containerd has."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tests.cluster.containerd import NAMESPACE, socket
from tests.cluster.errors import ClusterError
from tests.cluster.images.storage import StoredImage, layer_tar
from tests.cluster.packages import program

BLOCK = 512

OCI = "application/vnd.oci.image"


def present_images() -> set[str]:
    """Return the full names of the cluster's images. Raises ClusterError where containerd does not answer."""
    return set(_ctr("images", "ls", "-q"))


def import_image(root: Path, image: StoredImage) -> int:
    """Import the image and return how many bytes of layers it took. Raises ClusterError with containerd's message."""
    present = set(_ctr("content", "ls", "-q"))
    command = _command("images", "import", "-")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for piece in archive(root, image, present):
                process.stdin.write(piece)
            process.stdin.close()
        except BrokenPipeError:
            # ctr has given up: its message says why.
            pass
        except BaseException:
            process.kill()
            raise
        message = process.stdout.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise ClusterError(f"importing {image.ref}: {message}")
    return sum(layer.size for layer in image.layers if layer.digest not in present)


def archive(root: Path, image: StoredImage, present: Collection[str]) -> Iterator[bytes]:
    """Yield a tar of an OCI image layout that holds the image, without the layers whose digests are in `present`.

    The format is https://github.com/opencontainers/image-spec/blob/main/image-layout.md; containerd takes the name
    from the annotation `io.containerd.image.name`.
    """
    config = _descriptor(f"{OCI}.config.v1+json", image.config)
    layers = [
        {"mediaType": f"{OCI}.layer.v1.tar", "digest": layer.digest, "size": layer.size} for layer in image.layers
    ]
    manifest = _json({"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": layers})
    described = _descriptor(f"{OCI}.manifest.v1+json", manifest)
    entry = {**described, "annotations": {"io.containerd.image.name": image.ref}}
    index = _json({"schemaVersion": 2, "manifests": [entry]})
    yield from _file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    yield from _file(_blob(config), image.config)
    yield from _file(_blob(described), manifest)
    yield from _file("index.json", index)
    # The same layer may occur twice in an image, an empty one for example.
    for layer in {layer.digest: layer for layer in image.layers if layer.digest not in present}.values():
        yield from _entry(_blob({"digest": layer.digest}), layer.size, layer_tar(root, layer))
    yield bytes(2 * BLOCK)


def _file(name: str, content: bytes) -> Iterator[bytes]:
    return _entry(name, len(content), [content])


def _entry(name: str, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o644
    yield header.tobuf(tarfile.GNU_FORMAT)
    yield from content
    yield bytes(-size % BLOCK)


def _descriptor(media_type: str, content: bytes) -> dict[str, str | int]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _blob(descriptor: dict[str, str | int] | dict[str, str]) -> str:
    return f"blobs/{str(descriptor['digest']).replace(':', '/')}"


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _ctr(*arguments: str) -> list[str]:
    done = subprocess.run(_command(*arguments), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"ctr {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.split()


def _command(*arguments: str) -> list[str]:
    return [program("ctr"), "--address", str(socket()), "--namespace", NAMESPACE, *arguments]
