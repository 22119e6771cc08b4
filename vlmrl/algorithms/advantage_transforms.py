"""What happens to advantages after they were estimated: weights of whole groups."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vlmrl.algorithms.advantages import is_constant
from vlmrl.algorithms.batch import Batch, masked_mean
from vlmrl.algorithms.piece import Piece


class AdvantageTransform(Piece):
    """(advantages [B, G], batch) -> advantages [B, G]."""

    @abstractmethod
    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor: ...


@dataclass(frozen=True)
class DifficultyWeight(AdvantageTransform):
    """A times a weight that falls with the group's mean accuracy a.

    UniVG-R1 (arXiv 2505.14231), whose a is the mean IoU: exp(1 - a) is the form it trains with; linear is 1.05 - a and
    log -log(0.02 + a), which is cut at 0.
    """

    form: Literal["exponential", "linear", "log"] = "exponential"
    """How the weight falls."""
    component: str | None = None
    """Reward component that is the accuracy; null is the headline metric."""

    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor:
        accuracy, valid = batch.accuracy_BG, batch.valid_BG
        if self.component is not None:
            accuracy = batch.component(self.component)
            valid = valid & ~accuracy.isnan()
        return advantages_BG * difficulty_weight(masked_mean(accuracy, valid), self.form)[:, None]


def difficulty_weight(accuracy_B: Tensor, form: Literal["exponential", "linear", "log"]) -> Tensor:
    """UniVG-R1's weights [B]; 1 for a group without valid members."""
    match form:
        case "exponential":
            weights = (1 - accuracy_B).exp()
        case "linear":
            weights = 1.05 - accuracy_B
        case "log":
            weights = -(0.02 + accuracy_B).log()
    return weights.clamp_min(0).nan_to_num(1.0)


@dataclass(frozen=True)
class RowWeight(AdvantageTransform):
    """A times the row's own number `weight`, 1 where the row has none (`Sample.extra`).

    GUI-G1's difficulty factor (arXiv 2505.15810), which its data carries; how its authors computed it was not
    published.
    """

    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor:
        if batch.sample_weight_B is None:
            return advantages_BG
        return advantages_BG * batch.sample_weight_B.nan_to_num(1.0)[:, None]


@dataclass(frozen=True)
class LengthAdvantage(AdvantageTransform):
    """A times `without` in groups whose longest right answer is not longer than its wrong ones on average.

    ADORA. Truncated answers do not count among the wrong ones. A group without wrong answers keeps its advantages for
    text models and not for vision-language models; one without right answers the other way round.
    """

    without: float = 0.1
    """Weight of a group without length advantage; 1 switches the piece off."""
    variant: Literal["vision", "text"] = "vision"
    """Which of the two published rules decides one-sided groups."""

    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor:
        lengths, right = batch.lengths_BG, batch.right()
        wrong = batch.wrong() & ~batch.truncated_BG
        longest_B = torch.where(right, lengths.double(), -torch.inf).amax(1)
        longer_B = longest_B > masked_mean(lengths, wrong)
        text = self.variant == "text"
        longer_B = torch.where(wrong.any(1), longer_B, torch.full_like(longer_B, text))
        longer_B = torch.where(right.any(1), longer_B, torch.full_like(longer_B, not text))
        return advantages_BG * torch.where(longer_B, 1.0, self.without)[:, None]


@dataclass(frozen=True)
class UndoDilution(AdvantageTransform):
    """A times min(B / number of groups whose rewards differ, limit): constant groups no longer dilute a step.

    An option of CPGD (arXiv 2505.12504); GPG rescales likewise, without a limit.
    """

    limit: float = 3.0
    """Largest factor."""

    def __call__(self, advantages_BG: Tensor, batch: Batch) -> Tensor:
        varying = int((~is_constant(batch.rewards.total_BG, batch.valid_BG)).sum())
        return advantages_BG * min(len(advantages_BG) / max(varying, 1), self.limit)
