"""Requests that Schemathesis makes up from the description: whatever comes is answered as described, and never 500."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.serving.harness import our_app

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("model", ["labels_text", "forest"])
def test_whatever_is_sent_is_answered_as_described(
    saved_model: Callable[[str], Path], model: str, mode: GenerationMode
) -> None:
    described = schemathesis.openapi.from_asgi("/openapi.json", our_app(saved_model(model)))
    tried = 0
    results: Any = described.get_all_operations()
    for result in results:
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # There is nothing that could be wrong with it.

        @given(operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def answered(case: Any) -> None:
            response = case.call_and_validate(checks=CHECKS)
            late = response.status_code == 504 and "X-Request-Timeout" in case.headers
            assert response.status_code < 500 or late, response.text

        answered()
        tried += 1
    assert tried >= 4
