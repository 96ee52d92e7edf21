"""Compares the CustomResourceDefinitions with those of the last release: what was accepted then must be accepted now.

`python -m modelyard.api.compatibility RELEASED CURRENT` compares two directories and exits 1 where objects that users
have in Git, or clients that read a field, would break. A kind that RELEASED does not have is new.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Schema = Mapping[str, Any]

_UPPER_BOUNDS = ("maximum", "maxLength", "maxItems", "maxProperties")
_LOWER_BOUNDS = ("minimum", "minLength", "minItems", "minProperties")
_FIXED = ("type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys")
"""What must stay as it was, and not come where it was not: a default that changes means another spec."""

_NAMES = ("kind", "plural", "singular", "shortNames")


def breaks(released: Schema, current: Schema) -> list[str]:
    """Return what the current definition of a kind breaks of the released one, a line each, path first."""
    found = [
        f"spec.{path}: was {old!r}, is {new!r}"
        for path, old, new in _identity(released["spec"], current["spec"])
        if old != new
    ]
    served = {version["name"]: version for version in current["spec"]["versions"] if version["served"]}
    for version in released["spec"]["versions"]:
        name = version["name"]
        if not version["served"]:
            continue
        if name not in served:
            found.append(f"{name}: is served no more")
            continue
        gone = version.get("subresources", {}).keys() - served[name].get("subresources", {}).keys()
        found += [f"{name}: has no subresource {each} any more" for each in sorted(gone)]
        found += schema_breaks(_schema(version), _schema(served[name]), name)
    return found


def schema_breaks(released: Schema, current: Schema, path: str = "") -> list[str]:
    """Return what the current schema of a field breaks of the released one, and of all fields in it."""
    return [
        *(f"{path}: {each}" for each in _narrowed(released, current)),
        *(line for key, old, new in _children(released, current) for line in _child_breaks(f"{path}{key}", old, new)),
    ]


def _identity(released: Schema, current: Schema) -> Iterator[tuple[str, Any, Any]]:
    for key in ("group", "scope"):
        yield key, released[key], current[key]
    for key in _NAMES:
        yield f"names.{key}", released["names"].get(key), current["names"].get(key)


def _schema(version: Schema) -> Schema:
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def _children(released: Schema, current: Schema) -> Iterator[tuple[str, Schema, Schema | None]]:
    """Give the released fields inside a field with their current schema, None where they are gone."""
    for name, old in released.get("properties", {}).items():
        yield f".{name}", old, current.get("properties", {}).get(name)
    for key, shown in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(released.get(key), Mapping):
            new = current.get(key)
            yield shown, released[key], new if isinstance(new, Mapping) else None


def _child_breaks(path: str, released: Schema, current: Schema | None) -> list[str]:
    return [f"{path}: was removed"] if current is None else schema_breaks(released, current, path)


def _narrowed(released: Schema, current: Schema) -> Iterator[str]:
    """Give what one field takes no more."""
    for key in _tightened(released, current):
        yield f"{key} was {released.get(key)!r}, is {current.get(key)!r}"
    for name in current.get("required", ()):
        if name not in released.get("required", ()):
            yield f"{name} is required now"
    if "enum" in current:
        if "enum" not in released:
            yield f"takes only {current['enum']!r} now"
        elif gone := [value for value in released["enum"] if value not in current["enum"]]:
            yield f"takes {gone!r} no more"
    rules = {each["rule"] for each in released.get("x-kubernetes-validations", ())}
    for each in current.get("x-kubernetes-validations", ()):
        if each["rule"] not in rules:
            yield f"has a new rule: {each['message']}"


def _tightened(released: Schema, current: Schema) -> Iterator[str]:
    """Give the keywords with a single value that take less than they did."""
    yield from (key for key in _FIXED if released.get(key) != current.get(key))
    if current.get("pattern") not in (None, released.get("pattern")):
        yield "pattern"
    yield from (key for key in _UPPER_BOUNDS if key in current and current[key] < released.get(key, math.inf))
    yield from (key for key in _LOWER_BOUNDS if key in current and current[key] > released.get(key, -math.inf))


def compare(released: Path, current: Path) -> list[str]:
    """Return what the definitions in a directory break of those in another."""
    found = []
    for path in sorted(released.glob("*.yaml")):
        old = yaml.safe_load(path.read_text())
        if not (current / path.name).exists():
            found.append(f"{old['spec']['names']['kind']} was removed")
            continue
        new = yaml.safe_load((current / path.name).read_text())
        found += [f"{old['spec']['names']['kind']} {line}" for line in breaks(old, new)]
    return found


def main(argv: list[str]) -> int:
    """Compare and say what breaks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.api.compatibility", description=__doc__)
    parser.add_argument("released", type=Path)
    parser.add_argument("current", type=Path)
    arguments = parser.parse_args(argv)
    found = compare(arguments.released, arguments.current)
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print(f"{len(found)} changes break what was released: {arguments.released}/README.md", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
