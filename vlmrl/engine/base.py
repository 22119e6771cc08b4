"""What an engine computes: completions of prompts, and the log-probabilities of completions with gradient."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmrl.engine.sampling import Completion, SamplingSettings, sampling_logits
from vlmrl.models.load import Policy
from vlmrl.types import Prompt


@dataclass(frozen=True)
class TokenLogprobs:
    """Scores of the completions' tokens, right-padded; rows are prompts times members, in order."""

    logprobs_NT: Tensor
    """Log-probability of each token, with gradient; 0 on padding."""
    mask_NT: Tensor
    """bool: true on tokens, false on padding."""


class Engine(ABC):
    """Runs one policy. Sampling and scoring use the same distribution: banned tokens removed, tempered."""

    def __init__(self, policy: Policy, max_tokens_per_pass: int) -> None:
        self.policy = policy
        self.max_tokens_per_pass = max_tokens_per_pass

    @abstractmethod
    def sample(
        self, prompts: Sequence[Prompt], settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """One completion per seed for every prompt; `seeds[p]` holds the row seeds of prompt p, all of one length G."""

    @abstractmethod
    def logprobs(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[Sequence[int]]], temperature: float
    ) -> TokenLogprobs:
        """Scores the token ids `completions[p][g]` after prompt p, in one pass, with gradient if grad is enabled."""

    def passes(self, prompts: Sequence[Prompt], group_size: int, completion_tokens: int) -> Iterator[slice]:
        """Slices of `prompts` whose token rows (padded prompt + G completions each) stay under the budget.

        A single prompt over the budget is a pass of its own: a group is never split.
        """
        start, longest = 0, 0
        for i, prompt in enumerate(prompts):
            wider = max(longest, len(prompt.token_ids_P))
            rows = (i + 1 - start) * (wider + group_size * completion_tokens)
            if i > start and rows > self.max_tokens_per_pass:
                yield slice(start, i)
                start, wider = i, len(prompt.token_ids_P)
            longest = wider
        if start < len(prompts):
            yield slice(start, len(prompts))


def pad_completions(completions: Sequence[Sequence[Sequence[int]]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids [N, T] of all completions, right-padded with 0, and the mask of real tokens."""
    rows = [torch.tensor(list(tokens), dtype=torch.long) for group in completions for tokens in group]
    ids_NT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    lengths_N = torch.tensor([len(row) for row in rows], device=device)
    return ids_NT, torch.arange(ids_NT.shape[1], device=device) < lengths_N[:, None]


def score_tokens(
    logits_NTV: Tensor, ids_NT: Tensor, mask_NT: Tensor, banned_V: Tensor, temperature: float
) -> TokenLogprobs:
    """Log-probability of every token from the logits that predict it."""
    logp_NTV = sampling_logits(logits_NTV, banned_V, temperature).log_softmax(-1)
    logprobs_NT = logp_NTV.gather(-1, ids_NT[..., None])[..., 0]
    # where, not multiplication: a banned id on padding has log-probability -inf
    return TokenLogprobs(torch.where(mask_NT, logprobs_NT, 0.0), mask_NT)
