"""Confidence intervals and averages of evaluation scores."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

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


def cells(values: Sequence[float], tags: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, list[float]]:
    """Values grouped by the combination of the named tags, e.g. web/icon; sorted by name."""
    grouped: dict[str, list[float]] = defaultdict(list)
    for value, tag in zip(values, tags, strict=True):
        grouped["/".join(tag.get(name, "?") for name in names)].append(value)
    return dict(sorted(grouped.items()))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95% interval of a mean: Wilson's if every value is 0 or 1, else the percentile bootstrap (2000 resamples)."""
    if all(value in (0.0, 1.0) for value in values):
        return wilson_interval(sum(values), len(values))
    draws = np.random.default_rng(0).choice(np.asarray(values), (BOOTSTRAP_RESAMPLES, len(values)))
    low, high = np.quantile(draws.mean(1), [0.025, 0.975])
    return float(low), float(high)
