"""Log-probability and entropy of completion tokens from the hidden states that predict them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vlmrl.engine.distribution import TokenDistribution

CHUNK_ELEMENTS = 2**25
"""Logits (tokens times vocabulary) computed at a time: 128 MiB in float32."""


@dataclass(frozen=True)
class TokenLogprobs:
    """Scores of the completions' tokens, right-padded; rows are prompts times members, in order."""

    logprobs_NT: Tensor
    """Log-probability of each token, with gradient; 0 on padding."""
    entropy_NT: Tensor
    """Entropy (nats) of the distribution each token was drawn from, without gradient; 0 on padding."""
    mask_NT: Tensor
    """bool: true on tokens, false on padding."""
    logits_RV: Tensor | None = None
    """Logits of the distributions the R real tokens were drawn from, row after row, with gradient; only on request."""


def pad_completions(completions: Sequence[Sequence[Sequence[int]]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [N, T] of all completions, right-padded with 0, and the mask of real tokens."""
    rows = [torch.tensor(list(tokens), dtype=torch.long) for group in completions for tokens in group]
    ids_NT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    lengths_N = torch.tensor([len(row) for row in rows], device=device)
    return ids_NT, torch.arange(ids_NT.shape[1], device=device) < lengths_N[:, None]


def score_hidden(
    hidden_RH: Tensor,
    ids_R: Tensor,
    head: Callable[[Tensor], Tensor],
    distribution: TokenDistribution,
    keep_logits: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Log-probs, entropies and, if they are kept, logits of R tokens from the hidden states that predict them; `head`
    makes the logits.

    If the logits do not fit in one chunk and are not kept, each chunk's are computed again in the backward pass, so
    that no more than one chunk is ever alive. A chunk is some tokens and the whole vocabulary, because truncation ranks
    all of it.
    """

    def score(hidden_RH: Tensor, ids_R: Tensor) -> tuple[Tensor, Tensor]:
        return distribution.score(head(hidden_RH), ids_R)

    if keep_logits:
        return score_logits(head(hidden_RH), ids_R, distribution, keep_logits)
    rows = max(1, CHUNK_ELEMENTS // len(distribution.banned_V))
    if len(ids_R) <= rows:
        return *score(hidden_RH, ids_R), None
    chunks = [
        checkpoint(score, hidden, ids, use_reentrant=False, preserve_rng_state=False)
        for hidden, ids in zip(hidden_RH.split(rows), ids_R.split(rows), strict=True)
    ]
    logprobs_R, entropy_R = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    return logprobs_R, entropy_R, None


def score_logits(
    raw_RV: Tensor, ids_R: Tensor, distribution: TokenDistribution, keep_logits: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `score_hidden`, from the model's logits."""
    return *distribution.score(raw_RV, ids_R), distribution.logits(raw_RV, ids_R) if keep_logits else None


def as_rows(logprobs_R: Tensor, entropy_R: Tensor, logits_RV: Tensor | None, mask_NT: Tensor) -> TokenLogprobs:
    """Scores of the real tokens, row after row, put back where they belong."""
    blank_NT = logprobs_R.new_zeros(mask_NT.shape)
    return TokenLogprobs(
        blank_NT.masked_scatter(mask_NT, logprobs_R), blank_NT.masked_scatter(mask_NT, entropy_R), mask_NT, logits_RV
    )
