from __future__ import annotations

import dataclasses
import re

import pytest

from tests.cluster import archive, build, toolchain
from tests.cluster.versions import MODULES, Recipe, load

RECIPE = Recipe(
    "etcd", "3.6.7", "module", directory="etcd", packages=("example.org/etcd",), sources={"go.mod": b"module x\n"}
)


def test_a_key_names_the_version_and_is_the_same_each_time() -> None:
    assert re.fullmatch(r"3\.6\.7-[0-9a-f]{12}", RECIPE.key("x86_64"))
    assert RECIPE.key("x86_64") == dataclasses.replace(RECIPE).key("x86_64")


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(RECIPE, version="3.6.8"),
        dataclasses.replace(RECIPE, packages=("example.org/other",)),
        dataclasses.replace(RECIPE, variables={"main.version": "1"}),
        dataclasses.replace(RECIPE, sources={"go.mod": b"module y\n"}),
        dataclasses.replace(RECIPE, sources={"go.mod": b"module x\n", "go.sum": b""}),
        dataclasses.replace(RECIPE, sources={"go.sum": b"module x\n"}),
    ],
    ids=["version", "packages", "variables", "content", "file added", "file renamed"],
)
def test_whatever_changes_in_a_recipe_changes_its_key(other: Recipe) -> None:
    assert other.key("x86_64") != RECIPE.key("x86_64")


def test_a_build_serves_one_processor_architecture() -> None:
    assert RECIPE.key("x86_64") != RECIPE.key("aarch64")


def test_every_pinned_component_is_complete() -> None:
    versions = load()
    for recipe in versions.components.values():
        match recipe.build:
            case "module":
                assert recipe.packages
                assert "go.mod" in recipe.sources
            case "install":
                assert recipe.package
                assert bool(recipe.files) == bool(recipe.module)
            case "wheel":
                assert recipe.binary
                assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in recipe.sha256)


def test_the_cluster_does_not_wait_for_what_only_some_tests_need(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    monkeypatch.setattr(build, "ensure", lambda recipe, _: built.append(recipe.name))
    monkeypatch.setattr(build, "_link_tools", lambda _: None)
    monkeypatch.setattr(archive, "images", lambda _: [])
    build.build_all(load(), optional=False)
    assert "kubernetes" in built
    assert "argocd" not in built
    build.build_all(load())
    assert "argocd" in built


@pytest.mark.parametrize("name", ["kubernetes", "etcd", "argocd"])
def test_a_modules_own_go_mod_requires_the_pinned_version_and_its_sums_are_checked_in(name: str) -> None:
    recipe = load().components[name]
    module = recipe.module or recipe.packages[0].split("/cmd/")[0]
    assert f"{module} v{recipe.version}" in (MODULES / recipe.directory / "go.mod").read_text()
    assert f"{module} v{recipe.version} h1:" in (MODULES / recipe.directory / "go.sum").read_text()


def test_a_recipes_variables_are_set_by_the_linker() -> None:
    flags = build.link_flags(dataclasses.replace(RECIPE, variables={"example.org/version.gitVersion": "v1.34.4"}))
    assert flags == ["-s", "-w", "-X example.org/version.gitVersion=v1.34.4"]
    assert build.link_flags(RECIPE) == ["-s", "-w"]


@pytest.mark.parametrize(
    ("component", "variable"),
    [
        ("kubernetes", "k8s.io/component-base/version.gitVersion"),
        ("kubernetes", "k8s.io/client-go/pkg/version.gitVersion"),
        ("helm", "helm.sh/helm/v3/internal/version.version"),
    ],
)
def test_a_program_says_the_version_that_it_is(component: str, variable: str) -> None:
    recipe = load().components[component]
    assert recipe.variables[variable] == f"v{recipe.version}"


@pytest.mark.parametrize(
    ("output", "enough"),
    [
        ("go version go1.26.8 linux/amd64\n", True),
        ("go version go1.26.0 linux/amd64\n", True),
        ("go version go1.30 linux/arm64\n", True),
        ("go version go1.25.9 linux/amd64\n", False),
        ("go version go1.9 linux/amd64\n", False),
        ("go version go1.26.0rc1 linux/amd64\n", False),
        ("go version go1.27rc2 linux/amd64\n", True),
        ("", False),
    ],
)
def test_a_toolchain_is_used_from_its_minimum_on(output: str, enough: bool) -> None:
    assert toolchain.new_enough(output, (1, 26, 0)) is enough
