"""Every reason is documented."""

from __future__ import annotations

import re

from modelyard.api.reasons import EXPLANATIONS, Reason


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)


def test_every_reason_is_camel_case() -> None:
    assert [reason for reason in Reason if not re.fullmatch(r"([A-Z][a-z]+)+", reason)] == []


def test_an_explanation_is_made_of_sentences() -> None:
    for explanation in EXPLANATIONS.values():
        assert explanation.meaning.endswith(".")
        assert explanation.remedy.endswith(".")
