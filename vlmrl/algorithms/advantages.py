"""Advantage estimators: what a rollout earned, compared with its group and scaled.

Most published estimators are one choice of three: in which order components are combined and normalised, which
baseline is subtracted, and what the rest is divided by.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from scipy.stats import beta as beta_distribution
from torch import Tensor

from vlmrl.algorithms.batch import Batch
from vlmrl.algorithms.piece import Piece, required

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm

Baseline = Literal["mean", "leave_one_out", "median", "length_weighted", "none"]
Scale = Literal["group", "batch", "beta", "none"]

SPREAD_TOLERANCE = 1e-6
"""A group whose rewards differ by no more than this is constant: rounding must not become a gradient."""
BETA_WEIGHT_LIMIT = 1e6
GUARD_EPSILON = 1e-6


def is_constant(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """bool [B]: groups whose valid values do not differ (by max - min, never by a tiny standard deviation)."""
    values = values_BG.double()
    highest = values.masked_fill(~valid_BG, -torch.inf).amax(1)
    lowest = values.masked_fill(~valid_BG, torch.inf).amin(1)
    return ~(highest - lowest > SPREAD_TOLERANCE)


def group_mean(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """[B, 1]; 0 for a group without valid members."""
    counts = valid_BG.sum(1, keepdim=True).clamp_min(1)
    return torch.where(valid_BG, values_BG, 0.0).sum(1, keepdim=True) / counts


def group_std(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """Unbiased standard deviation [B, 1]; 0 for a group of fewer than two valid members."""
    centred = torch.where(valid_BG, values_BG - group_mean(values_BG, valid_BG), 0.0)
    counts = valid_BG.sum(1, keepdim=True).clamp_min(1)
    return torch.sqrt(centred.square().sum(1, keepdim=True) / (counts - 1).clamp_min(1))


def group_median(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """[B, 1]: the mean of the middle two for an even count; 0 for a group without valid members."""
    return torch.where(valid_BG, values_BG, torch.nan).nanquantile(0.5, dim=1, keepdim=True).nan_to_num()


def batch_std(values_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """Unbiased standard deviation over all valid values of the batch; 0 for fewer than two."""
    values = values_BG[valid_BG]
    return values.std() if len(values) > 1 else values.new_zeros(())


def baseline_of(values_BG: Tensor, valid_BG: Tensor, lengths_BG: Tensor, baseline: Baseline) -> Tensor:
    """What is subtracted, [B, 1] or [B, G]."""
    match baseline:
        case "mean":
            return group_mean(values_BG, valid_BG)
        case "leave_one_out":
            mean = group_mean(values_BG, valid_BG)
            counts = valid_BG.sum(1, keepdim=True)
            others = (mean * counts - values_BG) / (counts - 1).clamp_min(1)
            return torch.where(counts > 1, others, values_BG)
        case "median":
            return group_median(values_BG, valid_BG)
        case "length_weighted":
            weights = torch.where(valid_BG, lengths_BG.double(), 0.0)
            weighted = torch.where(valid_BG, weights * values_BG, 0.0)
            return weighted.sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(1)
        case "none":
            return torch.zeros_like(values_BG)


def beta_weights(means_B: Tensor) -> Tensor:
    """BNPO's weight [B]: the reciprocal density, at a group's mean reward, of a Beta distribution fitted to all means.

    The fit is by moments: k = p (1 - p) / var - 1, a = k p, b = k (1 - p) with p the mean and var the unbiased variance
    of the means; the density's parameters are max(1, 1 + a/3) and max(1, 1 + b/3).
    """
    p = means_B.mean()
    variance = means_B.var() if len(means_B) > 1 else means_B.new_zeros(())
    k = p * (1 - p) / variance - 1 if variance > 0 else means_B.new_zeros(())
    density = beta_density(means_B, (1 + k * p / 3).clamp_min(1), (1 + k * (1 - p) / 3).clamp_min(1))
    return (1 / density).clamp_max(BETA_WEIGHT_LIMIT)


def unit_interval(values_BG: Tensor) -> Tensor:
    """Values mapped into [0, 1] by the batch's extremes; those that are in it stay."""
    low, high = values_BG.min().clamp_max(0), values_BG.max().clamp_min(1)
    return (values_BG - low) / (high - low)


