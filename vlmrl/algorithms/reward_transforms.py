"""Changes of rewards before advantages are taken."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vlmrl.algorithms.batch import Batch, Rewards, masked_mean
from vlmrl.algorithms.piece import Need, Piece, required

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm

OVERLONG_SHARE = 0.2
"""DAPO lowers the reward over the last 4096 of 20480 tokens."""
NO_CONTRAST_ABOVE, NO_CONTRAST_BELOW = 0.9, 0.1


class RewardTransform(Piece):
    """(rewards, batch) -> rewards."""

    common_factor = False
    """Whether all it does is to scale and shift every reward alike, which a normalised advantage undoes."""

    @abstractmethod
    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards: ...


@dataclass(frozen=True)
class SoftOverlong(RewardTransform):
    """r + factor * clip((limit - buffer - L) / buffer, -1, 0): a long completion of L tokens loses up to `factor`.

    DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13); limit is rollout.max_completion_tokens.
    """

    buffer: int | None = None
    """Tokens before the limit over which the reward falls; null is a fifth of the limit."""
    factor: float = 1.0
    """What a completion at the limit loses."""

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if self.buffer is not None and not 0 < self.buffer < completion_limit:
            return f"buffer={self.buffer} must be above 0 and below rollout.max_completion_tokens={completion_limit}"
        return None

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        limit = batch.completion_limit
        buffer = round(OVERLONG_SHARE * limit) if self.buffer is None else self.buffer
        return rewards.plus("overlong", self.factor * soft_overlong(batch.lengths_BG, limit, buffer))


def soft_overlong(lengths_BG: Tensor, limit: int, buffer: int) -> Tensor:
    """What a completion loses, in [-1, 0]: 0 up to limit - buffer tokens, then linearly down to -1 at the limit."""
    return ((limit - buffer - lengths_BG) / buffer).clamp(-1, 0)


@dataclass(frozen=True)
class TemporalBonus(RewardTransform):
    """r + bonus for every right answer of a group that is not worse than its contrast arm: p >= ratio * p'.

    T-GRPO (Video-R1, arXiv 2503.21776): p is the mean accuracy on the frames in order, p' on the same frames shuffled.
    A right answer has an accuracy above the threshold. Groups without a contrast arm get nothing.
    """

    bonus: float = 0.3
    """What a right answer gets; 0 switches the piece off."""
    ratio: float = 0.8
    """How much of the contrast arm's accuracy suffices."""
    threshold: float = 0.1
    """Accuracy above which an answer counts as right."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"contrast"})

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        assert batch.contrast_accuracy_B is not None
        # a comparison with NaN, where there is no contrast arm, is false
        earns_B = masked_mean(batch.accuracy_BG, batch.valid_BG) >= self.ratio * batch.contrast_accuracy_B
        earns_BG = earns_B[:, None] & (batch.accuracy_BG > self.threshold)
        return rewards.plus("temporal", torch.where(earns_BG, self.bonus, 0.0).double())


@dataclass(frozen=True)
class LengthWindow(RewardTransform):
    """r + bonus for a right answer of low to high tokens, in groups with more than one right answer.

    Video-R1's length reward (arXiv 2503.21776).
    """

    bonus: float = 0.2
    """What such an answer gets; 0 switches the piece off."""
    low: int = 320
    """Fewest tokens."""
    high: int = 512
    """Most tokens."""

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        inside = (batch.lengths_BG >= self.low) & (batch.lengths_BG <= self.high)
        several_B = batch.right().sum(1) > 1
        earns = batch.right() & inside & several_B[:, None]
        return rewards.plus("length", torch.where(earns, self.bonus, 0.0).double())


@dataclass(frozen=True)
class TrustedThoughts(RewardTransform):
    """r + alpha * exp(-step / decay_steps) * g * t, with t the judge's score of the thoughts in [0, 1].

    Trust-GRPO (SophiaVL-R1, arXiv 2505.17018). g is 1 where right answers have the better thoughts on average, else
    exp(mean t of the right - mean t of the wrong). t counts as 0 for accuracies below 0.2, and for a whole group whose
    accuracies are all at least 0.9 or all at most 0.1.
    """

    alpha: float = 0.3
    """Weight of the judge's score; 0 switches the piece off."""
    decay_steps: float = 12000.0
    """Steps after which the weight has fallen to 1/e."""
    least_accuracy: float = 0.2
    """Below this accuracy the judge's score counts as 0."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"judge"})

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        assert batch.judged_BG is not None
        accuracy, valid = batch.accuracy_BG, batch.valid_BG
        judged = torch.where(accuracy >= self.least_accuracy, batch.judged_BG, 0.0)
        trust_B = trust(judged, batch.right(), batch.wrong())
        one_sided_B = ((accuracy >= NO_CONTRAST_ABOVE) | ~valid).all(1) | (
            (accuracy <= NO_CONTRAST_BELOW) | ~valid
        ).all(1)
        weight = self.alpha * math.exp(-batch.step / self.decay_steps)
        return rewards.plus("thoughts", weight * torch.where(one_sided_B, 0.0, trust_B)[:, None] * judged)


def trust(judged_BG: Tensor, correct_BG: Tensor, wrong_BG: Tensor) -> Tensor:
    """Trust-GRPO's weight [B]; 1 for one-sided groups."""
    difference_B = masked_mean(judged_BG, correct_BG) - masked_mean(judged_BG, wrong_BG)
    return difference_B.nan_to_num(0.0).clamp_max(0).exp()


