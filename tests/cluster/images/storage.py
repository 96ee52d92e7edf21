"""Reads images out of buildah's storage, layer by layer, so that only layers that the cluster lacks are moved.

`buildah push` writes every layer of an image on every push. The storage (github.com/containers/storage, driver
`overlay`) keeps a layer's files in overlay/<id>/diff and the rest of the tar they came in, headers and padding, in
overlay-layers/<id>.tar-split.gz (github.com/vbatts/tar-split: a JSON document a line, in the order of the tar).
Both together are the very bytes whose digest is in the image's configuration, which is checked while they are read.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError
from tests.cluster.images.plan import Stored

FILE, SEGMENT = 1, 2
CHUNK = 1 << 20


@dataclass(frozen=True)
class Layer:
    """A layer of a stored image; `digest` is that of its uncompressed tar, `size` that tar's length in bytes."""

    id: str
    digest: str
    size: int


@dataclass(frozen=True)
class StoredImage:
    """An image's configuration, as its exact bytes, and its layers from the lowest up."""

    ref: str
    config: bytes
    layers: tuple[Layer, ...]


def stored_images(root: Path) -> list[Stored]:
    """Return the named images in the storage."""
    return [Stored(name, image["created"]) for image in _index(root, "images") for name in image.get("names") or []]


def has_containers(root: Path) -> bool:
    """Tell whether there are containers in the storage: those of builds under way, or that ended badly."""
    return bool(_index(root, "containers"))


def load(root: Path, ref: str) -> StoredImage:
    """Return the image of this full name. Raises ClusterError where the storage holds no such image, or not whole."""
    image = next((image for image in _index(root, "images") if ref in (image.get("names") or [])), None)
    if image is None:
        raise ClusterError(f"{root} holds no image {ref}")
    key = base64.b64encode(f"sha256:{image['id']}".encode()).decode()
    config = (root / "overlay-images" / image["id"] / f"={key}").read_bytes()
    known = {layer["id"]: layer for layer in _index(root, "layers")}
    layers: list[Layer] = []
    current = image["layer"]
    while current:
        layer = known[current]
        layers.insert(0, Layer(current, layer["diff-digest"], layer["diff-size"]))
        current = layer.get("parent", "")
    if [layer.digest for layer in layers] != json.loads(config)["rootfs"]["diff_ids"]:
        raise ClusterError(f"the layers of {ref} in {root} are not those of its configuration; remove {root}")
    return StoredImage(ref, config, tuple(layers))


def layer_tar(root: Path, layer: Layer) -> Iterator[bytes]:
    """Yield the layer's tar in pieces. Raises ClusterError at the end if they are not what the digest names."""
    total = hashlib.sha256()
    for piece in _pieces(root / "overlay" / layer.id / "diff", root / "overlay-layers" / f"{layer.id}.tar-split.gz"):
        total.update(piece)
        yield piece
    if f"sha256:{total.hexdigest()}" != layer.digest:
        raise ClusterError(f"layer {layer.id} in {root} is damaged; remove {root}")


def _pieces(files: Path, split: Path) -> Iterator[bytes]:
    with gzip.open(split, "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["type"] == SEGMENT:
                yield base64.b64decode(entry["payload"])
            elif entry["type"] == FILE and entry.get("size", 0) > 0:
                raw = entry.get("name_raw")
                name = base64.b64decode(raw) if raw else entry["name"].encode()
                yield from _content(files, name)


def _content(files: Path, name: bytes) -> Iterator[bytes]:
    # Names in a layer are bytes; those that start at the root would otherwise leave the layer's directory.
    with open(bytes(files) + b"/" + name.lstrip(b"/"), "rb") as file:  # noqa: PTH123 - pathlib knows no bytes
        while chunk := file.read(CHUNK):
            yield chunk


def _index(root: Path, kind: str) -> Sequence[dict[str, Any]]:
    path = root / f"overlay-{kind}" / f"{kind}.json"
    entries: list[dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else []
    return entries
