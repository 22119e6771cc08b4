"""Per-token policy losses."""

from typing import NamedTuple

import torch
from torch import Tensor

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to this before exp, which would overflow."""


class Surrogate(NamedTuple):
    """A per-token loss, to be minimised, and where its clipping was active."""

    loss_NT: Tensor
    clipped_low_NT: Tensor
    clipped_high_NT: Tensor


def clipped_ratio(
    logprobs_NT: Tensor, old_logprobs_NT: Tensor, advantages_N: Tensor, clip_low: float, clip_high: float
) -> Surrogate:
    """PPO's clipped objective: -min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r the ratio to the old policy.

    GRPO uses equal widths; DAPO (arXiv 2503.14476) a wider upper one ("clip-higher").
    """
    advantages = advantages_N[:, None]
    ratio = (logprobs_NT - old_logprobs_NT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -torch.minimum(ratio * advantages, clipped * advantages)
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return Surrogate(loss, low, high)
