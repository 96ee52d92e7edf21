from __future__ import annotations

import pytest

from modelyard.sources import configmap, keep

CONFIG_MAP = {"data": {"MLproject": "name: x", "train.py": "print('ü')"}, "binaryData": {"model.bin": "AAEC"}}


def test_each_key_is_a_file_text_or_binary() -> None:
    files = configmap.files(CONFIG_MAP)
    assert files == {"MLproject": b"name: x", "train.py": "print('ü')".encode(), "model.bin": b"\0\1\2"}


@pytest.mark.parametrize(
    "other",
    [
        {"a": b"1", "b": b"3"},
        {"a": b"1", "c": b"2"},
        {"a": b"1b2"},
        {},
    ],
)
def test_the_digest_names_the_content(other: dict[str, bytes]) -> None:
    content = {"a": b"1", "b": b"2"}
    assert configmap.digest(content) == configmap.digest(dict(reversed(content.items())))
    assert configmap.digest(content) != configmap.digest(other)
    assert configmap.digest(content) == keep.digest(keep.in_memory(content))
