"""Random filters, orders and pages of searches, right and wrong ones."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence
from typing import Any

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

ANY_PROMPT = ("true", "false", "True", "no")

_BAD_FILTERS = (
    "name",
    "name = churn",
    "name == 'churn'",
    "nope = 'x'",
    "name < 'churn'",
    "tags.team > 'a'",
    "name = 'a' OR name = 'b'",
    "tags.team IN ('a')",
    "metrics.m = 1",
    "name IN ()",
    "name IN (1)",
    "name = 'a'; name = 'b'",
    "version_number = 'x'",
    "version_number LIKE '1'",
    "version_number = 1.5",
    "run_id < 'a'",
    "source_path IN ('a')",
    "version_number IN ('1')",
    "name = 1",
    "current_stage = 'None'",
    "tags.team = risk",
    "attribute.name = 'churn' AND",
)
_BAD_ORDERS = (
    ["nope"],
    ["name ASC DESC"],
    ["name", "name DESC"],
    ["version"],
    ["tags.team"],
    ["run_id"],
    [""],
    ["creation_timestamp UP"],
)
_BAD_TOKENS = ("nonsense", base64.b64encode(b"{}").decode(), base64.b64encode(b'{"offset": "x"}').decode())


def model_filter(rng: random.Random, names: Sequence[str], keys: Sequence[str], values: Sequence[str]) -> str | None:
    """A filter for registered models."""
    clauses = (lambda: _name(rng, names), lambda: _tag(rng, keys, values), lambda: _prompt(rng))
    return _filter(rng, clauses, (5, 4, 1))


def version_filter(rng: random.Random, names: Sequence[str], keys: Sequence[str], values: Sequence[str]) -> str | None:
    """A filter for model versions."""
    clauses = (
        lambda: _name(rng, names),
        lambda: _tag(rng, keys, values),
        lambda: _prompt(rng),
        lambda: _number(rng),
        lambda: _run(rng),
        lambda: _source(rng),
    )
    return _filter(rng, clauses, (6, 4, 1, 2, 2, 2))


def model_order(rng: random.Random) -> list[str] | None:
    """An order of registered models."""
    return _order(rng, ("name", "timestamp", "last_updated_timestamp", "creation_timestamp"))


def version_order(rng: random.Random) -> list[str] | None:
    """An order of model versions."""
    return _order(rng, ("name", "version_number", "creation_timestamp", "last_updated_timestamp"))


def page(rng: random.Random) -> dict[str, Any]:
    """The size of a page, and where to begin; None goes through all pages."""
    chosen: dict[str, Any] = {"page_token": None}
    if rng.random() < 0.8:
        chosen["max_results"] = rng.choice((2, 3, 5, 100, 100, 1000))
    if rng.random() < 0.05:
        chosen["max_results"] = rng.choice((1001, 200_001, 0))
        chosen["page_token"] = ""
    if rng.random() < 0.05:
        chosen["page_token"] = rng.choice(_BAD_TOKENS)
    return chosen


def _filter(rng: random.Random, clauses: Sequence[Callable[[], str]], weights: Sequence[int]) -> str | None:
    roll = rng.random()
    if roll < 0.2:
        return rng.choice((None, ""))
    if roll < 0.28:
        return rng.choice(_BAD_FILTERS)
    count = rng.choice((1, 1, 1, 2, 2, 3))
    return rng.choice((" AND ", " and ")).join(clause() for clause in rng.choices(clauses, weights, k=count))


def _order(rng: random.Random, keys: Sequence[str]) -> list[str] | None:
    roll = rng.random()
    if roll < 0.4:
        return rng.choice((None, []))
    if roll < 0.47:
        return rng.choice(_BAD_ORDERS)
    chosen = rng.sample(keys, rng.randint(1, 2))
    return [f"{key}{rng.choice(('', ' ASC', ' DESC', ' desc'))}" for key in chosen]


def _name(rng: random.Random, names: Sequence[str]) -> str:
    attribute = rng.choice(("name", "name", "attribute.name"))
    name = rng.choice(names)
    roll = rng.random()
    if roll < 0.5:
        return f"{attribute} {rng.choice(('=', '!='))} {_quoted(name)}"
    if roll < 0.75:
        pattern = rng.choice(("churn%", "%hurn", "%C%", "CHURN", "%r_%", "_hurn", "%", "100%", "%e"))
        return f"{attribute} {rng.choice(('LIKE', 'ILIKE', 'like'))} '{pattern}'"
    plain = ", ".join(f"'{each}'" for each in rng.sample(("churn", "Churn", "a.b_c", "nothing"), rng.randint(1, 3)))
    return f"name {rng.choice(('IN', 'NOT IN'))} ({plain})"


def _tag(rng: random.Random, keys: Sequence[str], values: Sequence[str]) -> str:
    key = rng.choice(keys)
    key = key if key.isalpha() else rng.choice((f"`{key}`", f'"{key}"'))
    comparator = rng.choice(("=", "!=", "LIKE", "ILIKE"))
    value = rng.choice(("r%", "%", "R%", "%isk", "_")) if "LIKE" in comparator else rng.choice(values)
    return f"{rng.choice(('tag', 'tags'))}.{key} {comparator} {_quoted(value)}"


def _prompt(rng: random.Random) -> str:
    comparator = rng.choice(("=", "!=", "LIKE"))
    return f"tags.`{IS_PROMPT_TAG_KEY}` {comparator} '{rng.choice(ANY_PROMPT)}'"


def _number(rng: random.Random) -> str:
    comparator = rng.choice(("=", "!=", "<", "<=", ">", ">="))
    return f"version_number {comparator} {rng.choice(('1', '2', '3', chr(39) + '2' + chr(39)))}"


def _run(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.6:
        return f"run_id {rng.choice(('=', '!='))} '{rng.choice(('$RUN', 'a-run', ''))}'"
    if roll < 0.8:
        return f"run_id {rng.choice(('IN', 'NOT IN'))} ('$RUN', 'a-run')"
    return "run_id LIKE '%run'"


def _source(rng: random.Random) -> str:
    comparator = rng.choice(("=", "!=", "LIKE", "ILIKE"))
    return f"source_path {comparator} '{rng.choice(('$STORE/one', '%/one', 'models:%', 'MODELS:%', '%-source'))}'"


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
