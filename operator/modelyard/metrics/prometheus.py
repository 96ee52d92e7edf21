"""Asks Prometheus servers for one number: GET /api/v1/query.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelyard.api.rollout import PrometheusCheck
from modelyard.decide.analysis import QueryResult
from modelyard.metrics.client import Answer, Ask, NoAnswer

_ERROR_LIMIT = 120


def question(check: PrometheusCheck, versions: Mapping[str, str]) -> Ask:
    """Return the request for a check; `{candidate}` and `{stable}` of its query become the versions' numbers."""
    query = check.query
    for name, version in versions.items():
        # Not str.format: PromQL has braces of its own.
        query = query.replace(f"{{{name}}}", version)
    return Ask(f"{check.url.rstrip('/')}/api/v1/query", query={"query": query})


def result_of(answer: Answer | NoAnswer) -> QueryResult:
    """Return what the server said. A fault of any kind is a result with a problem."""
    if isinstance(answer, NoAnswer):
        return QueryResult(problem=f"the server gave {answer}")
    try:
        document = json.loads(answer.body)
        if isinstance(document, dict) and document.get("status") == "error":
            # Prometheus' own words: a query with a mistake is to be told from a server that is ill.
            return QueryResult(problem=f"the server says: {str(document.get('error'))[:_ERROR_LIMIT]}")
        if answer.status != 200:
            return QueryResult(problem=f"the server answered {answer.status}")
        return _number(document["data"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return QueryResult(problem=f"the server's answer ({answer.status}) is not one of Prometheus' API")


def _number(data: dict[str, Any]) -> QueryResult:
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return QueryResult(float(result[1]))
    if kind != "vector":
        return QueryResult(problem=f"the query gives a {str(kind)[:20]}, not one number")
    if len(result) > 1:
        return QueryResult(problem=f"the query gives {len(result)} numbers, not one")
    return QueryResult(float(result[0]["value"][1])) if result else QueryResult()
