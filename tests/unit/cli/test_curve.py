"""The objective's curve, compared as whole pictures: what a person sees without colours."""

from __future__ import annotations

import math
import random
import textwrap
from collections.abc import Iterable

import pytest

from modelyard.api.experiment import Goal
from modelyard.cli.curve import Outcome, Point, curve

S, E, F, R = Outcome.SUCCEEDED, Outcome.STOPPED, Outcome.FAILED, Outcome.RUNNING


def points(*values: float | tuple[float | None, Outcome] | None) -> list[Point]:
    """Trials in their order; those without more said succeeded."""
    pairs = [value if isinstance(value, tuple) else (value, S) for value in values]
    return [Point(x, value, outcome) for x, (value, outcome) in enumerate(pairs)]


def picture(given: Iterable[Point], goal: Goal = Goal.MAXIMIZE, **size: int) -> str:
    lines = curve(list(given), goal, **{"width": 44, "height": 6, **size})
    return "\n".join(line.plain.rstrip() for line in lines)


def expect(picture: str, wanted: str) -> None:
    assert picture == textwrap.dedent(wanted).strip("\n")


def test_every_trial_is_a_point_and_the_best_so_far_a_line() -> None:
    found = picture(points(0.5, 0.7, 0.6, 0.7, 0.9, 0.5))
    expect(
        found,
        """
            │                            ●━━━━━━━
        0.8 ┤                            ┃
            │                            ┃
            │       ●━━━━━━━━━━━━━┯━━━━━━┛
        0.6 ┤       ┃      •
            │●━━━━━━┛                           •
            └┴─────────────┴─────────────┴───────
             0             2             4
             ● new best   • trial
        """,
    )


def test_what_is_minimized_goes_down() -> None:
    expect(
        picture(points(3.0, 2.0, 2.5, 1.0), Goal.MINIMIZE),
        """
        3 ┤●━━━━━━━━━━━┓
          │            ┃          •
        2 ┤            ●━━━━━━━━━━━━━━━━━━━━━━┓
          │                                   ┃
          │                                   ┃
        1 ┤                                   ●
          └┴───────────┴──────────┴───────────┴
           0           1          2           3
           ● new best   • trial
        """,
    )


def test_failures_early_stops_and_running_trials_are_marked() -> None:
    given = points(0.5, (None, F), (0.4, E), 0.8, (0.6, R), (None, R))
    expect(
        picture(given, trials=8),
        """
        0.8 ┤                ●
            │                ┃
        0.6 ┤                ┃
            │                ┃
            │●━━━━━━━━━━━━━━━┛
        0.4 ┤           ◦
            └┴────×─────┴─────────▸────▸─────┴─────
             0          2         4          6
             ● new best   ◦ stopped early   × failed   ▸ running
        """,  # noqa: RUF001 - a mark
    )


def test_a_stopped_trial_is_never_the_best() -> None:
    assert picture(points(0.5, (0.9, E), 0.6)).count("●") == 3  # two, and the legend's
    assert "┛" in picture(points(0.5, (0.9, E), 0.6))


def test_one_bad_value_does_not_flatten_all_others() -> None:
    found = picture(points(1.0, 0.9, 0.95, 0.8, 0.85, 0.7, 1e6, 0.75), Goal.MINIMIZE)
    assert "▴" in found.splitlines()[0]
    assert "off the scale" in found
    assert "0.8 ┤" in found


def test_stopped_trials_do_not_flatten_those_that_ended() -> None:
    found = picture(points(363.0, (33000.0, E), 995.0, 400.0, (1100.0, E)), Goal.MINIMIZE)
    assert found.splitlines()[0].count("◦") == 2
    assert "off the scale" not in found
    assert "750 ┤" in found


def test_a_good_value_is_on_the_scale_however_far_it_is() -> None:
    found = picture(points(1.0, 1.1, 1.05, 0.9, 0.95, 50.0), Goal.MAXIMIZE)
    assert "off the scale" not in found
    assert "●" in found.splitlines()[0]


def test_more_trials_than_columns_are_dots() -> None:
    chance = random.Random(7)
    found = picture(points(*(chance.random() for _ in range(200))), width=40, height=5)
    expect(found, DENSE)


@pytest.mark.parametrize(
    "given",
    [
        (),
        points(None, (None, F), (0.5, F), (None, R), (0.5, R)),
        points(math.nan, math.inf, -math.inf, 1.7e308),
    ],
)
def test_without_a_value_there_is_no_picture(given: Iterable[Point]) -> None:
    assert picture(given) == ""


@pytest.mark.parametrize(
    "values", [(0.5,), (0.5, 0.5), (0.0, 0.0), (-1.0, -3.0), (1e-12, 2e-12), (-1e149, 1e149), (7.0, 7.0 + 1e-15)]
)
@pytest.mark.parametrize("goal", Goal)
@pytest.mark.parametrize("size", [(20, 3), (80, 10), (200, 40)])
def test_any_values_fit_into_any_size(values: tuple[float, ...], goal: Goal, size: tuple[int, int]) -> None:
    lines = curve(points(*values), goal, width=size[0], height=size[1])
    assert len(lines) == size[1] + 3
    assert max(len(line.plain) for line in lines[:-1]) <= max(size[0], 24)


def test_a_trial_that_comes_late_changes_no_scale_of_trials() -> None:
    early = picture(points(0.5, 0.6), trials=40, width=60)
    late = picture(points(0.5, 0.6, *[(None, R)] * 3), trials=40, width=60)
    assert early.splitlines()[:6] == late.splitlines()[:6]


DENSE = """
    │   ●━━━━●━┯┯●━┯┯┯━┯┯┯━┯━●┯┯━┯━━┯┯━
    │●━●┛⠉⡀⡀⠢⠄⢂⠢⢁⡌⡀⠂⠈  ⠠⡐⢂   ⠁⠁ ⠕⠊⠣⠠ ⢀⡑
0.5 ┤┃⢒⡀⢁ ⠑⢈⠌⠂⡠⠉⠥ ⡠⢀⠆⡀⠨⡈⠃⣀  ⠁⠤ ⠒ ⠂⠐ ⠄ ⠄
    │●⠁⠠ ⡒⡈⠌⠢⠐⡀⠈ ⠐⢀⡠ ⢃⡔⠁  ⢌⡈⡊ ⢃⡀⢊⠡⠠⠑⠈⠤
    │⠈⠒⠉⠐⠈⠈⠂ ⠈⠐  ⠂⠊⠂⠁  ⠂⠐⠈⠓⠕⠈⠈⠐⠐   ⠂
    └┴────────────────┴────────────────
     0                100
     ● new best   ⠢ trial
"""
