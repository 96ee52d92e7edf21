"""What an object can hold of what MLflow takes: longer values are refused before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from modelyard.api.registeredmodel import DESCRIPTION_LIMIT, TAG_LIMIT, TAG_VALUE_LIMIT, RegisteredModel
from modelyard.registry.objects import RegistryError
from modelyard.registry.registry import Candidate

NAME_LIMIT = 256
ALIAS_LIMIT = 32
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,63}")
_OF_VERSION = {"source": 2048, "artifact": 2048, "run_link": 2048, "run_id": 64, "model_id": 64}


class LimitExceeded(RegistryError):
    """A value is longer than an object holds; the message says which, and how much there may be."""


def check_name(name: str) -> None:
    """Check the name of a new model. Raises `LimitExceeded`."""
    _check_length("a model's name", name, NAME_LIMIT)


def check_description(description: str | None) -> None:
    """Check a model's description. Raises `LimitExceeded`."""
    _check_length("a model's description", description, DESCRIPTION_LIMIT)


def check_tags(added: Mapping[str, str], present: Mapping[str, str]) -> None:
    """Check tags that are added to those of a model. Raises `LimitExceeded`."""
    for key, value in added.items():
        _check_length(f"the tag {key!r} of a model", value, TAG_VALUE_LIMIT)
    if len(added.keys() | present.keys()) > TAG_LIMIT:
        raise LimitExceeded(f"a model takes at most {TAG_LIMIT} tags")


def check_alias(alias: str, model: RegisteredModel) -> None:
    """Check an alias that is added to those of a model. Raises `LimitExceeded`."""
    if not _ALIAS.fullmatch(alias):
        raise LimitExceeded(f"an alias is 1 to 63 ASCII letters, digits, hyphens and underscores, not {alias!r}")
    if len(model.aliases.keys() | {alias}) > ALIAS_LIMIT:
        raise LimitExceeded(f"a model takes at most {ALIAS_LIMIT} aliases")


def check_candidate(candidate: Candidate) -> None:
    """Check what is to become a version. Raises `LimitExceeded`."""
    for field, limit in _OF_VERSION.items():
        _check_length(f"a version's {field}", getattr(candidate, field), limit)


def _check_length(what: str, value: str | None, limit: int) -> None:
    if value is not None and len(value) > limit:
        raise LimitExceeded(f"{what} takes at most {limit} characters, not {len(value)}")
