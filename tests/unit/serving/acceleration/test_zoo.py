from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard_serving.protocol.encode import encode
from tests.unit.serving.acceleration.conftest import Tamed
from tests.unit.serving.acceleration.zoo import VERIFIED, ZOO

Get = Callable[[str], Tamed]
DOCUMENT = Path(__file__).parents[4] / "docs" / "acceleration.md"
SERVED = [name for name, animal in ZOO.items() if animal.outcome == VERIFIED]


@pytest.mark.parametrize("name", ZOO)
def test_each_kind_of_model_comes_to_its_outcome(name: str, tamed: Get) -> None:
    result = tamed(name).result

    assert result.outcome == ZOO[name].outcome, (result.message, result.evidence.get("counterexamples"))
    assert (result.content is not None) == (result.outcome == VERIFIED)
    assert result.message


@pytest.mark.parametrize("name", SERVED)
def test_a_fresh_sample_is_answered_with_the_same_json(name: str, tamed: Get) -> None:
    animal, model = ZOO[name], tamed(name)
    served = model.predictor()
    frame = animal.data.sample(80, random_state=5, replace=True, ignore_index=True)
    for column in frame.select_dtypes(float):
        frame[column] += np.random.default_rng(6).normal(0, 0.2, len(frame))
    table = model.original.table([frame[column].to_numpy() for column in frame])
    assert table is not None

    for method in served.methods:
        expected, found = _quiet(model.original.predictor.methods[method], frame), _quiet(served.methods[method], table)
        one, other = _numbers(encode(expected)), _numbers(encode(found))
        if animal.bits and method == "predict":
            assert encode(found) == encode(expected)
        assert _shape(found) == _shape(expected)
        assert one == pytest.approx(other, rel=1e-5, abs=1e-5) if one else encode(found) == encode(expected)


def _quiet(method: Any, data: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return method(data, None)


def _numbers(answer: bytes) -> list[float]:
    found: list[Any] = []
    pending = [json.loads(answer)["predictions"]]
    while pending:  # Lists of arrays of different lengths are no array.
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        else:
            found.append(value)
    return [] if any(isinstance(value, str) for value in found) else found


def _shape(answer: Any) -> list[tuple[Any, ...]]:
    return [(each.dtype, each.shape) for each in (answer if isinstance(answer, list) else [answer])]


@pytest.mark.parametrize("name", SERVED)
def test_trees_answer_to_the_last_bit(name: str, tamed: Get) -> None:
    evidence = tamed(name).result.evidence["methods"]["predict"]

    assert evidence["wrongRows"] == 0
    assert evidence["identicalBits"] or not ZOO[name].bits


def test_probabilities_come_with_the_label_where_the_original_has_them(tamed: Get) -> None:
    for name in SERVED:
        model = tamed(name)
        assert ("predict_proba" in model.predictor().methods) == ("predict_proba" in model.original.predictor.methods)


def test_batches_only_where_rows_cannot_touch_each_other(tamed: Get) -> None:
    assert tamed("forest, whole numbers").predictor().batchable
    assert tamed("one-hot and forest").predictor().batchable
    assert not tamed("logistic regression").predictor().batchable
    assert not tamed("network").predictor().batchable


def test_the_documentation_names_every_kind_with_its_outcome() -> None:
    rows = dict(re.findall(r"^\| ([^|]+?) \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE))

    assert {name: rows.get(name) for name in ZOO} == {name: animal.outcome for name, animal in ZOO.items()}
