"""The sampling loop: one token per row and turn, whatever the engine that computes the logits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vlmrl.types import Finish


@dataclass(frozen=True)
class SamplingSettings:
    """How completions are drawn."""

    temperature: float
    """0 takes the most likely token."""
    max_tokens: int


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


def row_seed(*parts: object) -> int:
    """A seed made from the run's seed and everything that tells one row from another."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def sampling_logits(logits: Tensor, banned_V: Tensor, temperature: float) -> Tensor:
    """float32 logits of the distribution that is sampled from: banned tokens removed, divided by the temperature."""
    logits = logits.float().masked_fill(banned_V, -torch.inf)
    return logits / temperature if temperature > 0 else logits


def _pick(logits_NV: Tensor, uniform_N: Tensor) -> Tensor:
    """Inverse-CDF draw: the first token whose cumulative probability exceeds the row's uniform number."""
    cumulative = logits_NV.softmax(-1).cumsum(-1)
    # kept below the total, so that rounding cannot push the draw past the last token with a probability
    target = uniform_N[:, None] * cumulative[:, -1:] * (1 - 1e-6)
    return torch.searchsorted(cumulative, target, right=True)[:, 0]


@torch.no_grad()
def sample_rows(
    decoder: Decoder,
    settings: SamplingSettings,
    seeds: Sequence[int],
    banned_V: Tensor,
    stop_ids: Sequence[int],
) -> list[Completion]:
    """Draws one completion per row. A row's random numbers come from its own seed only, not from its neighbours."""
    device = banned_V.device
    uniforms_NT = torch.stack(
        [torch.rand(settings.max_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    ).to(device)
    stops = torch.tensor(list(stop_ids), device=device)
    running_N = torch.ones(len(seeds), dtype=torch.bool, device=device)
    lengths_N = torch.zeros(len(seeds), dtype=torch.long, device=device)
    entropy_N = torch.zeros(len(seeds), device=device)
    tokens, logprobs = [], []
    for t in range(settings.max_tokens):
        logits_NV = sampling_logits(decoder.logits_NV, banned_V, settings.temperature)
        token_N = _pick(logits_NV, uniforms_NT[:, t]) if settings.temperature > 0 else logits_NV.argmax(-1)
        tokens.append(token_N)
        logp_NV = logits_NV.log_softmax(-1)
        logprobs.append(logp_NV.gather(-1, token_N[:, None])[:, 0])
        entropy_N += torch.where(running_N, torch.special.entr(logp_NV.exp()).sum(-1), 0.0)
        lengths_N += running_N
        running_N = running_N & ~torch.isin(token_N, stops)
        if t + 1 == settings.max_tokens or not running_N.any():
            break
        decoder.advance(token_N)
    tokens_NT = torch.stack(tokens, 1).tolist()
    logprobs_NT = torch.stack(logprobs, 1).tolist()
    rows = zip(lengths_N.tolist(), (entropy_N / lengths_N).tolist(), running_N.tolist(), strict=True)
    return [
        Completion(
            token_ids_T=tokens_NT[row][:length],
            logprobs_T=logprobs_NT[row][:length],
            entropy=entropy,
            finish=Finish.LENGTH if unfinished else Finish.STOP,
        )
        for row, (length, entropy, unfinished) in enumerate(rows)
    ]
