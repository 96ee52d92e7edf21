from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelyard_serving.acceleration.ensembles import _lightgbm_threshold
from modelyard_serving.acceleration.trees import Ensemble, Tree, float32_at_most
from modelyard_serving.flavors.onnx import open_session

LIMIT = 3.4028235677973362e38
NUMBERS = st.floats(-LIMIT, LIMIT) | st.floats(width=32, allow_nan=False, allow_infinity=False)


def _near(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = float(np.nextafter(value, np.inf if steps > 0 else -np.inf))
    return max(-LIMIT, min(LIMIT, value))


@settings(max_examples=500)
@given(NUMBERS, NUMBERS, st.integers(-3, 3), st.sampled_from(["any", "threshold", "rounded", "middle"]))
def test_a_threshold_for_float64_is_one_for_float32(value: float, threshold: float, steps: int, near: str) -> None:
    """scikit-learn's question, float32(x) <= t, is x <= float32_at_most(t)."""
    rounded = np.float32(threshold)
    beside = float(np.nextafter(rounded, np.float32(0)))
    close = {"any": value, "threshold": threshold, "rounded": float(rounded), "middle": (float(rounded) + beside) / 2}
    value = _near(close[near], steps)

    expected = float(np.float32(value)) <= threshold

    assert (value <= float32_at_most(np.array([threshold]))[0]) == expected


@given(st.sampled_from([1e-35, -1e-35, 0.0, 5e-36, -5e-36, 1.0, -2.0]), st.floats(-2e-35, 2e-35) | st.floats(-3, 3))
def test_lightgbm_takes_the_tiniest_for_zero(threshold: float, value: float) -> None:
    seen = 0.0 if abs(value) <= float(np.float32(1e-35)) else value

    assert (value <= _lightgbm_threshold(np.array([threshold]))[0]) == (seen <= threshold)


def _tree(values: list[list[float]], thresholds: tuple[float, float] = (0.0, 1.0)) -> Tree:
    """x <= first ? (x <= second ? leaf 0 : leaf 1) : leaf 2, over features 0 and 1."""
    rows = np.zeros((5, len(values[0])))
    rows[[2, 3, 4]] = [values[2], values[0], values[1]]
    return Tree(
        left=np.array([1, 3, -1, -1, -1]),
        right=np.array([2, 4, -1, -1, -1]),
        feature=np.array([0, 1, 0, 0, 0]),
        threshold=np.array([*thresholds, 0.0, 0.0, 0.0]),
        missing_left=np.array([True, False, False, False, False]),
        values=rows,
    )


def _run(ensemble: Ensemble, rows: list[list[float]]) -> list[list[float]]:
    inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [None, None])]
    graph = helper.make_graph([ensemble.node("x", "y")], "test", inputs, outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    (answer,) = open_session(model.SerializeToString()).run(None, {"x": np.array(rows)})
    return answer.tolist()  # type: ignore[no-any-return]


ROWS = [[-1.0, 0.0], [-1.0, 2.0], [1.0, 0.0], [np.nan, 2.0], [-1.0, np.nan]]


def test_a_leaf_adds_to_all_its_targets() -> None:
    tree = _tree([[0.25, 0.75], [1.0, 0.0], [0.0, 1.0]])

    assert _run(Ensemble([tree, tree]), ROWS) == [[0.5, 1.5], [2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]]


def test_trees_of_one_leaf_and_of_nothing_but_zeros_are_no_exception() -> None:
    nothing = _tree([[0.0, 0.0]] * 3)

    assert _run(Ensemble([Tree.constant(np.array([1.5, -2.0])), nothing]), ROWS[:2]) == [[1.5, -2.0]] * 2
    assert _run(Ensemble([nothing]), ROWS[:2]) == [[0.0, 0.0]] * 2


def test_sums_are_made_in_the_trees_order() -> None:
    values = [1e16, 1.0, -1e16, 1.0]

    (answer,) = _run(Ensemble([Tree.constant(np.array([value])) for value in values]), ROWS[:1])

    assert answer == [((1e16 + 1.0) - 1e16) + 1.0]
