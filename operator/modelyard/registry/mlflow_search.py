"""MLflow's searches over the models of a namespace, with the filters and orders of its database store.

The parsers are MLflow's. What its database works out is worked out here: `LIKE` is `LIKE` of SQL, clauses on one tag
hold for the same tag, and prompts are left out unless the filter asks for them.
See `mlflow.store.model_registry.sqlalchemy_store` of MLflow 3.17.2.
"""

# mypy: allow-untyped-calls, allow-any-generics

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import (
    SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD,
    SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD,
)
from mlflow.utils.search_utils import SearchModelUtils, SearchModelVersionUtils, SearchUtils

from modelyard.api.registeredmodel import RegisteredModel
from modelyard.records.state import ModelState, VersionState
from modelyard.registry.mlflow_entities import model_version, registered_model, updated_at

Found = tuple[RegisteredModel, ModelState]
Clause = Mapping[str, Any]
Key = Callable[[Any], Any]

_NEWEST_FIRST = ["last_updated_timestamp DESC", "name ASC", "version_number DESC"]
_TAG_COMPARATORS = ("=", "!=", "LIKE", "ILIKE")
_LISTABLE = ("run_id", "name")


def search_models(
    models: Iterable[Found],
    filter_string: str | None,
    max_results: int,
    order_by: list[str] | None,
    page_token: str | None,
) -> PagedList:
    """Return a page of models."""
    _check_at_most(max_results, SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD)
    clauses = SearchModelUtils.parse_search_filter(filter_string)
    order = _order(order_by or [], _model_order, (("name", True),))
    start = SearchUtils.parse_start_offset_from_page_token(page_token)
    matches = _matcher(clauses, _check_model_clause)
    of_prompts = _asks_for_prompts(clauses)
    found = [
        (model, state)
        for model, state in models
        if matches({"name": model.model_name}, model.tags) and (of_prompts or not _is_prompt(model.tags))
    ]
    _sort(found, order, _MODEL_KEYS)
    return _page(found, start, max_results, lambda each: registered_model(*each))


def search_versions(
    models: Iterable[Found],
    filter_string: str | None,
    max_results: int,
    order_by: list[str] | None,
    page_token: str | None,
) -> PagedList:
    """Return a page of the models' versions; the newest first if no order is given."""
    if not isinstance(max_results, int) or max_results < 1:
        raise _invalid(f"Invalid value for max_results. It must be a positive integer, but got {max_results}")
    _check_at_most(max_results, SEARCH_MODEL_VERSION_MAX_RESULTS_THRESHOLD)
    clauses = SearchModelVersionUtils.parse_search_filter(filter_string)
    matches = _matcher(clauses, _check_version_clause)
    order = _order(order_by or _NEWEST_FIRST, _version_order, (("name", True), ("version_number", False)))
    start = SearchUtils.parse_start_offset_from_page_token(page_token)
    of_prompts = _asks_for_prompts(clauses)
    found = [
        (model, version)
        for model, state in models
        # One version that is a prompt's makes all of the model's versions a prompt's.
        if of_prompts or not any(_is_prompt(version.tags) for version in state.versions.values())
        for version in state.shown
        if matches(_attributes(model, version), version.tags)
    ]
    _sort(found, order, _VERSION_KEYS)
    return _page(found, start, max_results, lambda each: model_version(*each, with_aliases=False))


def searched_name(filter_string: str | None) -> str | None:
    """Return the one model name that the filter of a search for versions asks for, if it does."""
    clauses = SearchModelVersionUtils.parse_search_filter(filter_string)
    names = [
        clause["value"]
        for clause in clauses
        if (clause["type"], clause["key"], clause["comparator"]) == ("attribute", "name", "=")
    ]
    return str(names[0]) if len(names) == 1 else None


def _attributes(model: RegisteredModel, version: VersionState) -> dict[str, Any]:
    return {
        "name": model.model_name,
        "version_number": version.version,
        "run_id": version.run_id,
        "source_path": version.source,
    }


# Filters


def _matcher(
    clauses: Sequence[Clause], check: Callable[[Clause], Clause]
) -> Callable[[Mapping[str, Any], Mapping[str, str]], bool]:
    """Return what tells whether attributes and tags meet all clauses; `check` raises where one cannot be asked."""
    checked = [check(clause) for clause in clauses]
    if not _asks_for_prompts(clauses):
        checked = [clause for clause in checked if not _is_about_prompts(clause)]

    def matches(attributes: Mapping[str, Any], tags: Mapping[str, str]) -> bool:
        return all(
            _holds((tags if clause["type"] == "tag" else attributes).get(clause["key"]), clause) for clause in checked
        )

    return matches


def _holds(value: Any, clause: Clause) -> bool:
    # What is not there meets no clause, as NULL in SQL.
    return value is not None and _COMPARISONS[clause["comparator"]](value, clause["value"])


def _check_model_clause(clause: Clause) -> Clause:
    if clause["type"] == "tag":
        return _check_tag_clause(clause)
    if clause["key"] != "name":
        raise _invalid(f"Invalid attribute name: {clause['key']}")
    if clause["comparator"] not in ("=", "!=", "LIKE", "ILIKE", "IN", "NOT IN"):
        raise _invalid(f"Invalid comparator for attribute: {clause['comparator']}")
    return clause


