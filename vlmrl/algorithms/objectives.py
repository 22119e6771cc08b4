"""Losses over whole groups, in place of advantages and a surrogate.

A group's loss depends on one score s per rollout. Its gradient is the sum of (d loss / d s) times the gradient of s, so
the factors are computed first, from scores of the whole step without gradient, and each pass then minimises factor
times s. That is exact for any split into passes, as long as scores are computed anew before every optimiser step.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from vlmrl.algorithms.batch import Tokens, sequence_mean
from vlmrl.algorithms.piece import Need, Piece


class GroupObjective(Piece):
    """(scores [B, G], levels [B, G], lengths [B, G], completion limit) -> loss [B], averaged over the step's groups.

    A level ranks an answer: 1 is right, 2 is wrong, 3 was cut at the token limit, 4 is no answer at all.
    """

    @abstractmethod
    def scores(self, logprobs_NT: Tensor, old_NT: Tensor, tokens: Tokens) -> Tensor:
        """The score [N] of each rollout, with gradient."""

    @abstractmethod
    def __call__(self, scores_BG: Tensor, levels_BG: Tensor, lengths_BG: Tensor, completion_limit: int) -> Tensor: ...

    def factors(self, scores_BG: Tensor, levels_BG: Tensor, lengths_BG: Tensor, completion_limit: int) -> Tensor:
        """Derivative [B, G] of the mean loss by each score."""
        with torch.enable_grad():
            scores = scores_BG.detach().requires_grad_()
            loss = self(scores, levels_BG, lengths_BG, completion_limit).mean() + 0.0 * scores.sum()
            return torch.autograd.grad(loss, scores)[0]

    def needs(self) -> frozenset[Need]:
        return frozenset({"now"})


@dataclass(frozen=True)
class Discriminative(GroupObjective):
    """-(mean s of right answers - temperature * ln mean exp(s / temperature) of wrong ones), where both exist.

    DisCO (arXiv 2505.12366). DRPO (2510.04474) sets length_temperature: right answers of length L weigh
    exp((1 - L / limit) / length_temperature), among themselves only. With `basic` the wrong ones count by their mean,
    and for s = mean log-prob the gradient is REINFORCE's with A = 1 / right, -1 / wrong.
    """

    score: Literal["log", "ratio"] = "log"
    """s is the mean over tokens of log p, or of the ratio to the old policy."""
    temperature: float = 10.0
    """How much the likeliest wrong answers dominate: 10 for log, 1 for ratio."""
    basic: bool = False
    """DisCO-b: the plain mean over wrong answers."""
    length_temperature: float | None = None
    """DRPO: 0.1; null weighs right answers alike."""

    def scores(self, logprobs_NT: Tensor, old_NT: Tensor, tokens: Tokens) -> Tensor:
        values = logprobs_NT if self.score == "log" else (logprobs_NT - old_NT).exp()
        return sequence_mean(values, tokens.mask_NT)

    def __call__(self, scores_BG: Tensor, levels_BG: Tensor, lengths_BG: Tensor, completion_limit: int) -> Tensor:
        right, wrong = levels_BG == 1, levels_BG > 1
        both_B = right.any(1) & wrong.any(1)
        weights = torch.where(right, 0.0, -torch.inf)
        if self.length_temperature is not None:
            weights = weights + (1 - lengths_BG / completion_limit) / self.length_temperature
        # groups without both classes are masked before the softmax and the logarithm, whose gradients would be NaN
        shares = torch.where(both_B[:, None], weights, 0.0).softmax(1).to(scores_BG.dtype)
        good_B = (shares * scores_BG).sum(1)
        if self.basic:
            bad_B = torch.where(wrong, scores_BG, 0.0).sum(1) / wrong.sum(1).clamp_min(1)
        else:
            scaled = torch.where(wrong | ~both_B[:, None], scores_BG / self.temperature, -torch.inf)
            bad_B = self.temperature * (scaled.logsumexp(1) - wrong.sum(1).clamp_min(1).log())
        return torch.where(both_B, bad_B - good_B, 0.0)


@dataclass(frozen=True)
class PairwisePreference(GroupObjective):
    """Mean over pairs with level(i) < level(j) of -ln sigmoid(k beta (s_i - s_j)), k = `boost` if level(i) is 1 else 1.

    TRPA (arXiv 2504.04524): s is the mean over tokens of log p - log p_reference. A group of one level has
    -ln sigmoid(beta s) for right answers and -ln sigmoid(-beta s) for others.
    """

    beta: float = 0.1
    """Scale of the score differences."""
    boost: float = 2.5
    """Extra scale of pairs whose better answer is right."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"now", "reference"})

    def scores(self, logprobs_NT: Tensor, old_NT: Tensor, tokens: Tokens) -> Tensor:
        assert tokens.reference_NT is not None
        return sequence_mean(logprobs_NT - tokens.reference_NT, tokens.mask_NT)

    def __call__(self, scores_BG: Tensor, levels_BG: Tensor, lengths_BG: Tensor, completion_limit: int) -> Tensor:
        better_BGG = levels_BG[:, :, None] < levels_BG[:, None, :]
        k_BG1 = torch.where(levels_BG == 1, self.boost, 1.0)[:, :, None].to(scores_BG.dtype)
        pair_BGG = -logsigmoid(k_BG1 * self.beta * (scores_BG[:, :, None] - scores_BG[:, None, :]))
        pairs_B = better_BGG.sum((1, 2))
        mean_B = torch.where(better_BGG, pair_BGG, 0.0).sum((1, 2)) / pairs_B.clamp_min(1)
        alone_B = -logsigmoid(self.beta * torch.where(levels_BG == 1, scores_BG, -scores_BG)).mean(1)
        return torch.where(pairs_B > 0, mean_B, alone_B)