@dataclass(frozen=True)
class Consistency(RewardTransform):
    """r + weight * accuracy * s, with s from the judge: 1 if the thoughts agree with the answer, 0 or -1 if not.

    StableReinforce (R1-Reward, arXiv 2505.02835), whose reward is 0.5 * format + accuracy * (1 + 0.5 * s).
    """

    weight: float = 0.5
    """Weight of the judge's score; 0 switches the piece off."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"judge"})

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        assert batch.judged_BG is not None
        return rewards.plus("consistency", self.weight * batch.accuracy_BG * batch.judged_BG)


@dataclass(frozen=True)
class RankedLength(RewardTransform):
    """In the share of groups with the highest accuracy, r = 1 - alpha * sigmoid(z) if right, else 0.

    GRPO-lambda (arXiv 2505.18086): z is the length's z-score (population deviation) among the group's right answers; 0
    where they are all of one length. Other groups keep their rewards. Groups of equal accuracy rank in their order.
    """

    alpha: float = required()
    """What the longest right answer loses. The paper's value is not known; a re-implementation takes 0.6."""
    share: float = 0.2
    """Share of the groups, rounded up, that length is counted in; 0 switches the piece off."""

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        accuracy_B = masked_mean(batch.accuracy_BG, batch.valid_BG).nan_to_num(-1.0)
        best = accuracy_B.argsort(descending=True, stable=True)[: math.ceil(self.share * len(accuracy_B))]
        if not len(best):
            return rewards
        right = batch.right()
        mean = masked_mean(batch.lengths_BG, right)[:, None]
        std = masked_mean((batch.lengths_BG - mean).square(), right).sqrt()[:, None]
        z = torch.where(std > 0, (batch.lengths_BG - mean) / std, 0.0)
        by_length = torch.where(right, 1 - self.alpha * z.sigmoid(), 0.0)
        chosen_B = torch.zeros(len(accuracy_B), dtype=torch.bool).index_fill(0, best, True)
        return Rewards.only("length", torch.where(chosen_B[:, None], by_length, rewards.total_BG))


@dataclass(frozen=True)
class BackwardCorrected(RewardTransform):
    """(r - p) / (1 - p - f): unbiased where the rule accepts wrong answers with probability p and rejects right ones
    with probability f.

    Noisy verifiers, backward correction (arXiv 2510.00915). It is one affine map for all rewards, so an advantage that
    is divided by a deviation undoes it.
    """

    false_positive: float = required()
    """P(accepted | wrong)."""
    false_negative: float = required()
    """P(rejected | right)."""

    common_factor = True

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if self.false_positive + self.false_negative >= 1:
            return "false_positive + false_negative must be below 1, or the rule says nothing"
        return None

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        slope = 1 - self.false_positive - self.false_negative
        return Rewards.only("corrected", (rewards.total_BG - self.false_positive) / slope)


@dataclass(frozen=True)
class NegativeEntropy(RewardTransform):
    """r = -mean entropy of the completion's tokens, and `no_answer` where no answer was found: no labels are used.

    RENT (arXiv 2505.22660).
    """

    no_answer: float = -7.0
    """Reward of a completion without an answer."""

    def __call__(self, rewards: Rewards, batch: Batch) -> Rewards:
        return Rewards.only("entropy", torch.where(batch.parsed_BG, -batch.entropy_BG, self.no_answer))
