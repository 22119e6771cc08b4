"""The sampling loop: one token per row and turn, whatever the engine that computes the logits."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vlmrl.engine.distribution import NO_TRUNCATION, TokenDistribution, Truncation
from vlmrl.types import Finish

STOP_STRING_INTERVAL = 16
"""Tokens between two searches for stop strings, which need the text. A row is cut where the string ends, so that
searching late costs time but changes nothing."""
COMPACTION_SHARE = 0.75
"""Finished rows are dropped from the decoder when no more than this share of its rows still runs."""

ToText = Callable[[list[int]], str]


@dataclass(frozen=True)
class SamplingSettings:
    """How completions are drawn."""

    temperature: float
    """0 takes the most likely token."""
    max_tokens: int
    truncation: Truncation = NO_TRUNCATION
    stop_strings: tuple[str, ...] = ()
    """A completion ends with the token that completes one of these."""


@dataclass(frozen=True)
class Completion:
    """Sampled tokens of one row, the end-of-turn token included."""

    token_ids_T: list[int]
    logprobs_T: list[float]
    """Log-probability of each token under the distribution it was sampled from."""
    entropy: float
    """Mean entropy (nats) of the distributions the tokens were sampled from."""
    finish: Finish


class Decoder(Protocol):
    """What an engine gives the loop: the logits of the next token of N rows."""

    logits_NV: Tensor

    def advance(self, token_ids_N: Tensor) -> None:
        """Appends one token to every row and computes the next logits."""

    def keep(self, rows_M: Tensor) -> None:
        """Drops all rows but these; their order stays."""


def row_seed(*parts: object) -> int:
    """A seed made from the run's seed and everything that tells one row from another."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def _pick(probabilities_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Inverse-CDF draw: the first token whose cumulative probability exceeds the row's uniform number."""
    cumulative_NV = probabilities_NV.cumsum(-1)
    # kept below the total, so that rounding cannot push the draw past the last token with a probability
    target_N1 = uniform_N[:, None] * cumulative_NV[:, -1:] * (1 - 1e-6)
    return torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0]


def sample_rows(
    decoder: Decoder,
    settings: SamplingSettings,
    seeds: Sequence[int],
    banned_V: Tensor,
    stop_ids: Sequence[int],
    to_text: ToText,
) -> list[Completion]:
    """Draws one completion per row, with gradients turned off by the caller.

    A row's random numbers come from its own seed only, not from its neighbours.
    """
    device = banned_V.device
    size, limit = len(seeds), settings.max_tokens
    distribution = TokenDistribution(banned_V, settings.temperature, settings.truncation)
    uniforms_NT = torch.stack(
        [torch.rand(limit, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ).to(device)  # fmt: skip
    stops = torch.tensor(list(stop_ids), device=device)
    tokens_NT = torch.zeros(size, limit, dtype=torch.long, device=device)
    logprobs_NT, entropy_NT = (torch.zeros(size, limit, device=device) for _ in range(2))
    lengths_N = torch.full((size,), limit, device=device)
    stopped_N = torch.zeros(size, dtype=torch.bool, device=device)
    rows_M = torch.arange(size, device=device)  # the rows the decoder still holds
    for t in range(limit):
        logits_MV = distribution.logits(decoder.logits_NV)
        logp_MV = logits_MV.log_softmax(-1)
        probabilities_MV = logp_MV.exp()
        token_M = _pick(probabilities_MV, uniforms_NT[rows_M, t]) if settings.temperature > 0 else logits_MV.argmax(-1)
        tokens_NT[rows_M, t] = token_M
        logprobs_NT[rows_M, t] = logp_MV.gather(-1, token_M[:, None])[:, 0]
        entropy_NT[rows_M, t] = torch.special.entr(probabilities_MV).sum(-1)
        ended_M = torch.isin(token_M, stops) & ~stopped_N[rows_M]
        lengths_N[rows_M[ended_M]] = t + 1
        stopped_N[rows_M] |= ended_M
        if settings.stop_strings and ((t + 1) % STOP_STRING_INTERVAL == 0 or t + 1 == limit):
            _end_at_strings(tokens_NT[:, : t + 1], lengths_N, stopped_N, settings.stop_strings, to_text)
        running_M = ~stopped_N[rows_M]
        running = int(running_M.sum())
        if t + 1 == limit or not running:
            break
        if running <= COMPACTION_SHARE * len(rows_M):
            kept = running_M.nonzero()[:, 0]
            decoder.keep(kept)
            rows_M, token_M = rows_M[kept], token_M[kept]
        decoder.advance(token_M)
    entropy_N = torch.where(torch.arange(limit, device=device) < lengths_N[:, None], entropy_NT, 0.0).sum(1) / lengths_N
    columns = (tokens_NT, logprobs_NT, entropy_N, lengths_N, stopped_N)
    return [
        Completion(tokens[:length], logprobs[:length], entropy, Finish.STOP if stopped else Finish.LENGTH)
        for tokens, logprobs, entropy, length, stopped in zip(*(c.tolist() for c in columns), strict=True)
    ]


def _end_at_strings(
    tokens_NT: Tensor, lengths_N: Tensor, stopped_N: Tensor, stop_strings: Sequence[str], to_text: ToText
) -> None:
    """Ends rows with the first token that completes a stop string."""
    drawn = tokens_NT.shape[1]
    for row, tokens in enumerate(tokens_NT.tolist()):
        own = tokens[: min(drawn, int(lengths_N[row]))]
        if not any(stop in to_text(own) for stop in stop_strings):
            continue
        end = next(n for n in range(1, len(own) + 1) if any(stop in to_text(own[:n]) for stop in stop_strings))
        lengths_N[row], stopped_N[row] = end, True
