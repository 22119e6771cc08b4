"""The naive engine: every completion is computed with its own copy of the prompt, one row at a time, without sharing.

It follows transformers' ordinary forward (positions computed by the model, no cache, no padding) and is therefore the
oracle that the shared engine is compared with, in tests and at the start of every run. G times the work.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlmrl.engine.base import Engine, PromptState
from vlmrl.engine.distribution import Truncation
from vlmrl.engine.sampling import Completion, SamplingSettings, sample_rows
from vlmrl.engine.scoring import TokenLogprobs, as_rows, pad_completions, score_logits
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

    def keep(self, rows_M: Tensor) -> None:
        """A single row is never dropped while it runs."""


class NaiveEngine(Engine):
    """The reference computation (`engine.kind=naive`)."""

    def prompt_pass(self, prompts: Sequence[Prompt], again: bool = False) -> PromptState:
        return PromptState(prompts)

    @torch.no_grad()
    def decode(
        self, state: PromptState, settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        policy = self.policy
        with policy.keeping_activations():
            return [
                [
                    sample_rows(
                        NaiveDecoder(policy, prompt),
                        settings,
                        [seed],
                        policy.banned_V,
                        policy.stop_ids,
                        policy.family.tokenizer.decode,
                    )[0]
                    for seed in group
                ]
                for prompt, group in zip(state.prompts, seeds, strict=True)
            ]

    def score(
        self,
        state: PromptState,
        rows: Sequence[int],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float,
        truncation: Truncation,
        keep_logits: bool = False,
    ) -> TokenLogprobs:
        ids_NT, mask_NT = pad_completions(completions, self.policy.device)
        logits_RV = torch.cat(
            [
                _next_token_logits(self.policy, state.prompts[row], torch.tensor(list(tokens), dtype=torch.long))[:-1]
                for row, group in zip(rows, completions, strict=True)
                for tokens in group
            ]
        )
        scores = score_logits(logits_RV, ids_NT[mask_NT], self.distribution(temperature, truncation), keep_logits)
        return as_rows(*scores, mask_NT)
