from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.cluster.archive import Image, write


@pytest.fixture
def image(tmp_path: Path) -> Image:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    return Image(
        "busybox",
        "1",
        program,
        "bin/busybox",
        ("/bin/busybox",),
        {"bin/sh": "/bin/busybox"},
        ("localhost/modelyard/x:y",),
    )


def test_an_archive_is_what_docker_save_writes(image: Image, tmp_path: Path) -> None:
    write(image, tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as archive:
        (manifest,) = json.loads(member(archive, "manifest.json"))
        config = json.loads(member(archive, manifest["Config"]))
        layer = member(archive, manifest["Layers"][0])
    assert manifest["RepoTags"] == ["localhost/modelyard/busybox:1", "localhost/modelyard/x:y"]
    assert config["config"]["Entrypoint"] == ["/bin/busybox"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getmember("bin/busybox").mode == 0o755
        assert files.getmember("bin/sh").linkname == "/bin/busybox"
        assert files.getmember("tmp").mode == 0o1777
        assert files.getmember("bin").isdir()


def test_the_same_image_is_the_same_bytes(image: Image, tmp_path: Path) -> None:
    write(image, tmp_path / "one.tar")
    write(image, tmp_path / "other.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()


def member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()
