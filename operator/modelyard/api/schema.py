"""Turns a pydantic model into a structural OpenAPI v3 schema, as a CustomResourceDefinition takes it.

Structural schemas: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

_DROPPED = ("title", "discriminator", "const", "examples", "additionalProperties")
_PLACEHOLDER_DEFAULTS: tuple[Any, ...] = (None, [], {}, "")


def structural_schema(model: type[BaseModel], *, defaults: bool) -> dict[str, Any]:
    """Return the structural schema of `model`, references inlined, `null` alternatives removed.

    With `defaults`, a field's default becomes the schema's default, so that the API server fills it in and the operator
    need not write it; empty defaults (None, "", [], {}) are left out, since they say nothing.
    Raises `ValueError` for a construct that no structural schema can hold (a union of types).
    """
    document = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(document, document.get("$defs", {}), defaults)


def _convert(node: dict[str, Any], definitions: dict[str, Any], defaults: bool) -> dict[str, Any]:
    node = _resolve(node, definitions)
    converted = {key: value for key, value in node.items() if key not in ("$defs", *_DROPPED)}
    if not defaults or converted.get("default") in _PLACEHOLDER_DEFAULTS:
        converted.pop("default", None)
    if "properties" in node:
        converted["properties"] = {
            name: _convert(child, definitions, defaults) for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        converted["additionalProperties"] = _convert(node["additionalProperties"], definitions, defaults)
    if "items" in node:
        converted["items"] = _convert(node["items"], definitions, defaults)
    if "description" in converted:
        converted["description"] = " ".join(converted["description"].split())
    return converted


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Inline a reference and unwrap `X | None`; what stands beside either wins over what it points to."""
    beside = dict(node)
    if "$ref" in beside:
        target = definitions[beside.pop("$ref").rsplit("/", 1)[-1]]
        return _resolve({**target, **beside}, definitions)
    if "anyOf" in beside:
        alternatives = [part for part in beside.pop("anyOf") if part.get("type") != "null"]
        if len(alternatives) != 1:
            raise ValueError(f"no structural schema holds a union: {alternatives}")
        return _resolve({**alternatives[0], **beside}, definitions)
    return beside
