"""From one advantage per rollout to one per token."""

import functools
import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, exp, log2, sqrt
from statistics import fmean

import torch
from scipy.stats import fisher_exact
from torch import Tensor

from vlmrl.algorithms.batch import Tokens
from vlmrl.algorithms.piece import Piece

WHITENING_EPSILON = 1e-8
EXTREME_ADVANTAGE = 10.0


class TokenCredit(Piece):
    """(advantages [N], tokens, rewards of tokens [N, T] or None) -> advantages [N, T], or [N, 1] for one per row."""

    spreads_token_rewards = False
    """Whether it takes rewards of single tokens; otherwise their sums are part of the rollouts' rewards."""

    @abstractmethod
    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor: ...


@dataclass(frozen=True)
class Broadcast(TokenCredit):
    """Every token gets its rollout's advantage."""

    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor:
        return advantages_N[:, None]


@dataclass(frozen=True)
class Whitened(TokenCredit):
    """(A - mean) / sqrt(var + 1e-8) over all tokens of the batch: long completions weigh more.

    REINFORCE++-baseline (arXiv 2501.03262); the variance is unbiased as in verl. With `limit`, values further than
    that from the mean become 0: StableReinforce's 3-sigma filter (2505.02835).
    """

    limit: float | None = None
    """Deviations beyond which a token is left out; null keeps all."""

    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor:
        whitened = whiten(advantages_N[:, None].expand(tokens.mask_NT.shape), tokens.mask_NT)
        if self.limit is None:
            return whitened
        return torch.where(whitened.abs() <= min(self.limit, EXTREME_ADVANTAGE), whitened, 0.0)


