"""The registry and the model server compute the same digest, each with code of its own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelyard.artifacts.manifest import FileEntry, Manifest
from modelyard_serving.digest import digest

names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.dictionaries(names, hashes, max_size=8))
def test_both_digests_agree_on_any_files(files: dict[str, str]) -> None:
    entries = [FileEntry(path=path, sha256=sha256, size=1, etag="") for path, sha256 in files.items()]
    assert Manifest.of(entries).digest == digest(files)
