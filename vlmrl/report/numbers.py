"""How numbers are written on the page: the same digits for the same kind of figure everywhere."""

from collections.abc import Sequence
from itertools import groupby
from math import floor, isfinite, log10

MISSING = "\N{EN DASH}"


def percent(share: float | None) -> str:
    """A share in [0, 1] as a percentage with one decimal: 40.6%."""
    return MISSING if share is None or not isfinite(share) else f"{fixed(100 * share, 1)}%"


def interval(low: float | None, high: float | None) -> str:
    """The bounds of a share's interval in percent: [34.8, 46.7]; nothing if there is none."""
    return "" if low is None or high is None else f"[{fixed(100 * low, 1)}, {fixed(100 * high, 1)}]"


def points(difference: float) -> str:
    """A difference of two shares in percentage points: +17.0 points."""
    return f"{signed(100 * difference, 1)} points"


def fixed(value: float | None, decimals: int = 2) -> str:
    """With so many decimals, thousands separated, and no negative zero."""
    if value is None or not isfinite(value):
        return MISSING
    written = f"{value:,.{decimals}f}"
    return written if written.strip("-0.") else written.lstrip("-")


def signed(value: float | None, decimals: int = 2) -> str:
    """Like `fixed`, with a plus sign before positive numbers: +0.53."""
    written = fixed(value, decimals)
    return f"+{written}" if written[0].isdigit() and written.strip("0.") else written


def significant(value: float | None) -> str:
    """Three significant digits: 0.0123, 1.23, 123, 2.10e-05; from a thousand on all digits of the whole number."""
    if value is None or not isfinite(value):
        return MISSING
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.2e}"
    magnitude = floor(log10(abs(value))) if value else 0
    return fixed(value, max(0, 2 - magnitude))


def duration(seconds: float | None) -> str:
    """9.5 s, 2 min 20 s, 3 h 5 min."""
    if seconds is None or not isfinite(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def count(number: int, singular: str) -> str:
    """1 row, 2 rows."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def ranges(numbers: Sequence[int]) -> str:
    """Rising whole numbers with runs of three and more shortened: 1,3,5-8."""
    parts: list[str] = []
    for _, run in groupby(enumerate(numbers), key=lambda item: item[1] - item[0]):
        members = [number for _, number in run]
        parts += [f"{members[0]}-{members[-1]}"] if len(members) > 2 else map(str, members)
    return ",".join(parts)
