"""The images' names follow their inputs; only what the cluster lacks is moved; old images go."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import images as command
from tests.cluster.errors import ClusterError
from tests.cluster.images import plan, storage, transfer
from tests.cluster.images.plan import Stored, stale
from tests.cluster.paths import REPOSITORY

FILES = {
    ".dockerignore": "*",
    "pyproject.toml": "[project]",
    "uv.lock": "version = 1",
    "README.md": "# Modelyard",
    "environments/modelyard_environments/__init__.py": "",
    "environments/pyproject.toml": "[project]",
    "operator/Dockerfile": "FROM base",
    "operator/modelyard/__init__.py": "",
    "operator/modelyard/api/names.py": "GROUP = 1",
    "serving-image/Dockerfile": "FROM base",
    "serving-image/pyproject.toml": "[project]",
    "serving-image/modelyard_serving/__init__.py": "",
    "tests/cluster/images/base/Dockerfile": "FROM scratch",
    "tests/cluster/images/minio/Dockerfile": "FROM base",
    "tests/cluster/images/postgresql/Dockerfile": "FROM base",
}
ALL = {"base", "tracking", "operator", "serving", "minio", "postgresql"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


def names(repository: Path, **inputs: dict[str, str]) -> dict[str, str]:
    return plan.references(plan.images(inputs), repository)


def changed(repository: Path, change: Callable[[Path], object]) -> set[str]:
    before = names(repository)
    change(repository)
    after = names(repository)
    return {name for name in after if after[name] != before[name]}


def edit(path: str) -> Callable[[Path], object]:
    return lambda repository: (repository / path).write_text("edited")


def add(path: str) -> Callable[[Path], object]:
    def write(repository: Path) -> None:
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text("added")

    return write


@pytest.mark.parametrize(
    ("change", "renamed"),
    [
        pytest.param(edit("operator/modelyard/api/names.py"), {"tracking", "operator"}, id="operator source"),
        pytest.param(add("operator/modelyard/api/new.py"), {"tracking", "operator"}, id="new operator source"),
        pytest.param(
            lambda repository: (repository / "operator/modelyard/api/names.py").unlink(),
            {"tracking", "operator"},
            id="removed operator source",
        ),
        pytest.param(
            lambda repository: (repository / "operator/modelyard/api/names.py").rename(
                repository / "operator/modelyard/api/other.py"
            ),
            {"tracking", "operator"},
            id="renamed operator source",
        ),
        pytest.param(
            lambda repository: (repository / "operator/modelyard/api/names.py").chmod(0o755),
            {"tracking", "operator"},
            id="operator source made executable",
        ),
        pytest.param(edit("serving-image/modelyard_serving/__init__.py"), {"serving"}, id="serving source"),
        pytest.param(edit("serving-image/Dockerfile"), {"serving"}, id="serving Dockerfile"),
        pytest.param(edit("operator/Dockerfile"), {"tracking", "operator"}, id="operator Dockerfile"),
        pytest.param(edit("uv.lock"), {"tracking", "operator", "serving"}, id="lock file"),
        pytest.param(edit("environments/modelyard_environments/__init__.py"), {"tracking", "operator"}, id="env"),
        pytest.param(edit("serving-image/pyproject.toml"), {"tracking", "operator", "serving"}, id="workspace member"),
        pytest.param(edit("tests/cluster/images/minio/Dockerfile"), {"minio"}, id="minio Dockerfile"),
        pytest.param(edit("tests/cluster/images/base/Dockerfile"), ALL, id="base Dockerfile"),
        pytest.param(add("operator/modelyard/api/__pycache__/names.cpython-312.pyc"), set(), id="compiled source"),
        pytest.param(add("operator/modelyard/api/names.pyc"), set(), id="compiled source beside its source"),
        pytest.param(add("docs/guide.md"), set(), id="unrelated file"),
        pytest.param(add("tests/cluster/images/plan.py"), set(), id="the builder's own source"),
        pytest.param(lambda repository: (repository / "uv.lock").touch(), set(), id="a new time of the same content"),
    ],
)
def test_an_image_is_renamed_exactly_when_an_input_of_it_changes(
    repository: Path, change: Callable[[Path], object], renamed: set[str]
) -> None:
    assert changed(repository, change) == renamed


@pytest.mark.parametrize(
    ("inputs", "renamed"),
    [
        ({"minio": {"program": "2"}}, {"minio"}),
        ({"base": {"authorities": "2"}}, ALL),
        ({"minio": {}, "base": {}}, set()),
    ],
)
def test_an_image_is_renamed_when_what_comes_from_outside_the_repository_changes(
    repository: Path, inputs: dict[str, dict[str, str]], renamed: set[str]
) -> None:
    before, after = names(repository), names(repository, **inputs)
    assert {name for name in after if after[name] != before[name]} == renamed


def test_the_same_files_in_another_place_give_the_same_names(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name, content in FILES.items():
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text(content)
    assert names(elsewhere) == names(repository)


def test_moving_text_from_one_file_to_the_next_renames(repository: Path) -> None:
    def move(repository: Path) -> None:
        (repository / "operator/modelyard/__init__.py").write_text(FILES["operator/modelyard/api/names.py"])
        (repository / "operator/modelyard/api/names.py").write_text("")

    assert changed(repository, move) == {"tracking", "operator"}


def test_a_source_that_is_not_there_is_an_error(repository: Path) -> None:
    (repository / "uv.lock").unlink()
    with pytest.raises(FileNotFoundError, match=r"uv\.lock"):
        names(repository)


def test_every_file_that_the_dockerfiles_copy_is_an_input() -> None:
    for image in plan.images({}):
        if not image.sources:
            continue
        for line in (REPOSITORY / image.dockerfile).read_text().splitlines():
            if line.startswith("COPY ") and "--from=" not in line:
                for source in line.split()[1:-1]:
                    assert any(
                        f"{given}/".startswith(f"{source}/") or f"{source}/".startswith(f"{given}/")
                        for given in image.sources
                    ), f"{image.name} copies {source}"


OTHERS = ["tracking", "postgresql", "serving", "operator", "minio"]


@pytest.mark.parametrize(
    ("stored", "present", "built", "imported"),
    [
        pytest.param([], [], ["base", *OTHERS], OTHERS, id="from nothing"),
        pytest.param([], OTHERS, [], [], id="the cluster has all"),
        pytest.param(["base", *OTHERS], [], [], OTHERS, id="a new cluster, all built"),
        pytest.param(["base"], ["minio", "postgresql", "serving"], ["tracking", "operator"], ["tracking", "operator"]),
        pytest.param([], ["tracking", "postgresql", "serving", "minio"], ["base", "operator"], ["operator"]),
        pytest.param([], None, ["base", *OTHERS], [], id="no cluster"),
        pytest.param(
            ["base", "minio"], None, [name for name in OTHERS if name != "minio"], [], id="no cluster, some built"
        ),
        pytest.param(OTHERS, None, [], [], id="no cluster, all built"),
    ],
)
def test_only_what_is_missing_is_built_and_imported(
    repository: Path, stored: list[str], present: list[str] | None, built: list[str], imported: list[str]
) -> None:
    named = names(repository)
    held = None if present is None else {named[name] for name in present}
    todo = plan.work(plan.images({}), named, {named[name] for name in stored}, held)
    assert [image.name for image in todo.build] == built
    assert [image.name for image in todo.bring] == imported


def test_values_name_each_image_as_it_is_in_the_cluster(repository: Path) -> None:
    named = names(repository)
    rendered = yaml.safe_load(plan.values(named))["images"]
    assert set(rendered) == {"operator", "tracking", "serving", "training", "minio", "postgresql"}
    assert rendered["training"] == rendered["tracking"]
    for name in ALL - {"base"}:
        assert f"{rendered[name]['repository']}:{rendered[name]['tag']}" == named[name]
        assert rendered[name]["pullPolicy"] == "Never"


@pytest.mark.parametrize("tag", ["123456789012", "12e345678901", "0b1010101010", "000000000000"])
def test_a_tag_that_looks_like_a_number_stays_text(tag: str) -> None:
    named = dict.fromkeys(plan.VALUES.values(), f"localhost/modelyard/some:{tag}")
    assert yaml.safe_load(plan.values(named))["images"]["operator"]["tag"] == tag


def stored(*refs: str) -> list[Stored]:
    """Return images of these names, oldest first."""
    return [Stored(ref, f"2026-01-01T00:00:{second:02}Z") for second, ref in enumerate(refs)]


@pytest.mark.parametrize(
    ("images", "current", "removed"),
    [
        pytest.param(stored("a:1", "a:2", "a:3"), ["a:3"], [], id="as many as are kept"),
        pytest.param(stored("a:1", "a:2", "a:3", "a:4"), ["a:4"], ["a:1"], id="the oldest goes"),
        pytest.param(stored("a:1", "a:2", "a:3", "a:4"), ["a:1"], ["a:2"], id="the current one stays, however old"),
        pytest.param(stored("a:1", "b:1", "a:2", "a:3", "a:4"), ["a:4", "b:1"], ["a:1"], id="each name by itself"),
        pytest.param(stored("a:1", "a:2", "a:3", "a:4", "a:5"), [], ["a:1", "a:2"], id="none current"),
        pytest.param([], ["a:1"], [], id="nothing stored"),
    ],
)
def test_the_last_three_of_an_image_are_kept(images: list[Stored], current: list[str], removed: list[str]) -> None:
    assert stale(images, current) == removed
    assert stale(reversed(images), current) == removed


def layer(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "etc/name"
        tar.addfile(link)
    return buffer.getvalue()


def split(tar: bytes, diff: Path) -> bytes:
    """Take a tar apart as containers/storage does: the files' content into `diff`, the rest returned, compressed."""
    lines: list[dict[str, object]] = []
    position = 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        for entry in opened:
            lines.append({"type": 2, "payload": base64.b64encode(tar[position : entry.offset_data]).decode()})
            lines.append({"type": 1, "name": entry.name, "size": entry.size, "payload": None})
            position = entry.offset_data + entry.size
            if entry.isfile():
                (diff / entry.name).parent.mkdir(parents=True, exist_ok=True)
                (diff / entry.name).write_bytes(tar[entry.offset_data : position])
    lines.append({"type": 2, "payload": base64.b64encode(tar[position:]).decode()})
    return gzip.compress("\n".join(json.dumps(line) for line in lines).encode())


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


