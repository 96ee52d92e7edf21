"""Safe object names for any name that MLflow accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.names import is_dns_label, object_name

any_name = st.text(min_size=1, max_size=256)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("churn-prediction-model", "churn-prediction-model"),
        ("wine_classifier_rf", "wine-classifier-rf-0f0ab361"),
        ("Churn Model", "churn-model-a9427bf5"),
        ("模型", "model-6e2db94c"),
    ],
)
def test_examples(name: str, expected: str) -> None:
    assert object_name(name).rsplit("-", 1)[0] == expected.rsplit("-", 1)[0]


@given(any_name)
def test_every_name_becomes_a_label_that_leaves_room_for_suffixes(name: str) -> None:
    assert is_dns_label(object_name(name), limit=52)


@given(any_name)
def test_an_objects_name_is_its_own(name: str) -> None:
    assert object_name(object_name(name)) == object_name(name)


@given(any_name, any_name)
def test_two_names_never_share_an_object(one: str, other: str) -> None:
    """Save that a name may be the very object name of another, which nobody types by chance."""
    if one != other and object_name(one) == object_name(other):
        assert object_name(one) in (one, other)


@pytest.mark.parametrize("name", ["wine_rf", "wine-rf", "Wine_RF", "wine rf", "wine.rf"])
def test_lookalikes_are_kept_apart(name: str) -> None:
    others = {"wine_rf", "wine-rf", "Wine_RF", "wine rf", "wine.rf"} - {name}
    assert object_name(name) not in {object_name(other) for other in others}
