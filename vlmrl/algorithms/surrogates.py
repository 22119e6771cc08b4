"""Per-token policy losses."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from vlmrl.algorithms.batch import Tokens, sequence_mean, sequence_sum
from vlmrl.algorithms.piece import Piece

Level = Literal["token", "sequence", "sequence_sum", "sequence_token"]

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to this before exp, which would overflow."""
GSPO_TOKEN_LIMIT = 10.0


class Loss(NamedTuple):
    """A per-token loss [N, T] or [N, 1], to be minimised, and where its clipping was active (bool)."""

    loss_NT: Tensor
    clipped_low_NT: Tensor
    clipped_high_NT: Tensor


def unclipped(loss_NT: Tensor) -> Loss:
    nowhere = torch.zeros_like(loss_NT, dtype=torch.bool)
    return Loss(loss_NT, nowhere, nowhere)


def log_ratio(logprobs_NT: Tensor, old_NT: Tensor, mask_NT: Tensor, level: Level) -> Tensor:
    """Log of the probability ratio to the old policy: [N, T], or [N, 1] for a whole sequence.

    sequence is the mean over tokens (GSPO), sequence_sum the sum (RLOO); sequence_token has the sequence's value and
    the token's gradient (GSPO-token).
    """
    difference_NT = logprobs_NT - old_NT
    match level:
        case "token":
            return difference_NT
        case "sequence":
            return sequence_mean(difference_NT, mask_NT)[:, None]
        case "sequence_sum":
            return sequence_sum(difference_NT, mask_NT)[:, None]
        case "sequence_token":
            value_N1 = sequence_mean(difference_NT, mask_NT)[:, None].detach()
            return (value_N1 + logprobs_NT - logprobs_NT.detach()).clamp_max(GSPO_TOKEN_LIMIT)


class Surrogate(Piece):
    """(log-probs [N, T], old log-probs [N, T], advantages [N, T] or [N, 1], tokens) -> loss."""

    @abstractmethod
    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss: ...


@dataclass(frozen=True)
class Clip(Surrogate):
    """-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A), r the probability ratio to the old policy: PPO's objective.

    GRPO: 0.2 and 0.2. DAPO's clip-higher (arXiv 2503.14476): 0.28 above. GSPO (2507.18071): level sequence, 3e-4 and
    4e-4. RLOO (2402.14740): level sequence_sum. StableReinforce (2505.02835): log_ratio_limit ln 1000.
    """

    clip_low: float = 0.2
    """Width of the clip below 1; 1 never clips."""
    clip_high: float = 0.2
    """Width of the clip above 1; .inf never clips."""
    level: Level = "token"
    """Whose ratio: a token's, or a sequence's as mean (sequence) or sum (sequence_sum) of log-ratios; sequence_token
    has the sequence's value and the token's gradient."""
    dual: float | None = None
    """Dual clip: for A < 0 the loss is at most dual * -A (verl 3, BNPO 10)."""
    delta: float | None = None
    """Two-sided clip: for A < 0 the ratio is at most delta (INTELLECT-2, arXiv 2505.07291: 4)."""
    log_ratio_limit: float = LOG_RATIO_LIMIT
    """Log-ratios are clamped to this size before they are exponentiated."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        limit = self.log_ratio_limit
        ratio = log_ratio(logprobs_NT, old_NT, tokens.mask_NT, self.level).clamp(-limit, limit).exp()
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        bounded = ratio if self.delta is None else ratio.clamp(max=self.delta)
        loss = -torch.minimum(bounded * advantages_NT, clipped * advantages_NT)
        if self.dual is not None:
            loss = torch.where(advantages_NT < 0, torch.minimum(loss, -self.dual * advantages_NT), loss)
        low = (ratio < 1 - self.clip_low) & (advantages_NT < 0)
        high = (ratio > 1 + self.clip_high) & (advantages_NT > 0)
        return Loss(loss, low, high)


@dataclass(frozen=True)
class Cispo(Surrogate):
    """-sg(min(r, cap)) A log p: no token is dropped, its weight is capped (MiniMax-M1, arXiv 2506.13585)."""

    cap: float = 5.0
    """Largest weight itself, not a width above 1; 5 in the ScaleRL study (arXiv 2510.13786)."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        limited = (logprobs_NT - old_NT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
        ratio = limited.exp().detach()
        high = (ratio > self.cap) & (advantages_NT > 0)
        return Loss(-ratio.clamp(max=self.cap) * advantages_NT * logprobs_NT, torch.zeros_like(high), high)


@dataclass(frozen=True)
class LogClip(Surrogate):
    """-A min(log p, log p_old + ln(1 + clip)) for A > 0, -A max(log p, log p_old + ln(1 - clip)) for A < 0.

    CPGD (arXiv 2505.12504): the ratio does not multiply the gradient, and beyond the clip there is none.
    """

    clip: float = 0.2
    """Width on either side of the old probability."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        upper, lower = old_NT + math.log1p(self.clip), old_NT + math.log1p(-self.clip)
        up = advantages_NT > 0
        limited = torch.where(up, torch.minimum(logprobs_NT, upper), torch.maximum(logprobs_NT, lower))
        low, high = (logprobs_NT < lower) & (advantages_NT < 0), (logprobs_NT > upper) & up
        return Loss(-advantages_NT * limited, low, high)


@dataclass(frozen=True)
class SigmoidGate(Surrogate):
    """-A (4 / t) sigmoid(t (r - 1)), t by the sign of A: a soft gate instead of a clip (SAPO, arXiv 2511.20347)."""

    temperature_positive: float = 1.0
    """t for A > 0."""
    temperature_negative: float = 1.05
    """t for A <= 0."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        ratio = (logprobs_NT - old_NT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
        temperature = torch.where(advantages_NT > 0, self.temperature_positive, self.temperature_negative).to(ratio)
        return unclipped(-advantages_NT * (4 / temperature) * torch.sigmoid(temperature * (ratio - 1)))


@dataclass(frozen=True)
class BoundedTarget(Surrogate):
    """|r - r*| |A|, r* = 1 - clip_low + (clip_low + clip_high) sigmoid((reward - median) / ((std + 1e-6) temperature)).

    GBPO (arXiv 2604.18578): beyond the bounds the ratio is pulled back, where PPO lets it be.
    """

    clip_low: float = 0.3
    """1 - clip_low is the target of a reward below the median."""
    clip_high: float = 0.3
    """1 + clip_high is the target of a reward above the median."""
    temperature: float = 1e-4
    """How sharply the target changes at the median."""

    def target(self, standing_N: Tensor) -> Tensor:
        """r* [N] of rewards that stand this many deviations above their group's median."""
        return 1 - self.clip_low + (self.clip_low + self.clip_high) * torch.sigmoid(standing_N / self.temperature)

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        ratio = (logprobs_NT - old_NT).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
        target = self.target(tokens.standing_N)[:, None].to(ratio.dtype)
        return unclipped((ratio - target).abs() * advantages_NT.abs())


@dataclass(frozen=True)
class ExpertShaping(Surrogate):
    """-A p / (p + gamma), p the policy's probability of an expert's token: unlikely tokens still learn.

    LUFFY's policy shaping (arXiv 2504.14945); the gradient's weight p gamma / (p + gamma)^2 is largest at p = gamma.
    """

    gamma: float = 0.1
    """The probability at which a token learns most."""

    def __call__(self, logprobs_NT: Tensor, old_NT: Tensor, advantages_NT: Tensor, tokens: Tokens) -> Loss:
        probability = logprobs_NT.exp()
        return unclipped(-advantages_NT * probability / (probability + self.gamma))
