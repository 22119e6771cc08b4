import pytest

from vlmrl.report import numbers
from vlmrl.report.curves import smoothed
from vlmrl.report.sampling import spread


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0.00"), (1.0, "1.00"), (0.0123, "0.0123"), (12.34, "12.3"), (1234.5, "1,234"), (2.1e-5, "2.10e-05"),
     (-3.456, "-3.46"), (float("nan"), numbers.MISSING), (None, numbers.MISSING)],
)  # fmt: skip
def test_three_significant_digits(value: float | None, written: str) -> None:
    assert numbers.significant(value) == written


@pytest.mark.parametrize(("value", "written"), [(0.53, "+0.53"), (-0.5, "-0.50"), (0.0, "0.00"), (-1e-9, "0.00")])
def test_signed_numbers_have_no_negative_zero(value: float, written: str) -> None:
    assert numbers.signed(value) == written


def test_shares() -> None:
    assert numbers.percent(0.40625) == "40.6%"
    assert numbers.interval(0.348, 0.467) == "[34.8, 46.7]"
    assert numbers.points(0.17) == "+17.0 points"


@pytest.mark.parametrize(
    ("seconds", "written"), [(9.53, "9.5 s"), (59.7, "1 min 0 s"), (139.6, "2 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, written: str) -> None:
    assert numbers.duration(seconds) == written


@pytest.mark.parametrize(("given", "written"), [([], ""), ([3], "3"), ([1, 2], "1,2"), ([1, 3, 5, 6, 7], "1,3,5-7")])
def test_ranges(given: list[int], written: str) -> None:
    assert numbers.ranges(given) == written


def test_spread_keeps_both_ends() -> None:
    assert spread(range(200), 5) == [0, 50, 100, 149, 199]
    assert spread(range(3), 5) == [0, 1, 2]
    assert spread(range(9), 1) == [8]


def test_running_mean_keeps_gaps_and_constants() -> None:
    values: list[float | None] = [2.0] * 60
    values[10] = None
    assert smoothed(values) == values
    assert smoothed([1.0] * 10) is None