def _check_version_clause(clause: Clause) -> Clause:
    key, comparator, value = clause["key"], clause["comparator"], clause["value"]
    if clause["type"] == "tag":
        return _check_tag_clause(clause)
    if key not in SearchModelVersionUtils.VALID_SEARCH_ATTRIBUTE_KEYS:
        raise _invalid(f"Invalid attribute name: {key}")
    if key in SearchModelVersionUtils.NUMERIC_ATTRIBUTES:
        if comparator not in SearchModelVersionUtils.VALID_NUMERIC_ATTRIBUTE_COMPARATORS:
            raise _invalid(f"Invalid comparator for attribute {key}: {comparator}")
        try:
            if isinstance(value, float):
                raise ValueError(value)
            return {**clause, "value": int(value)}
        except (TypeError, ValueError) as error:
            raise _invalid(f"Invalid value for numeric attribute '{key}': {value!r}") from error
    listed = comparator in ("IN", "NOT IN")
    if comparator not in SearchModelVersionUtils.VALID_STRING_ATTRIBUTE_COMPARATORS or (
        listed and key not in _LISTABLE
    ):
        raise _invalid(f"Invalid comparator for attribute: {comparator}")
    return clause


def _check_tag_clause(clause: Clause) -> Clause:
    if clause["comparator"] not in _TAG_COMPARATORS:
        raise _invalid(f"Invalid comparator for tag: {clause['comparator']}")
    return clause


def _is_about_prompts(clause: Clause) -> bool:
    return bool(clause["type"] == "tag" and clause["key"] == IS_PROMPT_TAG_KEY)


def _asks_for_prompts(clauses: Iterable[Clause]) -> bool:
    """Whether the first clause on MLflow's own tag of prompts asks for them."""
    clause = next((clause for clause in clauses if _is_about_prompts(clause)), None)
    return clause is not None and (clause["comparator"], clause["value"].lower()) in (("=", "true"), ("!=", "false"))


def _is_prompt(tags: Mapping[str, str]) -> bool:
    return tags.get(IS_PROMPT_TAG_KEY) == "true"


@functools.lru_cache(maxsize=256)
def _pattern(like: str, flags: int) -> re.Pattern[str]:
    wildcards = {"%": ".*", "_": "."}
    return re.compile("".join(wildcards.get(each) or re.escape(each) for each in like), flags | re.DOTALL)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    **{each: SearchUtils.get_comparison_func(each) for each in ("=", "!=", "<", "<=", ">", ">=", "IN", "NOT IN")},
    "LIKE": lambda value, like: _pattern(like, 0).fullmatch(value) is not None,
    "ILIKE": lambda value, like: _pattern(like, re.IGNORECASE).fullmatch(value) is not None,
}


# Orders

_MODEL_KEYS: Mapping[str, Key] = {
    "name": lambda found: found[0].model_name,
    "last_updated_timestamp": lambda found: updated_at(*found),
}
_VERSION_KEYS: Mapping[str, Key] = {
    "name": lambda found: found[0].model_name,
    "version_number": lambda found: found[1].version,
    "creation_timestamp": lambda found: found[1].created_at,
    "last_updated_timestamp": lambda found: found[1].updated_at or found[1].created_at,
}


def _model_order(clause: str) -> tuple[str, bool]:
    key, ascending = SearchUtils.parse_order_by_for_search_registered_models(clause)
    # `timestamp` is MLflow's other word for it.
    return ("last_updated_timestamp" if key in SearchUtils.VALID_TIMESTAMP_ORDER_BY_KEYS else key), ascending


def _version_order(clause: str) -> tuple[str, bool]:
    _, key, ascending = SearchModelVersionUtils.parse_order_by_for_search_model_versions(clause)
    if key not in _VERSION_KEYS:
        raise _invalid(f"Invalid order by key '{key}' specified. Valid keys are {sorted(_VERSION_KEYS)}")
    return key, ascending


def _order(
    order_by: list[str], parse: Callable[[str], tuple[str, bool]], natural: Iterable[tuple[str, bool]]
) -> list[tuple[str, bool]]:
    """Return (key, ascending) pairs: those of `order_by`, then those of the natural order that it does not name."""
    order = [parse(clause) for clause in order_by]
    keys = [key for key, _ in order]
    if len(set(keys)) < len(keys):
        raise _invalid(f"`order_by` contains duplicate fields: {order_by}")
    return order + [(key, ascending) for key, ascending in natural if key not in keys]


def _sort(found: list[Any], order: Sequence[tuple[str, bool]], keys: Mapping[str, Key]) -> None:
    for key, ascending in reversed(order):
        found.sort(key=keys[key], reverse=not ascending)


# Pages


def _page(found: Sequence[Any], start: int, max_results: int, show: Callable[[Any], Any]) -> PagedList:
    end = start + max(max_results, 0)
    shown = [show(each) for each in found[start:end]]
    return PagedList(shown, SearchUtils.create_page_token(end) if end < len(found) else None)


def _check_at_most(max_results: int, limit: int) -> None:
    if max_results > limit:
        raise _invalid(
            f"Invalid value for request parameter max_results. It must be at most {limit}, but got value {max_results}"
        )


def _invalid(message: str) -> MlflowException:
    return MlflowException(message, INVALID_PARAMETER_VALUE)
