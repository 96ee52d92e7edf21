"""Generates the reference of every field, condition and reason from the types of the API.

`python -m modelyard.api.reference FILE` writes it; with `--check` it compares, and exits 1 where the file is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modelyard.api import KINDS
from modelyard.api.crd import custom_resource_definition
from modelyard.api.names import API_VERSION
from modelyard.api.reasons import EXPLANATIONS

_CONDITIONS = """\
| type | on | meaning |
|---|---|---|
| `Ready` | RegisteredModel, ModelDeployment | What the spec asks for is the case, whole. |
| `Serving` | ModelDeployment | Requests are answered, by whichever version. |
| `Succeeded` | Experiment | The trials have ended, well (`True`) or not (`False`); `Unknown` until then. |
| `Reconciling` | all | There while work goes on; `True` only. |
| `Stalled` | all | There when nothing goes on before a person acts; `True` only. |
"""


def document() -> str:
    """Return the reference, as Markdown."""
    parts = [
        "# Reference",
        "",
        "Generated from `operator/modelyard/api` by `make crds`. Do not edit.",
        "",
        f"All kinds are namespaced, in `{API_VERSION}`. `spec` belongs to its users, `status` to the operator.",
        "",
    ]
    for kind in KINDS:
        names = ", ".join(f"`{name}`" for name in (kind.plural, *kind.short_names))
        parts += [
            f"## {kind.kind_name}",
            "",
            " ".join((kind.__doc__ or "").split()),
            "",
            f"kubectl names: {names}.",
            "",
        ]
        version = custom_resource_definition(kind)["spec"]["versions"][0]
        properties = version["schema"]["openAPIV3Schema"]["properties"]
        for part in [part for part in ("spec", "status") if part in properties]:
            parts += ["| field | type | meaning |", "|---|---|---|", *_rows(part, properties[part]), ""]
    parts += ["## Conditions", "", _CONDITIONS, "## Reasons", "", "| reason | meaning | what to do |", "|---|---|---|"]
    parts += [f"| `{reason}` | {each.meaning} | {each.remedy} |" for reason, each in EXPLANATIONS.items()]
    return "\n".join(parts) + "\n"


def _rows(path: str, node: dict[str, Any]) -> Iterator[str]:
    required = node.get("required", [])
    for name, child in node.get("properties", {}).items():
        inner = f"{path}.{name}"
        yield f"| `{inner}`{' **required**' if name in required else ''} | {_type(child)} | {_meaning(child)} |"
        yield from _rows(inner, child)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(node.get(key), dict):
            yield from _rows(path + suffix, node[key])


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if node["type"] == "object" and "additionalProperties" in node:
        return f"map of {_type(node['additionalProperties'])}"
    return str(node["type"])


def _meaning(node: dict[str, Any]) -> str:
    said = [node["description"]] if node.get("description") else []
    if "default" in node:
        said.append(f"Default: `{node['default']}`.")
    said += [f"Rule: {message}." for message in _rules(node)]
    return " ".join(said).replace("|", "\\|")


def _rules(node: dict[str, Any]) -> Iterator[str]:
    """Yield the rules of a field and, where it is a list or a map, of what it holds: that has no row of its own."""
    yield from (rule["message"] for rule in node.get("x-kubernetes-validations", []))
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _rules(node[key])


def main(argv: list[str]) -> int:
    """Write or check the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.api.reference", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is not current")
    arguments = parser.parse_args(argv)
    if arguments.file.exists() and arguments.file.read_text() == document():
        return 0
    if arguments.check:
        print(f"{arguments.file} is not current: run `make crds` and commit the result", file=sys.stderr)
        return 1
    arguments.file.write_text(document())
    print(f"wrote {arguments.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
