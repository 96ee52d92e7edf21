from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.bench.serving.answers import Compared
from tests.bench.serving.load import MANY_ROWS, ONE_ROW, Measured
from tests.bench.serving.processes import Memory
from tests.bench.serving.report import ModelResults, ServerResults, document, markdown
from tests.bench.serving.results import Spread, ratio, target_of_memory, target_of_start, targets_of_load


def measured(rate: float, p99: float = 1.0, **errors: int) -> Measured:
    return Measured(requests=round(rate), rate=rate, p50=p99 / 2, p99=p99, maximum=p99, errors=errors)


def rounds(*rates: float, p99: float = 1.0) -> list[Measured]:
    return [measured(rate, p99) for rate in rates]


def test_a_spread_is_the_median_between_the_least_and_the_most() -> None:
    assert Spread.of([3.0, 1.0, 2000.0]).text() == "3.0 (1.0\u20132,000.0)"


def test_a_ratio_is_of_rates_of_the_same_round() -> None:
    assert ratio(rounds(100, 10, 60), rounds(10, 1, 5)) == Spread(10, 10, 12)


@pytest.mark.parametrize(
    ("model", "ours", "met"),
    [
        ("forest", 4800, [True, True]),
        ("forest", 4700, [False, True]),
        ("boosting", 600, [True, True]),
        ("boosting", 590, [False, True]),
        ("logistic", 400, [False, False]),
    ],
)
def test_one_row_is_to_be_many_times_as_fast(model: str, ours: float, met: Sequence[bool]) -> None:
    load = ONE_ROW[1]
    targets = targets_of_load(
        model, load, {"modelyard": rounds(ours), "mlflow": rounds(40), "mlserver": rounds(58)}, "modelyard"
    )
    assert [target.met for target in targets if "rate" in target.what] == met


def test_many_rows_are_to_be_no_slower() -> None:
    given = {"modelyard": rounds(50), "mlflow": rounds(49), "mlserver": rounds(51)}
    assert [target.met for target in targets_of_load("forest", MANY_ROWS, given, "modelyard")] == [True, False]


def test_the_99th_percentile_is_to_be_lower_and_the_rate_a_fifth_of_the_bare_servers() -> None:
    given = {"modelyard": rounds(5000, p99=5), "mlflow": rounds(40, p99=4), "uvicorn": rounds(25_000)}
    found = {target.what: target.met for target in targets_of_load("forest", ONE_ROW[0], given, "modelyard")}
    assert found == {
        "1 row, 1 connection: times mlflow's rate": True,
        "1 row, 1 connection: p99 beside mlflow's": False,
        "1 row, 1 connection: of bare uvicorn's rate": True,
    }


def test_memory_is_to_be_half_of_mlflows_and_the_start_a_second_beyond_the_download() -> None:
    assert target_of_memory("forest", Memory(240, 200), Memory(480, 300)).met
    assert not target_of_memory("forest", Memory(241, 100), Memory(480, 300)).met
    assert target_of_start("forest", start=1.5, fetch=0.5).met
    assert not target_of_start("forest", start=1.5, fetch=0.4).met


def server(rate: float, labels: Compared | None = None) -> ServerResults:
    memory = Memory(100, 90)
    one = ServerResults(1.0, 0.8, 0.2, memory, "onnx", memory, labels)
    one.rounds = {load.name: rounds(rate) for load in (*ONE_ROW, MANY_ROWS)}
    one.cpu_microseconds = {load: [40.0] for load in one.rounds}
    return one


def results(ours: ServerResults) -> ModelResults:
    return ModelResults("forest", "a forest", 10, "Verified", {"modelyard": ours, "mlflow": server(1.0)})


def test_a_run_without_faults_is_judged() -> None:
    model = results(server(1000.0, labels=Compared(10, ())))
    assert model.faults() == []
    assert "| forest | 1 row, 8 connections: times mlflow's rate | ≥ 120 | 1,000.0" in markdown({}, [model])
    assert len(document({}, {}, [model])["targets"]) == 9


def test_wrong_answers_make_a_run_invalid_and_leave_it_without_a_verdict() -> None:
    model = results(server(1000.0, labels=Compared(10, ("row 3: 1 instead of 0",))))
    assert model.faults() == ["forest, modelyard, labels: 1 of 10 rows differ: row 3: 1 instead of 0"]
    assert model.targets() == []
    assert "This run is invalid" in markdown({}, [model])


def test_an_error_under_load_makes_a_run_invalid() -> None:
    ours = server(1000.0)
    ours.rounds[ONE_ROW[0].name] = [measured(1000.0, status=3)]
    assert results(ours).faults() == ["forest, modelyard, 1 row, 1 connection: {'status': 3} of 1000"]
