"""From per-token losses to the scalar that is minimised.

The denominators are those of the whole optimiser step, so the sum over any split into passes is the same number.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Reducer = Literal["sequence_mean", "token_mean", "token_sum_constant"]


@dataclass(frozen=True)
class StepCounts:
    """Denominators of one optimiser step."""

    sequences: int
    """Rollouts in the step, masked ones included."""
    tokens: int
    """Tokens that take part in the loss."""
    completion_limit: int
    """Longest possible completion, the constant of Dr. GRPO."""


def reduce(loss_NT: Tensor, mask_NT: Tensor, reducer: Reducer, counts: StepCounts) -> Tensor:
    """This pass's share of the step's loss.

    sequence_mean (GRPO): mean over sequences of token means. token_mean (DAPO, arXiv 2503.14476): mean over all tokens.
    token_sum_constant (Dr. GRPO, arXiv 2503.20783): token sums divided by sequences times the completion limit.
    """
    sums_N = torch.where(mask_NT, loss_NT, 0.0).sum(1)
    match reducer:
        case "sequence_mean":
            return (sums_N / mask_NT.sum(1).clamp_min(1)).sum() / max(counts.sequences, 1)
        case "token_mean":
            return sums_N.sum() / max(counts.tokens, 1)
        case "token_sum_constant":
            return sums_N.sum() / (max(counts.sequences, 1) * counts.completion_limit)
