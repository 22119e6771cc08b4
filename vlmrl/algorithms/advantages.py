"""Advantages of a group's rollouts: a baseline that is subtracted, and a scale that divides."""

from typing import Literal

import torch
from torch import Tensor

Baseline = Literal["mean", "none"]
Scale = Literal["group_std", "none"]

STD_EPSILON = 1e-4
"""Added to the standard deviation, as in TRL."""
SPREAD_TOLERANCE = 1e-6
"""A group whose rewards differ by no more than this is constant: rounding must not become a gradient."""


def is_constant(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """bool [B]: groups whose valid values do not differ (by max - min, never by a tiny standard deviation)."""
    values = values_BG.double()
    highest = values.masked_fill(~valid_BG, -torch.inf).amax(1)
    lowest = values.masked_fill(~valid_BG, torch.inf).amin(1)
    return ~(highest - lowest > SPREAD_TOLERANCE)


def group_advantages(rewards_BG: Tensor, valid_BG: Tensor, baseline: Baseline, scale: Scale) -> Tensor:
    """Advantages [B, G]; 0 for invalid rollouts and in constant groups.

    GRPO (arXiv 2402.03300): baseline mean, scale group_std with the unbiased standard deviation.
    Dr. GRPO (arXiv 2503.20783): baseline mean, scale none.
    """
    rewards = rewards_BG.double()
    counts = valid_BG.sum(1, keepdim=True).clamp_min(1)
    mean = torch.where(valid_BG, rewards, 0.0).sum(1, keepdim=True) / counts
    centred = torch.where(valid_BG, rewards - mean, 0.0)
    advantages = torch.where(valid_BG, rewards, 0.0) if baseline == "none" else centred
    if scale == "group_std":
        std = torch.sqrt(centred.square().sum(1, keepdim=True) / (counts - 1).clamp_min(1))
        advantages = advantages / (std + STD_EPSILON)
    if baseline == "mean":
        advantages = torch.where(is_constant(rewards, valid_BG)[:, None], 0.0, advantages)
    return advantages.to(rewards_BG.dtype)
