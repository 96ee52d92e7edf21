"""Generates the CustomResourceDefinitions from the types of the API.

`python -m modelyard.api.crd DIRECTORY…` writes them; with `--check` it compares, and exits 1 where a file is stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from modelyard.api import KINDS
from modelyard.api.common import Resource
from modelyard.api.names import CATEGORY, GROUP, VERSION
from modelyard.api.schema import structural_schema

_HEADER = "# Generated from operator/modelyard/api by `make crds`. Do not edit.\n"


def custom_resource_definition(kind: type[Resource]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    fields = kind.model_fields
    spec = structural_schema(_annotation(fields["spec"].annotation), defaults=True)
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    subresources: dict[str, Any] = {}
    if "status" in fields:
        status = structural_schema(_annotation(fields["status"].annotation), defaults=False)
        status.pop("required", None)
        properties["status"], subresources["status"] = status, {}
    if kind.scale:
        subresources["scale"] = kind.scale
    schema: dict[str, Any] = {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "required": ["spec"],
        "properties": properties,
    }
    if object_rules := [*_name_rules(kind), *kind.object_rules]:
        schema["x-kubernetes-validations"] = object_rules
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind_name,
                "listKind": f"{kind.kind_name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": list(kind.printer_columns),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _name_rules(kind: type[Resource]) -> list[dict[str, str]]:
    """Labels carry the object's name, and so do the names of what is made from it."""
    if kind.name_limit is None:
        return []
    message = f"metadata.name takes at most {kind.name_limit} characters: its Jobs and Deployments are named after it"
    return [{"rule": f"size(self.metadata.name) <= {kind.name_limit}", "message": message}]


def _annotation(annotation: Any) -> type[Any]:
    assert isinstance(annotation, type)
    return annotation


def rendered() -> dict[str, str]:
    """Return the files: name → text."""
    return {
        f"{kind.plural}.yaml": _HEADER + yaml.safe_dump(custom_resource_definition(kind), sort_keys=False, width=120)
        for kind in KINDS
    }


def main(argv: list[str]) -> int:
    """Write or check the files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.api.crd", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="+")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit 1 if a file is not current",
    )
    arguments = parser.parse_args(argv)
    stale = 0
    for directory in arguments.directory:
        for name, text in rendered().items():
            path = directory / name
            if path.exists() and path.read_text() == text:
                continue
            stale += 1
            if arguments.check:
                print(
                    f"{path} is not current: run `make crds` and commit the result",
                    file=sys.stderr,
                )
            else:
                directory.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                print(f"wrote {path}")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
