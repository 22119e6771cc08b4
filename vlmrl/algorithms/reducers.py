"""From per-token losses to the scalar that is minimised.

The denominators are those of the whole optimiser step, so the sum over any split into passes is the same number.
"""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor

from vlmrl.algorithms.batch import sequence_sum
from vlmrl.algorithms.piece import Piece


@dataclass(frozen=True)
class StepCounts:
    """Denominators of one optimiser step."""

    sequences: int
    """Rollouts in the step, masked ones included."""
    tokens: int
    """Tokens that take part in the loss."""
    completion_limit: int
    """Longest possible completion."""


class Reducer(Piece):
    """(loss [N, T], mask [N, T], counts of the step) -> this pass's share of the step's loss."""

    @abstractmethod
    def __call__(self, loss_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> Tensor: ...


@dataclass(frozen=True)
class SequenceMean(Reducer):
    """Mean over sequences of their token means: GRPO (arXiv 2402.03300). Of a loss per sequence, its mean (GSPO)."""

    def __call__(self, loss_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> Tensor:
        sums_N = sequence_sum(loss_NT, mask_NT)
        return (sums_N / mask_NT.sum(1).clamp_min(1)).sum() / max(counts.sequences, 1)


@dataclass(frozen=True)
class TokenMean(Reducer):
    """Mean over all tokens of the step: DAPO (arXiv 2503.14476)."""

    def __call__(self, loss_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> Tensor:
        return sequence_sum(loss_NT, mask_NT).sum() / max(counts.tokens, 1)


@dataclass(frozen=True)
class TokenSumConstant(Reducer):
    """Token sums, divided by the number of sequences times a constant: Dr. GRPO (arXiv 2503.20783)."""

    constant: int | None = None
    """Null is rollout.max_completion_tokens; GUI-G1 takes 64."""

    def __call__(self, loss_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> Tensor:
        constant = counts.completion_limit if self.constant is None else self.constant
        return sequence_sum(loss_NT, mask_NT).sum() / (max(counts.sequences, 1) * constant)


@dataclass(frozen=True)
class TokenSum(Reducer):
    """Mean over sequences of their token sums: BNPO."""

    def __call__(self, loss_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> Tensor:
        return sequence_sum(loss_NT, mask_NT).sum() / max(counts.sequences, 1)
