"""Weights and masks of single tokens, fixed for all optimiser steps on one batch of rollouts."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vlmrl.algorithms.batch import Tokens, sequence_mean, sequence_sum
from vlmrl.algorithms.piece import Need, Piece


class Weighting(NamedTuple):
    """What a piece says about every token."""

    weight_NT: Tensor | None = None
    """Multiplies the policy loss, not regularisers and no denominator; None leaves it."""
    keep_NT: Tensor | None = None
    """bool: tokens that stay in the loss and in its denominators; None keeps all."""


class TokenWeight(Piece):
    """(tokens) -> weighting."""

    @abstractmethod
    def __call__(self, tokens: Tokens) -> Weighting: ...


@dataclass(frozen=True)
class SkipTruncated(TokenWeight):
    """Leaves truncated completions out of the loss and its denominators; their rewards stay in the group's statistics.

    DAPO's overlong filtering (arXiv 2503.14476).
    """

    def __call__(self, tokens: Tokens) -> Weighting:
        return Weighting(keep_NT=tokens.mask_NT & ~tokens.truncated_N[:, None])


@dataclass(frozen=True)
class HighEntropy(TokenWeight):
    """Only the share of the step's tokens with the highest entropy is trained on; tokens level with the last one stay.

    80/20 (arXiv 2506.01939). The entropy is that of the weights that sampled, so the choice stays over inner epochs.
    """

    share: float = 0.2
    """Share of the tokens; 1 switches the piece off."""
    counts: bool = True
    """Tokens left out leave the denominators and regularisers too, as the authors have it; in TRL they do not."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"entropy"}) if self.share < 1 else frozenset()

    def __call__(self, tokens: Tokens) -> Weighting:
        if self.share >= 1:
            return Weighting()
        assert tokens.entropy_NT is not None
        entropies = tokens.entropy_NT[tokens.mask_NT]
        kept = math.ceil(self.share * len(entropies))
        if not kept:
            return Weighting()
        keep_NT = tokens.mask_NT & (tokens.entropy_NT >= entropies.topk(kept).values[-1])
        return Weighting(keep_NT=keep_NT) if self.counts else Weighting(weight_NT=keep_NT.to(tokens.old_NT.dtype))


@dataclass(frozen=True)
class SamplerRatio(TokenWeight):
    """w = exp(log p_old - log p_sampler), where sampler and training engine compute the same weights differently.

    truncate clamps w to [low, high], mask sets it to 0 outside. TIS: level token, truncate, high 2. MIS (TRL): level
    sequence, mask, high 3. IcePop: level token, mask, low 0.5. A log-prob that is not finite counts as w = 1.
    """

    level: Literal["token", "sequence", "geometric"] = "token"
    """A token's w, the product over its sequence, or the geometric mean."""
    mode: Literal["truncate", "mask"] = "truncate"
    """What happens outside the bounds."""
    low: float = 0.0
    """Least w."""
    high: float = 2.0
    """Largest w; .inf for none."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"old"})

    def __call__(self, tokens: Tokens) -> Weighting:
        gap_NT = (tokens.old_NT - tokens.rollout_NT).nan_to_num(0.0, 0.0, 0.0)
        match self.level:
            case "sequence":
                gap_NT = sequence_sum(gap_NT, tokens.mask_NT)[:, None].expand_as(gap_NT)
            case "geometric":
                gap_NT = sequence_mean(gap_NT, tokens.mask_NT)[:, None].expand_as(gap_NT)
        weight = gap_NT.clamp(-20, 20).exp()
        if self.mode == "truncate":
            return Weighting(weight.clamp(self.low, self.high))
        return Weighting(torch.where((weight >= self.low) & (weight <= self.high), weight, 0.0))


@dataclass(frozen=True)
class OwnTokens(TokenWeight):
    """Tokens that several rollouts of a branched group share are trained on once, in the rollout they come from."""

    def __call__(self, tokens: Tokens) -> Weighting:
        position_T = torch.arange(tokens.mask_NT.shape[1], device=tokens.mask_NT.device)
        return Weighting(keep_NT=tokens.mask_NT & (position_T >= tokens.shared_N[:, None]))
