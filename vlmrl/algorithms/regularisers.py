"""Terms that hold the policy near another one."""

from torch import Tensor

DIFFERENCE_LIMIT = 20.0
"""Differences of log-probs are clamped to this before exp."""


def k3(logprobs_NT: Tensor, other_logprobs_NT: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || other) per token: exp(-d) - 1 + d with d = lp - lp_other, never negative.

    GRPO's KL term (arXiv 2402.03300, eq. 4).
    """
    d = (logprobs_NT - other_logprobs_NT).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    return (-d).exp() - 1 + d
