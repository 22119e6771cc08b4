"""Rewards of numeric answers: pure functions in 0..1."""

STEPS = 10
"""Thresholds of mean relative accuracy: relative errors of 5%, 10% ... 50%."""


def equal_to_cents(answer: float, target: float) -> float:
    """1 if the two agree after rounding to two decimals.

    Source: OneThinker (arXiv 2512.03043). Video-R1 also scores 0 when only one of the two is written with a decimal
    point, so that 3.0 is wrong where 3 is right; that rule is left out.
    """
    return float(round(answer, 2) == round(target, 2))


def relative_agreement(answer: float, target: float) -> float:
    """1 - |answer - target| / |target|, at least 0.

    Source: Video-R1 (arXiv 2503.21776), reward of regression rows. It adds 1e-9 to both differences, which scores the
    right answer 0 where the target is 0; here a target of 0 is scored 1 if it is met and 0 otherwise.
    """
    if target == 0:
        return float(answer == 0)
    return max(0.0, 1 - abs(answer - target) / abs(target))


def mean_relative_accuracy(answer: float, target: float) -> float:
    """Share of the thresholds 5%, 10% ... 50% that the relative error stays below.

    Source: VSI-Bench (Thinking in Space, arXiv 2412.14171), with the "<" of the paper and of Video-R1's evaluation. A
    target of 0 is scored as in `relative_agreement`.
    """
    if target == 0:
        return float(answer == 0)
    error = abs(answer - target)
    return sum(2 * STEPS * error < step * abs(target) for step in range(1, STEPS + 1)) / STEPS
