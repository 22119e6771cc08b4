"""The sampling loop: one token per row and turn, whatever the engine that computes the logits."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vlmrl.engine.distribution import NO_TRUNCATION, TokenDistribution, Truncation, entropy
from vlmrl.types import Finish

STOP_STRING_INTERVAL = 16
"""Tokens between two searches for stop strings, which need the text. A row is cut where the string ends, so that
searching late costs time but changes nothing."""
COMPACTION_SHARE = 0.75
"""Finished rows are dropped from the decoder when no more than this share of its rows still runs."""

ToText = Callable[[list[int]], str]
Turn = tuple[Tensor, Tensor, Tensor, Tensor]
"""What one turn draws: the rows the decoder held, their tokens, log-probs and entropies."""


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
    uniforms_MT = torch.stack(
        [torch.rand(limit, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ).to(device)  # fmt: skip
    stops = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
    rows_M = torch.arange(size, device=device)  # the rows the decoder still holds
    running_M = torch.ones(size, dtype=torch.bool, device=device)
    turns: list[Turn] = []
    for t in range(limit):
        logits_MV = distribution.logits(decoder.logits_NV)
        logp_MV = logits_MV.log_softmax(-1)
        probabilities_MV = logp_MV.exp()
        token_M = _pick(probabilities_MV, uniforms_MT[:, t]) if settings.temperature > 0 else logits_MV.argmax(-1)
        logprob_M = logp_MV.gather(-1, token_M[:, None])[:, 0]
        turns.append((rows_M, token_M, logprob_M, entropy(logp_MV, probabilities_MV)))
        running_M = running_M & ~torch.isin(token_M, stops)
        if settings.stop_strings and (t + 1) % STOP_STRING_INTERVAL == 0:
            texts = map(to_text, _table(turns, 1, size)[rows_M].tolist())
            ended = [any(stop in text for stop in settings.stop_strings) for text in texts]
            running_M &= ~torch.tensor(ended, device=device)
        running = int(running_M.sum())
        if t + 1 == limit or not running:
            break
        if running <= COMPACTION_SHARE * len(rows_M):
            kept = running_M.nonzero()[:, 0]
            decoder.keep(kept)
            rows_M, token_M, running_M, uniforms_MT = (x[kept] for x in (rows_M, token_M, running_M, uniforms_MT))
        decoder.advance(token_M)
    return _completions(turns, size, stops, settings.stop_strings, to_text)


def _table(turns: Sequence[Turn], column: int, size: int) -> Tensor:
    """A column of all turns as one table [N, T], 0 where a row was no longer held."""
    turn_of = [torch.full_like(turn[0], t) for t, turn in enumerate(turns)]
    values = torch.cat([turn[column] for turn in turns])
    table_NT = values.new_zeros(size, len(turns))
    table_NT[torch.cat([turn[0] for turn in turns]), torch.cat(turn_of)] = values
    return table_NT


def _completions(
    turns: Sequence[Turn], size: int, stops: Tensor, stop_strings: Sequence[str], to_text: ToText
) -> list[Completion]:
    """Every row up to the first token that is a stop token or completes a stop string."""
    tokens_NT, logprobs_NT, entropy_NT = (_table(turns, column, size) for column in (1, 2, 3))
    held_N = torch.bincount(torch.cat([turn[0] for turn in turns]), minlength=size)
    turn_T = torch.arange(len(turns), device=stops.device)
    ended_NT = torch.isin(tokens_NT, stops) & (turn_T < held_N[:, None])
    stopped_N = ended_NT.any(1)
    lengths_N = torch.where(stopped_N, ended_NT.int().argmax(1) + 1, held_N)
    for row, tokens in enumerate(tokens_NT.tolist() if stop_strings else ()):
        own = tokens[: int(lengths_N[row])]
        if any(stop in to_text(own) for stop in stop_strings):
            end = next(n for n in range(1, len(own) + 1) if any(stop in to_text(own[:n]) for stop in stop_strings))
            lengths_N[row], stopped_N[row] = end, True
    entropy_N = torch.where(turn_T < lengths_N[:, None], entropy_NT, 0.0).sum(1) / lengths_N
    columns = (tokens_NT, logprobs_NT, entropy_N, lengths_N, stopped_N)
    return [
        Completion(tokens[:length], logprobs[:length], entropy, Finish.STOP if stopped else Finish.LENGTH)
        for tokens, logprobs, entropy, length, stopped in zip(*(c.tolist() for c in columns), strict=True)
    ]
