"""Which groups of a step are trained on. Places of the others are filled with new rows, up to a number of times."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vlmrl.algorithms.advantages import group_std, is_constant
from vlmrl.algorithms.batch import Batch
from vlmrl.algorithms.piece import Piece


class GroupFilter(Piece):
    """(batch) -> bool [B]: groups to train on."""

    max_refills: int
    """How many times a step's free places are filled."""

    @abstractmethod
    def __call__(self, batch: Batch) -> Tensor: ...


@dataclass(frozen=True)
class KeepAll(GroupFilter):
    """Every group."""

    max_refills = 0

    def __call__(self, batch: Batch) -> Tensor:
        return torch.ones(len(batch.valid_BG), dtype=torch.bool)


@dataclass(frozen=True)
class Varying(GroupFilter):
    """Groups whose values differ, by max - min.

    DAPO's dynamic sampling (arXiv 2503.14476). It looks at accuracy: a group of wrong answers of different length has
    shaped rewards that differ, and is still all wrong.
    """

    of: Literal["accuracy", "reward"] = "accuracy"
    """The headline metric, or the reward before it is shaped."""
    max_refills: int = 10
    """How many times a step's free places are filled; what is there after that is trained on."""

    def __call__(self, batch: Batch) -> Tensor:
        values = batch.accuracy_BG if self.of == "accuracy" else batch.rewards.total_BG
        return ~is_constant(values, batch.valid_BG)


@dataclass(frozen=True)
class HighVariance(GroupFilter):
    """Groups whose variance of accuracy reaches a share of the largest possible.

    VCRL (arXiv 2509.19803): the largest unbiased variance of G values in [0, 1] is G / (4 (G - 1)) for even G and
    (G + 1) / (4 G) for odd G.
    """

    early: float = 0.3
    """Least share in the first steps."""
    late: float = 0.8
    """Least share afterwards."""
    early_steps: int = 20
    """How many steps are early."""
    max_refills: int = 1
    """How many times a step's free places are filled."""

    def __call__(self, batch: Batch) -> Tensor:
        least = self.early if batch.step <= self.early_steps else self.late
        return variance_share(batch.accuracy_BG, batch.valid_BG) >= least


def variance_share(accuracy_BG: Tensor, valid_BG: Tensor) -> Tensor:
    """Unbiased variance [B] over the largest possible one; 0 for fewer than two valid members."""
    counts_B = valid_BG.sum(1).double()
    even_B = counts_B / (4 * (counts_B - 1))
    odd_B = (counts_B + 1) / (4 * counts_B)
    largest_B = torch.where(counts_B % 2 == 0, even_B, odd_B)
    return torch.where(counts_B > 1, group_std(accuracy_BG, valid_BG)[:, 0].square() / largest_B, 0.0)
