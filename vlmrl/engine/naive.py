"""The naive engine: every completion is computed with its own copy of the prompt, one row at a time, without sharing.

It follows transformers' ordinary forward (positions computed by the model, no cache, no padding) and is therefore the
oracle that the shared engine is compared with, in tests and at the start of every run. G times the work.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmrl.engine.base import Engine, TokenLogprobs, pad_completions, score_tokens
from vlmrl.engine.sampling import Completion, SamplingSettings, sample_rows
from vlmrl.models.load import Policy
from vlmrl.types import Prompt


def _next_token_logits(policy: Policy, prompt: Prompt, tokens_T: Tensor) -> Tensor:
    """Logits [T + 1, V] that predict each token and the one after them, by an ordinary forward over the whole row."""
    inputs = {key: value.to(policy.device) for key, value in policy.family.extend(prompt, tokens_T.cpu()).items()}
    return policy.forward(**inputs, use_cache=False, logits_to_keep=len(tokens_T) + 1).logits[0]


class NaiveDecoder:
    """Decodes one row by running the whole row again for each token."""

    def __init__(self, policy: Policy, prompt: Prompt) -> None:
        self.policy = policy
        self.prompt = prompt
        self.tokens_T = torch.empty(0, dtype=torch.long)
        self.logits_NV = _next_token_logits(policy, prompt, self.tokens_T)

    def advance(self, token_ids_N: Tensor) -> None:
        self.tokens_T = torch.cat([self.tokens_T, token_ids_N.cpu()])
        self.logits_NV = _next_token_logits(self.policy, self.prompt, self.tokens_T)[-1:]


class NaiveEngine(Engine):
    """The reference computation (`engine.kind=naive`)."""

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Prompt], settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        return [
            [
                sample_rows(
                    NaiveDecoder(self.policy, prompt), settings, [seed], self.policy.banned_V, self.policy.stop_ids
                )[0]
                for seed in group
            ]
            for prompt, group in zip(prompts, seeds, strict=True)
        ]

    def logprobs(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[Sequence[int]]], temperature: float
    ) -> TokenLogprobs:
        ids_NT, mask_NT = pad_completions(completions, self.policy.device)
        rows = [
            _next_token_logits(self.policy, prompt, torch.tensor(list(tokens)))[:-1]
            for prompt, group in zip(prompts, completions, strict=True)
            for tokens in group
        ]
        logits_NTV = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return score_tokens(logits_NTV, ids_NT, mask_NT, self.policy.banned_V, temperature)