def beta_density(values_B: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.from_numpy(beta_distribution.pdf(values_B.numpy(), alpha.item(), beta.item()))


class AdvantageEstimator(Piece):
    """(batch) -> advantages [B, G], 0 for invalid rollouts."""

    scales_away_constants = False
    """Whether a factor common to all rewards cancels."""
    uses_rewards = True

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor: ...


@dataclass(frozen=True)
class GroupRelative(AdvantageEstimator):
    """A = (r - baseline of the group) / scale; 0 in a group whose rewards do not differ.

    GRPO (arXiv 2402.03300): baseline mean, scale group, that is (r - mean) / (std + epsilon). Dr. GRPO (2503.20783):
    scale none. RLOO (2402.14740): baseline leave_one_out, scale none. Lite-PPO (2508.08221): scale batch. BNPO: order
    normalise, scale beta. GDPO (2601.05242): order normalise, whiten_batch.
    """

    order: Literal["combine", "normalise"] = "combine"
    """combine sums the weighted components before they are normalised; normalise treats each alone and sums after."""
    baseline: Baseline = "mean"
    """What is subtracted: the group's mean, the mean of the other members, the median, the mean weighted by length
    (OPO), or nothing."""
    scale: Scale = "group"
    """What the rest is divided by: the standard deviation of the group, or of all rewards of the batch, BNPO's Beta
    density, or nothing."""
    epsilon: float = 1e-4
    """Added to a standard deviation: 1e-4 in TRL, 1e-6 in verl."""
    whiten_batch: bool = False
    """Afterwards subtract the mean of the batch's advantages and divide by their standard deviation."""

    @property
    def scales_away_constants(self) -> bool:  # type: ignore[override]
        return self.scale in ("group", "batch") or self.whiten_batch

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if group_size == 1 and (self.baseline != "none" or self.scale == "group"):
            return (
                "a group of one (rollout.group_size=1) has no mean or deviation to compare with, so every advantage "
                "would be 0; use rollout.group_size=2 or more, or algorithm.advantage.baseline=none "
                "algorithm.advantage.scale=none"
            )
        return None

    def __call__(self, batch: Batch) -> Tensor:
        rewards, valid = batch.rewards, batch.valid_BG
        if self.order == "combine":
            advantages = self._one(rewards.total_BG, valid, batch)
        else:
            parts = [
                weight * self._one(rewards.components[name], valid & ~rewards.components[name].isnan(), batch)
                for name, weight in rewards.weights.items()
                if weight
            ]
            # BNPO averages its components, GDPO sums them
            advantages = sum(parts) / (len(parts) if self.scale == "beta" else 1)  # type: ignore[assignment]
        if self.whiten_batch:
            mean = torch.where(valid, advantages, 0.0).sum() / valid.sum().clamp_min(1)
            whitened = (advantages - mean) / (batch_std(advantages, valid) + self.epsilon)
            advantages = torch.where(valid, whitened, 0.0)
        return advantages

    def _one(self, values_BG: Tensor, valid_BG: Tensor, batch: Batch) -> Tensor:
        """Advantages by one component, or by their sum."""
        values = torch.where(valid_BG, values_BG, 0.0)
        advantages = values - baseline_of(values, valid_BG, batch.lengths_BG, self.baseline)
        match self.scale:
            case "group":
                advantages = advantages / (group_std(values, valid_BG) + self.epsilon)
            case "batch":
                advantages = advantages / (batch_std(values, valid_BG) + self.epsilon)
            case "beta":
                weights_B = beta_weights(group_mean(unit_interval(values), valid_BG)[:, 0])
                advantages = advantages * weights_B[:, None]
        if self.baseline != "none":
            advantages = torch.where(is_constant(values, valid_BG)[:, None], 0.0, advantages)
        return torch.where(valid_BG, advantages, 0.0)


@dataclass
class EmaScaled(AdvantageEstimator):
    """A = (r - mean of the group) / (s + 1e-6), s a running standard deviation of the task's rewards.

    OneThinker's EMA-GRPO: each task keeps exponential averages of the mean m and the mean square q of its rewards;
    s = sqrt(max(q - m^2, least^2)). The present step enters before s is used. A group with an advantage beyond the
    guard is divided by its own population standard deviation instead.
    """

    decay: float = 0.99
    """Share of the average that a step keeps."""
    least: float = 1e-3
    """Smallest standard deviation."""
    guard: float = 5.0
    """Largest absolute advantage before a group falls back to its own deviation."""
    moments: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    """Mean and mean square of each task's rewards."""

    scales_away_constants = True

    def __call__(self, batch: Batch) -> Tensor:
        rewards, valid = batch.rewards.total_BG, batch.valid_BG
        values = rewards[valid]
        if len(values):
            new = values.mean().item(), values.square().mean().item()
            old = self.moments.get(batch.task, new)
            first, second = (self.decay * o + (1 - self.decay) * n for o, n in zip(old, new, strict=True))
            self.moments[batch.task] = first, second
        mean, square = self.moments.get(batch.task, (0.0, 0.0))
        std = max(square - mean**2, self.least**2) ** 0.5
        centred = torch.where(valid, rewards - group_mean(rewards, valid), 0.0)
        advantages = centred / (std + GUARD_EPSILON)
        own = (centred.square().sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp_min(1)).sqrt()
        beyond_B1 = (advantages.abs() > self.guard).any(1, keepdim=True)
        advantages = torch.where(beyond_B1, centred / (own + GUARD_EPSILON), advantages)
        return torch.where(is_constant(rewards, valid)[:, None], 0.0, advantages)

    def metrics(self) -> dict[str, Any]:
        return {task: {"mean": mean, "mean_square": square} for task, (mean, square) in self.moments.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"moments": dict(self.moments)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.moments = dict(state["moments"])


@dataclass(frozen=True)
class ForwardCorrected(AdvantageEstimator):
    """A = f - 1 for an answer the rule rejects and f for one it accepts, f the rule's rate of false negatives.

    Noisy verifiers, forward correction (arXiv 2510.00915): in expectation a right answer then weighs 0 and a wrong one
    f + p - 1, p the rate of false positives, which is the clean gradient times 1 - f - p. Only f is needed.
    """

    false_negative: float = required()
    """P(rejected | right), at least 0 and below 1."""

    uses_rewards = False

    def __call__(self, batch: Batch) -> Tensor:
        weights = torch.where(batch.accuracy_BG >= 0.5, self.false_negative, self.false_negative - 1)
        return torch.where(batch.valid_BG, weights, 0.0)


@dataclass(frozen=True)
class Unrewarded(AdvantageEstimator):
    """A = 0: nothing is learnt from rewards, only from regularisers."""

    uses_rewards = False

    def __call__(self, batch: Batch) -> Tensor:
        return torch.zeros_like(batch.rewards.total_BG)
