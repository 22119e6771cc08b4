"""The distribution completions are drawn from, used alike when they are scored."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Truncation:
    """Which tokens may be drawn. What remains is renormalised, and log-probs are those of the renormalised rest."""

    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the smallest set of most likely tokens whose probabilities reach this sum."""
    min_p: float = 0.0
    """Keep tokens at least this likely relative to the most likely one."""

    @property
    def active(self) -> bool:
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0

    def floor(self, logits_NV: Tensor) -> Tensor:
        """Smallest logit [N, 1] that is kept. The three rules apply one after the other, each to what is left."""
        ordered_NV = logits_NV.sort(-1, descending=True).values
        rank_V = torch.arange(logits_NV.shape[-1], device=logits_NV.device)
        if self.top_k > 0:
            ordered_NV = ordered_NV.masked_fill(rank_V >= self.top_k, -torch.inf)
        if self.top_p < 1:
            probability_NV = ordered_NV.softmax(-1)
            before_NV = probability_NV.cumsum(-1) - probability_NV
            ordered_NV = ordered_NV.masked_fill((before_NV >= self.top_p) & (rank_V > 0), -torch.inf)
        if self.min_p > 0:
            too_rare_NV = (ordered_NV - ordered_NV[:, :1]).exp() < self.min_p
            ordered_NV = ordered_NV.masked_fill(too_rare_NV, -torch.inf)
        return ordered_NV.masked_fill(ordered_NV == -torch.inf, torch.inf).amin(-1, keepdim=True)


NO_TRUNCATION = Truncation()


@dataclass(frozen=True)
class TokenDistribution:
    """Turns the model's logits into the distribution that tokens are drawn from and scored under."""

    banned_V: Tensor
    """bool: tokens that have probability zero."""
    temperature: float
    """0 means the most likely token; its log-prob is that of temperature 1."""
    truncation: Truncation = NO_TRUNCATION

    def logits(self, raw_NV: Tensor, drawn_N: Tensor | None = None) -> Tensor:
        """float32 logits, -inf where a token cannot be drawn.

        `drawn_N` are tokens known to have been drawn: they stay even if rounding has moved the edge of the kept set.
        """
        logits_NV = raw_NV.float().masked_fill(self.banned_V, -torch.inf)
        if self.temperature not in (0, 1):
            logits_NV = logits_NV / self.temperature
        if not self.truncation.active:
            return logits_NV
        dropped_NV = logits_NV < self.truncation.floor(logits_NV.detach())
        if drawn_N is not None:
            dropped_NV = dropped_NV.scatter(1, drawn_N[:, None], False)
        return logits_NV.masked_fill(dropped_NV, -torch.inf)

    def score(self, raw_NV: Tensor, ids_N: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of each token and, without gradient, the entropy (nats) of its distribution."""
        logp_NV = self.logits(raw_NV, ids_N).log_softmax(-1)
        plain_NV = logp_NV.detach()
        return logp_NV.gather(-1, ids_N[:, None])[:, 0], entropy(plain_NV, plain_NV.exp())


def entropy(logp_NV: Tensor, probabilities_NV: Tensor) -> Tensor:
    """Entropy [N] in nats. Tokens of probability 0 add nothing: their log-probability is -inf, and 0 times it NaN."""
    return -torch.linalg.vecdot(probabilities_NV, logp_NV.clamp(min=torch.finfo(logp_NV.dtype).min))
