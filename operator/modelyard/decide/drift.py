"""Whether an object in the cluster is as it should be, so that nothing is written where nothing is to do."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

from modelyard.api.names import APPLIED_HASH_ANNOTATION

Json = dict[str, Any]

_SUFFIXES = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]*)")
_QUANTITY_MAPS = ("requests", "limits")
_QUANTITIES = ("sizeLimit", "divisor")


def stamped(manifest: Json) -> Json:
    """Return the manifest with the hash of itself in its annotations.

    The number of pods is not in it: it is always there, and where an autoscaler has it, it is what is live.
    """
    hashed = manifest
    if "replicas" in manifest.get("spec", {}):
        hashed = {**manifest, "spec": {**manifest["spec"], "replicas": None}}
    text = json.dumps(hashed, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH_ANNOTATION: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def is_current(manifest: Json, live: Json) -> bool:
    """Whether everything that the stamped `manifest` says is so in `live`.

    What others have added to `live` is theirs. A field that an earlier manifest had and this one has not is found by
    the hash, which then differs.
    """
    return _contains(live, manifest)


def _contains(live: Any, wanted: Any, *, quantity: bool = False) -> bool:
    if wanted in ({}, []):
        # An empty map asks for nothing; an empty list asks for no items, and the API server may leave it out.
        return wanted == {} or not live
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            _contains(live.get(key), value, quantity=quantity or key in _QUANTITY_MAPS or key in _QUANTITIES)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(_contains(have, want) for have, want in zip(live, wanted, strict=True))
        )
    if live is None:
        # The API server leaves out most fields that are empty.
        return bool(wanted == "")
    if quantity and isinstance(wanted, str):
        return _same_quantity(str(live), wanted)
    return bool(live == wanted)


def _same_quantity(live: str, wanted: str) -> bool:
    try:
        return parse_quantity(live) == parse_quantity(wanted)
    except ValueError:
        return live == wanted


def parse_quantity(text: str) -> Decimal:
    """Return a Kubernetes quantity as a number. Raises `ValueError`.

    Format: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity")
    return Decimal(match[1]) * _SUFFIXES[match[2]]