REF = "localhost/modelyard/operator:0123456789ab"
LAYERS = [
    layer(("etc/name", b"lower"), ("etc/empty", b""), ("large", b"x" * 3_000_000)),
    layer(("etc/näme", b"upper"), ("odd", b"1")),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A storage as buildah leaves it, with one image of two layers."""
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in LAYERS]}}).encode()
    identity = hashlib.sha256(config).hexdigest()
    entries = []
    for number, tar in enumerate(LAYERS):
        parent = {"parent": f"layer{number - 1}"} if number else {}
        entries.append({"id": f"layer{number}", "diff-digest": sha256(tar), "diff-size": len(tar), **parent})
        diff = tmp_path / "overlay" / f"layer{number}" / "diff"
        diff.mkdir(parents=True)
        (tmp_path / "overlay-layers").mkdir(exist_ok=True)
        (tmp_path / "overlay-layers" / f"layer{number}.tar-split.gz").write_bytes(split(tar, diff))
    (tmp_path / "overlay-layers/layers.json").write_text(json.dumps(entries))
    image = {"id": identity, "names": [REF], "layer": "layer1", "created": "2026-01-01T00:00:00Z"}
    unnamed = {"id": "f" * 64, "layer": "layer0", "created": "2026-01-01T00:00:00Z"}
    home = tmp_path / "overlay-images" / identity
    home.mkdir(parents=True)
    (home / f"={base64.b64encode(f'sha256:{identity}'.encode()).decode()}").write_bytes(config)
    (tmp_path / "overlay-images/images.json").write_text(json.dumps([image, unnamed]))
    return tmp_path


def unpack(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def test_named_images_are_listed(root: Path) -> None:
    assert storage.stored_images(root) == [Stored(REF, "2026-01-01T00:00:00Z")]


def test_a_storage_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    assert storage.stored_images(tmp_path / "none") == []


def test_a_layer_is_read_as_the_bytes_that_its_digest_names(root: Path) -> None:
    image = storage.load(root, REF)
    assert [b"".join(storage.layer_tar(root, layer)) for layer in image.layers] == LAYERS


def test_an_archive_is_an_image_layout_that_holds_the_whole_image(root: Path) -> None:
    files = unpack(b"".join(transfer.archive(root, storage.load(root, REF), present=set())))
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"] == {"io.containerd.image.name": REF}
    manifest = json.loads(blob(files, entry))
    assert json.loads(blob(files, manifest["config"]))["rootfs"]["diff_ids"] == [sha256(tar) for tar in LAYERS]
    assert [blob(files, layer) for layer in manifest["layers"]] == LAYERS


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert sha256(content) == descriptor["digest"]
    assert len(content) == descriptor["size"]
    return content


def test_an_archive_leaves_out_the_layers_that_the_cluster_has(root: Path) -> None:
    files = unpack(b"".join(transfer.archive(root, storage.load(root, REF), present={sha256(LAYERS[0])})))
    assert f"blobs/{sha256(LAYERS[1]).replace(':', '/')}" in files
    assert f"blobs/{sha256(LAYERS[0]).replace(':', '/')}" not in files


def test_a_damaged_layer_is_an_error(root: Path) -> None:
    (root / "overlay/layer1/diff/odd").write_bytes(b"2")
    with pytest.raises(ClusterError, match=r"layer1 .* is damaged"):
        b"".join(transfer.archive(root, storage.load(root, REF), present=set()))


def test_layers_that_are_not_the_configurations_are_an_error(root: Path) -> None:
    entries = json.loads((root / "overlay-layers/layers.json").read_text())
    entries[0]["diff-digest"] = sha256(b"other")
    (root / "overlay-layers/layers.json").write_text(json.dumps(entries))
    with pytest.raises(ClusterError, match="not those of its configuration"):
        storage.load(root, REF)


def test_an_image_that_is_not_stored_is_an_error(root: Path) -> None:
    with pytest.raises(ClusterError, match="holds no image other"):
        storage.load(root, "other")


class TestForeignCluster:
    """With a KUBECONFIG of the user's own nothing is built."""

    @pytest.fixture(autouse=True)
    def _foreign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")
        monkeypatch.delenv("MODELYARD_CLUSTER", raising=False)
        monkeypatch.delenv("MODELYARD_IMAGES_VALUES", raising=False)

    def test_the_command_says_how_to_build_and_push(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.main([]) == 1
        said = capsys.readouterr().err
        for target in ("operator/Dockerfile --target operator", "operator/Dockerfile --target tracking"):
            assert f"docker build -f {target}" in said
        assert "docker build -f serving-image/Dockerfile" in said
        assert "MODELYARD_IMAGES_VALUES" in said

    def test_a_values_file_of_the_users_own_is_used(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        values = tmp_path / "images.yaml"
        values.write_text("images: {}")
        monkeypatch.setenv("MODELYARD_IMAGES_VALUES", str(values))
        assert command.main([]) == 0
        assert str(values) in capsys.readouterr().out

    def test_a_values_file_that_is_not_there_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("MODELYARD_IMAGES_VALUES", str(tmp_path / "none.yaml"))
        assert command.main([]) == 1
        assert "not a file" in capsys.readouterr().err


def test_without_a_cluster_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("MODELYARD_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MODELYARD_CACHE", str(tmp_path / "cache"))
    assert command.main([]) == 1
    assert "not up" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
