"""Connecting as a person does: the context of a kubeconfig."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from modelyard.cluster.user import NoConnection, connect


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """Two contexts, the second with a namespace."""
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}
    contexts = [
        {"name": "one", "context": {"cluster": "c", "user": "u"}},
        {"name": "two", "context": {"cluster": "c", "user": "u", "namespace": "ml-team"}},
    ]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": contexts,
        "current-context": "one",
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(("context", "namespace"), [(None, "default"), ("one", "default"), ("two", "ml-team")])
def test_the_context_names_the_namespace(kubeconfig: str, context: str | None, namespace: str) -> None:
    assert connect(kubeconfig, context).namespace == namespace


def test_a_context_that_there_is_not_is_said(kubeconfig: str) -> None:
    with pytest.raises(NoConnection, match="no context 'three'"):
        connect(kubeconfig, "three")


@pytest.mark.parametrize("text", [None, "", "a: [", "kind: Config"])
def test_a_kubeconfig_that_is_none_is_said(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NoConnection, match="cannot read the kubeconfig"):
        connect(str(path), None)
