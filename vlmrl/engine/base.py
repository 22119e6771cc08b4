"""What an engine computes: completions of prompts, and the log-probabilities of completions with gradient."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from vlmrl.engine.distribution import NO_TRUNCATION, TokenDistribution, Truncation
from vlmrl.engine.sampling import Completion, SamplingSettings
from vlmrl.engine.scoring import TokenLogprobs
from vlmrl.errors import UserError
from vlmrl.models.load import Policy
from vlmrl.types import Prompt

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class PromptState:
    """What an engine's pass over some prompts leaves behind for their completions."""

    prompts: Sequence[Prompt]


@dataclass
class KeptPasses:
    """Prompt passes of sampling whose graphs wait for the update: while the weights stay, they need not be repeated.

    A graph serves one backward pass, so a state leaves when it is taken.
    """

    max_tokens: int
    """Bound on the padded prompt and completion tokens of the passes kept."""
    tokens: int = 0
    states: list[PromptState] = field(default_factory=list)

    def has_room(self, tokens: int) -> bool:
        """The first pass always fits: the update could not split it either."""
        return not self.states or self.tokens + tokens <= self.max_tokens

    def add(self, state: PromptState, tokens: int) -> None:
        self.states.append(state)
        self.tokens += tokens

    def rows(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """For each state, which of `prompts` came from it.

        Empty for a state most of whose prompts are not among them: the backward pass runs through all of a state, so
        computing the few again is cheaper.
        """
        index = {prompt: i for i, prompt in enumerate(prompts)}
        found = [[index[p] for p in state.prompts if p in index] for state in self.states]
        return [rows if 2 * len(rows) >= len(s.prompts) else [] for rows, s in zip(found, self.states, strict=True)]

    def take(self, prompts: Sequence[Prompt]) -> tuple[PromptState, list[int]] | None:
        """The state that all these prompts came from and their rows in it; None if there is none."""
        for i, state in enumerate(self.states):
            row_of = {prompt: row for row, prompt in enumerate(state.prompts)}
            if all(prompt in row_of for prompt in prompts):
                return self.states.pop(i), [row_of[prompt] for prompt in prompts]
        return None

    def clear(self) -> None:
        """Forgets everything, because the weights move."""
        self.states.clear()
        self.tokens = 0


class Engine(ABC):
    """Runs one policy. Sampling and scoring use the same distribution: banned tokens removed, tempered, truncated."""

    def __init__(self, policy: Policy, max_tokens_per_pass: int) -> None:
        self.policy = policy
        self.max_tokens_per_pass = max_tokens_per_pass
        self.split_passes = 0
        """Passes that ran out of memory and were split in two, so far."""

    @abstractmethod
    def prompt_pass(self, prompts: Sequence[Prompt], again: bool = False) -> PromptState:
        """Runs the prompts once, with gradient if grad is enabled.

        `again` says that this step will pass them again, so that what does not change in between is worth keeping.
        """

    @abstractmethod
    def decode(
        self, state: PromptState, settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        """Samples completions of a state's prompts, without gradient."""

    @abstractmethod
    def score(
        self,
        state: PromptState,
        rows: Sequence[int],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float,
        truncation: Truncation,
        keep_logits: bool = False,
    ) -> TokenLogprobs:
        """Scores completions of the prompts at `rows` of a state, with gradient if grad is enabled."""

    @torch.no_grad()
    def sample(
        self,
        prompts: Sequence[Prompt],
        settings: SamplingSettings,
        seeds: Sequence[Sequence[int]],
        kept: KeptPasses | None = None,
    ) -> list[list[Completion]]:
        """One completion per seed for every prompt; `seeds[p]` holds the row seeds of prompt p, all of one length G.

        With `kept`, prompt passes are run with gradient and kept there as far as there is room.
        """
        if not prompts:
            return []
        group_size = len(seeds[0])
        self._require_context(prompts, settings.max_tokens)
        groups: list[list[Completion]] = []
        for part in self.passes(prompts, group_size, settings.max_tokens):
            groups += self._within_memory(
                part,
                lambda part: self._sample_pass([prompts[i] for i in part], settings, [seeds[i] for i in part], kept),
            )
        return groups

    def _sample_pass(
        self,
        prompts: Sequence[Prompt],
        settings: SamplingSettings,
        seeds: Sequence[Sequence[int]],
        kept: KeptPasses | None,
    ) -> list[list[Completion]]:
        tokens = padded_tokens(prompts, len(seeds[0]), settings.max_tokens)
        keep = kept is not None and kept.has_room(tokens)
        with torch.set_grad_enabled(keep):
            state = self.prompt_pass(prompts, again=kept is not None)
        completions = self.decode(state, settings, seeds)
        if kept is not None and keep:
            kept.add(state, tokens)
        return completions

    def _within_memory(self, part: list[int], run: Callable[[list[int]], list[Result]]) -> list[Result]:
        """Runs a pass; if memory does not suffice, once more as two."""
        try:
            return run(part)
        except torch.OutOfMemoryError:
            pass  # retried below, where no traceback keeps the failed pass's tensors alive
        return [result for half in self.halves(part) for result in run(half)]

    def halves(self, part: list[Item]) -> tuple[list[Item], list[Item]]:
        """A pass that ran out of memory as two, counted. Raises UserError if it is a single group."""
        if len(part) == 1:
            raise UserError(
                "out of memory on the pass of a single group, which is never split: lower rollout.group_size, "
                "rollout.max_completion_tokens or model.max_pixels, or set model.gradient_checkpointing=true"
            )
        self.split_passes += 1
        if self.policy.device.type == "cuda":
            torch.cuda.empty_cache()
        middle = len(part) // 2
        return part[:middle], part[middle:]

    def _require_context(self, prompts: Sequence[Prompt], completion_tokens: int) -> None:
        limit = getattr(self.policy.text_config, "max_position_embeddings", None)
        for prompt in prompts:
            length = len(prompt.token_ids_P)
            if limit is not None and length + completion_tokens > limit:
                raise UserError(
                    f"row {prompt.sample.id}: a prompt of {length} tokens and completions of up to {completion_tokens} "
                    f"exceed the model's context of {limit}; lower model.max_pixels or rollout.max_completion_tokens"
                )

    def logprobs(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float,
        truncation: Truncation = NO_TRUNCATION,
        kept: KeptPasses | None = None,
        keep_logits: bool = False,
    ) -> TokenLogprobs:
        """Scores the token ids `completions[p][g]` after prompt p, in one pass, with gradient if grad is enabled.

        Takes the prompts' pass from `kept` if it is there. `keep_logits` returns the whole distributions too, which
        takes memory for every token times the vocabulary.
        """
        taken = kept.take(prompts) if kept is not None else None
        state, rows = taken or (self.prompt_pass(prompts, again=True), range(len(prompts)))
        return self.score(state, rows, completions, temperature, truncation, keep_logits)

    def passes(
        self, prompts: Sequence[Prompt], group_size: int, completion_tokens: int, kept: KeptPasses | None = None
    ) -> Iterator[list[int]]:
        """Indices of `prompts` per pass, such that a pass's tokens (padded prompt + G completions) keep the budget.

        A single prompt over the budget is a pass of its own: a group is never split. Prompts of a kept state form one
        pass.
        """
        rest = set(range(len(prompts)))
        for rows in kept.rows(prompts) if kept is not None else []:
            if rows:
                yield rows
                rest -= set(rows)
        part: list[int] = []
        for i in sorted(rest):
            wider = [*part, i]
            tokens = padded_tokens([prompts[j] for j in wider], group_size, completion_tokens)
            if part and tokens > self.max_tokens_per_pass:
                yield part
                wider = [i]
            part = wider
        if part:
            yield part

    def distribution(self, temperature: float, truncation: Truncation) -> TokenDistribution:
        return TokenDistribution(self.policy.banned_V, temperature, truncation)


def padded_tokens(prompts: Sequence[Prompt], group_size: int, completion_tokens: int) -> int:
    """Token rows of a pass over these prompts, left-padded to one length, and their completions."""
    longest = max(len(prompt.token_ids_P) for prompt in prompts)
    return len(prompts) * (longest + group_size * completion_tokens)
