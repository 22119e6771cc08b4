"""The shared-prompt engine: a group's prompt is computed once, exactly, through the model's own cache argument.

Two passes on unmodified transformers models. The prompt pass gives every layer's keys and values; the branches' pass
continues from them, G rows per prompt. With gradients on, autograd flows from the branches into the prompt, so
log-probs and gradients equal those of the naive G x (P + C) computation to float rounding
(tests/engine/test_exactness.py).
The method is known for text: PrefixGrouper (arXiv 2506.05433), flash-preference, Hydragen (arXiv 2402.05099).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmrl.engine.base import Engine, TokenLogprobs, pad_completions, score_tokens
from vlmrl.engine.cache import TwoSlotCache
from vlmrl.engine.sampling import Completion, SamplingSettings, sample_rows
from vlmrl.models.load import Policy
from vlmrl.types import Prompt


@dataclass(frozen=True)
class PromptState:
    """What a prompt pass leaves behind for the branches of B prompts."""

    cache: TwoSlotCache
    mask_BP: Tensor
    """1 on prompt tokens, 0 on left padding."""
    next_position_B: Tensor
    """Position of the first completion token."""
    first_logits_BV: Tensor
    """Logits of the first completion token: the same for all members of a group."""


def prompt_pass(policy: Policy, prompts: Sequence[Prompt]) -> PromptState:
    """Encodes the pictures of B prompts and runs the language model over the prompts, each once."""
    inputs = {key: value.to(policy.device) for key, value in policy.family.collate(prompts).items()}
    positions, next_position_B = policy.family.positions(policy.model, inputs)
    text_config = policy.model.config.get_text_config(decoder=True)
    cache = TwoSlotCache.empty(text_config)
    output = policy.forward(**inputs, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return PromptState(cache, inputs["attention_mask"], next_position_B, output.logits[:, -1])


class BranchDecoder:
    """Decodes `group_size` branches of every prompt from one prompt state."""

    def __init__(self, policy: Policy, state: PromptState, group_size: int) -> None:
        self.policy = policy
        self.cache = state.cache.branch(group_size)
        self.mask_NS = state.mask_BP.repeat_interleave(group_size, 0)
        self.position_N = state.next_position_B.repeat_interleave(group_size, 0)
        self.logits_NV = state.first_logits_BV.repeat_interleave(group_size, 0)

    def advance(self, token_ids_N: Tensor) -> None:
        self.mask_NS = torch.cat([self.mask_NS, self.mask_NS.new_ones(len(token_ids_N), 1)], dim=1)
        output = self.policy.forward(
            input_ids=token_ids_N[:, None],
            attention_mask=self.mask_NS,
            position_ids=self.policy.family.next_positions(self.position_N, 1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache.advance()
        self.position_N = self.position_N + 1
        self.logits_NV = output.logits[:, -1]


class SharedEngine(Engine):
    """Every prompt once per pass, whatever the group size."""

    @torch.no_grad()
    def sample(
        self, prompts: Sequence[Prompt], settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        group_size = len(seeds[0])
        groups: list[list[Completion]] = []
        for part in self.passes(prompts, group_size, settings.max_tokens):
            decoder = BranchDecoder(self.policy, prompt_pass(self.policy, prompts[part]), group_size)
            row_seeds = [seed for group in seeds[part] for seed in group]
            rows = sample_rows(decoder, settings, row_seeds, self.policy.banned_V, self.policy.stop_ids)
            groups += [rows[i : i + group_size] for i in range(0, len(rows), group_size)]
        return groups

    def logprobs(
        self, prompts: Sequence[Prompt], completions: Sequence[Sequence[Sequence[int]]], temperature: float
    ) -> TokenLogprobs:
        state = prompt_pass(self.policy, prompts)
        group_size = len(completions[0])
        ids_NT, mask_NT = pad_completions(completions, self.policy.device)
        logits = [state.first_logits_BV.repeat_interleave(group_size, 0)[:, None]]
        if ids_NT.shape[1] > 1:  # the prompt pass already predicts the first token
            logits.append(self._branches_pass(state, ids_NT[:, :-1], mask_NT[:, :-1], group_size))
        return score_tokens(torch.cat(logits, 1), ids_NT, mask_NT, self.policy.banned_V, temperature)

    def _branches_pass(self, state: PromptState, ids_NT: Tensor, mask_NT: Tensor, group_size: int) -> Tensor:
        prompt_mask_NP = state.mask_BP.repeat_interleave(group_size, 0)
        position_N = state.next_position_B.repeat_interleave(group_size, 0)
        output = self.policy.forward(
            input_ids=ids_NT,
            attention_mask=torch.cat([prompt_mask_NP, mask_NT.to(prompt_mask_NP.dtype)], dim=1),
            position_ids=self.policy.family.next_positions(position_N, ids_NT.shape[1]),
            past_key_values=state.cache.branch(group_size),
            use_cache=True,
        )
        return output.logits
