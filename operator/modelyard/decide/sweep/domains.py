"""The values that one swept parameter takes, each with a position, and how they are written."""

from __future__ import annotations

import decimal
import math
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

EXACT = decimal.Context(prec=100)
"""The API's numbers have at most 40 characters: their sums and products are exact in this."""

_DECIMALS = 6
"""Of a range's own size, or one less of the number on a logarithmic scale."""

_SMALLEST_PLAIN = Decimal("0.000001")


@dataclass(frozen=True)
class Listed:
    """Values in the order in which they are given, each once."""

    values: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values)

    def at(self, position: int) -> str:
        """Return the value at a position."""
        return self.values[position]

    def position(self, value: str) -> int | None:
        """Return where a value is, or None."""
        return self.values.index(value) if value in self.values else None

    def draw(self, unit: float) -> str:
        """Return the value for a random number in [0, 1)."""
        return self.values[int(unit * len(self.values))]


@dataclass(frozen=True)
class Steps:
    """`low`, `low + step`, …: `count` numbers, written with as many decimals as `low` and `step` have.

    On a logarithmic scale they are whole numbers, with a step of 1.
    """

    low: Decimal
    step: Decimal
    count: int
    log: bool = False

    @property
    def high(self) -> int:
        """The last number of a logarithmic scale."""
        return int(self.low) + self.count - 1

    def at(self, position: int) -> str:
        """Return the number at a position."""
        return format(EXACT.add(self.low, EXACT.multiply(self.step, Decimal(position))), "f")

    def position(self, value: str) -> int | None:
        """Return where a number is, however it is written, or None."""
        try:
            position = EXACT.divide(EXACT.subtract(Decimal(value), self.low), self.step)
        except decimal.DecimalException:
            return None
        whole = int(position) if position.is_finite() else -1
        return whole if whole == position and 0 <= whole < self.count else None

    def draw(self, unit: float) -> str:
        """Return the number for a random number in [0, 1)."""
        if not self.log:
            return self.at(min(int(unit * self.count), self.count - 1))
        ends = math.log(int(self.low) - 0.5), math.log(self.high + 0.5)
        number = round(math.exp(ends[0] + unit * (ends[1] - ends[0])))
        return self.at(min(max(number - int(self.low), 0), self.count - 1))


@dataclass(frozen=True)
class Reals:
    """Every number from `low` to `high`, rounded to about a millionth of the range, or of the number on a logarithmic
    scale: what a person can read, and yet hardly ever the same twice.
    """

    low: Decimal
    high: Decimal
    log: bool = False
    count: None = None

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Both ends as floats."""
        return float(self.low), float(self.high)

    def position(self, value: str) -> int | None:  # noqa: ARG002 - the others have positions
        """Return None: there are too many numbers for positions."""
        return None

    def draw(self, unit: float) -> str:
        """Return the number for a random number in [0, 1)."""
        low, high = self.ends
        if self.log:
            return self.write(math.exp(math.log(low) + unit * (math.log(high) - math.log(low))))
        return self.write(low + unit * (high - low))

    def write(self, number: float) -> str:
        """Return the number as a person would write it, within the range: `0.0316228`, `2.0`, `1.5e-07`."""
        exact = Decimal(repr(number))
        width = EXACT.subtract(self.high, self.low).adjusted()
        exponent = min(width, exact.adjusted()) + 1 - _DECIMALS if self.log else width - _DECIMALS
        rounded = exact.quantize(Decimal(1).scaleb(exponent), context=EXACT)
        inside = min(max(rounded, self.low), self.high)
        if inside and abs(inside) < _SMALLEST_PLAIN:
            return repr(float(inside))
        text = format(inside, "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text if "." in text else f"{'0' if text in ('-0', '') else text}.0"


Domain = Listed | Steps | Reals