def whiten(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Zero mean and unit unbiased variance over the masked tokens; 0 elsewhere, and everywhere for constant values."""
    values = values_NT[mask_NT]
    variance = values.var() if len(values) > 1 else values.new_zeros(())
    mean = values.mean() if len(values) else values.new_zeros(())
    return torch.where(mask_NT, (values_NT - mean) * torch.rsqrt(variance + WHITENING_EPSILON), 0.0)


@dataclass(frozen=True)
class ReturnToGo(TokenCredit):
    """Whitened returns: the rollout's advantage at its last token plus rewards of single tokens, summed from each on.

    REINFORCE++ (arXiv 2501.03262), where the KL is a reward of each token. A discount below 1 fades later rewards.
    """

    discount: float = 1.0
    """Factor per token."""

    spreads_token_rewards = True

    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor:
        mask = tokens.mask_NT
        rewards = torch.zeros(mask.shape, dtype=advantages_N.dtype, device=mask.device)
        if token_rewards_NT is not None:
            rewards = torch.where(mask, token_rewards_NT.to(rewards.dtype), 0.0)
        rows = mask.any(1).nonzero()[:, 0]
        last = tokens.lengths()[rows] - 1
        rewards[rows, last] = rewards[rows, last] + advantages_N[rows]
        returns = torch.zeros_like(rewards)
        running = torch.zeros_like(advantages_N)
        for t in reversed(range(mask.shape[1])):
            running = torch.where(mask[:, t], rewards[:, t] + self.discount * running, 0.0)
            returns[:, t] = running
        return whiten(returns, mask)


@dataclass(frozen=True)
class KeyTokens(TokenCredit):
    """A + the value of the token: how strongly it goes with right answers of the group.

    KTAE (arXiv 2505.16826). For each token id, over the group: with right and wrong answers that do and do not have it,
    f = exp(-2 p) from Fisher's exact test (0 if p = 1), the information gain in bits g, the effect size
    h = arcsin sqrt(right share) - arcsin sqrt(wrong share), and saturated term frequencies F+ and F-. Then
    x = h + F+ / (F- + 1e-5) - F- / (F+ + 1e-5), key = (alpha f + beta g) x / (alpha + beta) and
    value = 2 top (sigmoid(gamma key) - 1/2). Groups that are all right or all wrong get no values.
    """

    alpha: float = 1.0
    """Weight of the test."""
    beta: float = 1.0
    """Weight of the information gain; one script of the authors takes 2 for 7B models."""
    gamma: float = 1.0
    """Steepness."""
    top: float = 1.0
    """Largest value; 0 switches the piece off."""
    saturation: float = 2.0
    """k1 of the term frequency."""
    length_norm: float = 0.5
    """b of the term frequency."""

    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor:
        values = torch.zeros(tokens.ids_NT.shape, dtype=advantages_N.dtype)
        lengths = tokens.lengths().tolist()
        ids = [row[:length] for row, length in zip(tokens.ids_NT.tolist(), lengths, strict=True)]
        correct, group = tokens.correct_N.tolist(), tokens.group_N.tolist()
        for g in dict.fromkeys(group):
            rows = [n for n, of in enumerate(group) if of == g]
            found = self.token_values([ids[n] for n in rows], [correct[n] for n in rows])
            for n in rows:
                # the last token of a whole completion ends the turn and is no content
                content = ids[n] if tokens.truncated_N[n] else ids[n][:-1]
                values[n, : len(content)] = torch.tensor([found.get(i, 0.0) for i in content], dtype=values.dtype)
        return advantages_N[:, None] + values.to(advantages_N.device)

    def token_values(self, completions: Sequence[Sequence[int]], correct: Sequence[bool]) -> dict[int, float]:
        """The value of each token id of a group; empty for a group of one class."""
        if all(correct) or not any(correct):
            return {}
        right = [ids for ids, good in zip(completions, correct, strict=True) if good]
        wrong = [ids for ids, good in zip(completions, correct, strict=True) if not good]
        counts = [Counter(i for ids in rows for i in ids) for rows in (right, wrong)]
        having = [Counter(i for ids in rows for i in set(ids)) for rows in (right, wrong)]
        totals = [sum(map(len, rows)) for rows in (right, wrong)]
        return {
            i: self.value(
                (len(right), having[0][i], counts[0][i], totals[0]), (len(wrong), having[1][i], counts[1][i], totals[1])
            )
            for i in counts[0] | counts[1]
        }

    def value(self, right: tuple[int, int, int, int], wrong: tuple[int, int, int, int]) -> float:
        """The value of one token id. Each class is (answers, answers having it, its count, tokens of the class)."""
        (n_right, a, count_right, total_right), (n_wrong, b, count_wrong, total_wrong) = right, wrong
        p = _fisher(a, n_right, b, n_wrong)
        f = 0.0 if p >= 1 else exp(-2 * p)
        gain = _entropy_bits(n_right, n_wrong) - sum(
            (x + y) / (n_right + n_wrong) * _entropy_bits(x, y) for x, y in ((a, b), (n_right - a, n_wrong - b))
        )
        effect = asin(sqrt(a / n_right)) - asin(sqrt(b / n_wrong))
        average = (total_right + total_wrong) / 2
        tf_right, tf_wrong = (
            self._frequency(count, total, average)
            for count, total in ((count_right, total_right), (count_wrong, total_wrong))
        )
        x = effect + tf_right / (tf_wrong + 1e-5) - tf_wrong / (tf_right + 1e-5)
        key = (self.alpha * f + self.beta * gain) * x / (self.alpha + self.beta)
        return 2 * self.top * (torch.sigmoid(torch.tensor(self.gamma * key, dtype=torch.float64)).item() - 0.5)

    def _frequency(self, count: int, total: int, average: float) -> float:
        k, b = self.saturation, self.length_norm
        return count * (k + 1) / (count + k * (1 - b + b * total / average)) if count else 0.0


@functools.cache
def _fisher(a: int, n_right: int, b: int, n_wrong: int) -> float:
    """p of the two-sided exact test; many tokens of a group share a table."""
    return float(fisher_exact([[a, n_right - a], [b, n_wrong - b]]).pvalue)


def _entropy_bits(x: int, y: int) -> float:
    """Entropy of two counts."""
    return -sum(n / (x + y) * log2(n / (x + y)) for n in (x, y) if n)


@dataclass(frozen=True)
class TreeValues(TokenCredit):
    """(V(n) - V(parent of n)) + V(n) for the tokens of a segment n of a branched group.

    TreeRL (THUDM/TreeRL): the tree's segments lie between branching points. V(n) is the mean advantage of the rollouts
    that run through n, less the mean over all tokens of all rollouts, counted as often as they are run through. A
    segment of the same value as its parent has its parent's credit.
    """

    def __call__(self, advantages_N: Tensor, tokens: Tokens, token_rewards_NT: Tensor | None) -> Tensor:
        credit_NT = torch.zeros(tokens.mask_NT.shape, dtype=advantages_N.dtype)
        group, parent, shared = tokens.group_N.tolist(), tokens.parent_N.tolist(), tokens.shared_N.tolist()
        lengths, values = tokens.lengths().tolist(), advantages_N.tolist()
        for g in dict.fromkeys(group):
            rows = [n for n, of in enumerate(group) if of == g]
            for segment in tree_segments(rows, parent, shared, lengths, values):
                credit_NT[segment.row, segment.start : segment.end] = segment.credit
        return credit_NT.to(advantages_N.device)


@dataclass
class Segment:
    """Tokens between two branching points, in the row they come from."""

    row: int
    start: int
    end: int
    above: "Segment | None"
    """What comes before it; None for the prompt."""
    leaves: list[float]
    """Advantages of the rollouts that run through it."""
    value: float = 0.0
    credit: float = 0.0


def tree_segments(
    rows: Sequence[int],
    parent: Sequence[int],
    shared: Sequence[int],
    lengths: Sequence[int],
    values: Sequence[float],
) -> list[Segment]:
    """The segments of one group with their values and credits; parents stand before their children among `rows`."""
    cuts = {row: {shared[child] for child in rows if parent[child] == row} for row in rows}
    segments: list[Segment] = []
    ends_at: dict[tuple[int, int], Segment | None] = {}
    for row in rows:
        above = ends_at[parent[row], shared[row]] if parent[row] >= 0 else None
        ends_at[row, shared[row]] = above
        inside = sorted(cut for cut in cuts[row] if shared[row] < cut < lengths[row])
        for start, end in itertools.pairwise([shared[row], *inside, lengths[row]]):
            above = Segment(row, start, end, above, [])
            ends_at[row, end] = above
            segments.append(above)
        passed = above
        while passed is not None:
            passed.leaves.append(values[row])
            passed = passed.above
    tokens = [(segment.end - segment.start) * len(segment.leaves) for segment in segments]
    means = [fmean(segment.leaves) for segment in segments]
    overall = sum(n * mean for n, mean in zip(tokens, means, strict=True)) / max(sum(tokens), 1)
    for segment, mean in zip(segments, means, strict=True):
        segment.value = mean - overall
        above = segment.above
        step = segment.value - (above.value if above else fmean(values[row] for row in rows) - overall)
        segment.credit = step + segment.value if step or above is None else above.credit
    return segments
