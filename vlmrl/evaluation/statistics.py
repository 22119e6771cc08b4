"""Confidence intervals and averages of evaluation scores."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Row = TypeVar("Row")

BOOTSTRAP_RESAMPLES = 2000
Z_95 = 1.959963984540054
"""Two-sided 95% quantile of the normal distribution."""


def wilson_interval(successes: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a rate (E. B. Wilson, JASA 1927). (0, 1) when there is nothing to count."""
    if n == 0:
        return 0.0, 1.0
    rate, z2 = successes / n, Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    # at the ends the formula gives exactly 0 and 1, which rounding would miss
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of a mean: Wilson's if every value is 0 or 1, else the percentile bootstrap (2000 resamples)."""
    if all(value in (0.0, 1.0) for value in values):
        return wilson_interval(sum(values), len(values))
    draws = np.random.default_rng(0).choice(np.asarray(values), (BOOTSTRAP_RESAMPLES, len(values)))
    low, high = np.quantile(draws.mean(1), [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A figure over rows with its 95% interval."""

    value: float
    low: float
    high: float
    n: int
    """Rows that it is about: its denominator."""


def mean_estimate(values: Sequence[float]) -> Estimate:
    """The mean of at least one value with `mean_interval`."""
    return Estimate(sum(values) / len(values), *mean_interval(values), len(values))


def bootstrap_estimates(
    figures: Callable[[Sequence[Row]], Mapping[str, float]], rows: Sequence[Row], resamples: int = 200
) -> dict[str, Estimate]:
    """Figures over rows together, with percentile bootstrap intervals over rows.

    A figure that a resample does not have (its denominator is empty there) leaves that resample out.
    """
    random = np.random.default_rng(0)
    drawn: dict[str, list[float]] = defaultdict(list)
    for _ in range(resamples):
        for name, value in figures([rows[i] for i in random.integers(len(rows), size=len(rows))]).items():
            drawn[name].append(value)
    estimates = {}
    for name, value in figures(rows).items():
        low, high = np.quantile(drawn[name] or [value], [0.025, 0.975])
        estimates[name] = Estimate(value, float(low), float(high), len(rows))
    return estimates
