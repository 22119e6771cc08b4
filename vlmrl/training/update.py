"""One optimiser step (or several inner epochs) on a batch of scored groups."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.batch import Tokens
from vlmrl.algorithms.loss import StepTerms, pass_loss, step_terms
from vlmrl.config import OptimConfig, RolloutConfig
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.scoring import TokenLogprobs
from vlmrl.rollout.groups import truncation
from vlmrl.training.credit import make_tokens
from vlmrl.types import Group, Prompt


def learning_rate(step: int, total_steps: int, config: OptimConfig) -> float:
    """The learning rate of a step (counted from 1): linear warm-up, then the schedule down to 0 after the last step."""
    warmup = min(1.0, step / config.warmup_steps) if config.warmup_steps else 1.0
    done = max(0.0, (step - 1 - config.warmup_steps) / max(1, total_steps - config.warmup_steps))
    match config.schedule:
        case "constant":
            decay = 1.0
        case "linear":
            decay = max(0.0, 1 - done)
        case "cosine":
            decay = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * min(1.0, done))).item())
    return config.lr * warmup * decay


@dataclass
class UpdateStats:
    """What one update did, averaged over its inner epochs."""

    loss: float = 0.0
    grad_norm: float = 0.0
    """Before clipping."""
    skipped: int = 0
    """Optimiser steps left out because the loss or the gradient was not finite."""
    trained_groups: int = 0
    """Groups of the step, replayed ones included."""
    auxiliary_groups: int = 0
    """Groups of extra updates before that of the step."""
    dead_skipped: int = 0
    """Groups whose advantages are all zero, left out of the backward pass."""
    kept_passes: int = 0
    """Prompt passes of sampling that the update did not have to repeat."""

    def record(self) -> dict[str, float]:
        return dict(vars(self))


WATCHED = ("clip_low", "clip_high", "kl")


@dataclass
class TokenShares:
    """What is watched of tokens, summed over each row's tokens and averaged over inner epochs."""

    sums_NK: Tensor
    """One column for each of WATCHED."""
    tokens_N: Tensor
    """Tokens in the loss."""

    @staticmethod
    def nothing() -> "TokenShares":
        """Of a step without rows."""
        return TokenShares(torch.zeros(0, len(WATCHED)), torch.zeros(0))

    def means(self, rows: Sequence[int] | None = None) -> dict[str, float]:
        """Share of tokens whose ratio was clipped from below and from above, and mean KL estimate: of all rows, or
        some of them."""
        chosen = slice(None) if rows is None else list(rows)
        total_K = self.sums_NK[chosen].sum(0) / self.tokens_N[chosen].sum().clamp_min(1)
        return dict(zip(WATCHED, total_K.tolist(), strict=True))


@dataclass(frozen=True)
class Unit:
    """Completions of one prompt, which are computed in one pass."""

    prompt: Prompt
    completions: list[list[int]]
    rows: list[int]
    """Where they are among the step's rows."""


def units_of(groups: Sequence[Group]) -> list[list[Unit]]:
    """Each group's units: one, or several if its rollouts condition on different prompts."""
    units, row = [], 0
    for group in groups:
        of_prompt: dict[Prompt, Unit] = {}
        for rollout in group.rollouts:
            prompt = rollout.prompt or group.prompt
            unit = of_prompt.setdefault(prompt, Unit(prompt, [], []))
            unit.completions.append(rollout.token_ids_T)
            unit.rows.append(row)
            row += 1
        units.append(list(of_prompt.values()))
    return units


@dataclass
class Updater:
    """Owns the optimiser and turns advantages into weights."""

    engine: Engine
    algorithm: Algorithm
    optim: OptimConfig
    rollout: RolloutConfig
    total_steps: int
    reference: Engine | None = None
    """Frozen start model; None uses the policy with its adapters off."""
    teacher: Engine | None = None
    """A second model, for algorithms that ask for one."""
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        parameters = [p for p in self.engine.policy.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=self.optim.lr, betas=self.optim.betas, weight_decay=self.optim.weight_decay
        )
        self.needs = self.algorithm.needs()

    def schedule(self, step: int) -> None:
        """Sets the learning rate of a training step."""
        for settings in self.optimizer.param_groups:
            settings["lr"] = learning_rate(step, self.total_steps, self.optim)

    def prepare(self, groups: Sequence[Group]) -> Tokens:
        """The step's tokens, with the log-probs that the algorithm wants of the whole step before its advantages."""
        tokens = make_tokens(groups, self.engine.policy.device)
        if "reference" in self.needs:
            tokens.reference_NT = torch.full_like(tokens.old_NT, torch.nan)
        if "teacher" in self.needs:
            tokens.teacher_NT = torch.full_like(tokens.old_NT, torch.nan)
        if not self.needs & {"old", "entropy", "now"}:
            return tokens
        tokens.now_NT, tokens.entropy_NT = (torch.zeros_like(tokens.old_NT) for _ in range(2))
        for units in self._passes(units_of(groups)):
            rows, scored = _rows(units), self._score_detached(units)
            width = scored.logprobs_NT.shape[1]
            tokens.now_NT[rows, :width] = scored.logprobs_NT
            tokens.entropy_NT[rows, :width] = scored.entropy_NT
            self._fill(tokens, rows, scored.logprobs_NT)
            if self.algorithm.reward_regularisers or self.algorithm.objective is not None:
                self._compare(tokens, units)
        return tokens

    def update(
        self, groups: Sequence[Group], tokens: Tokens, step: int, kept: KeptPasses | None = None
    ) -> tuple[UpdateStats, TokenShares]:
        """Runs the inner epochs of one step on tokens that have their advantages.

        `kept` are sampling's prompt passes on the present weights.
        """
        live = [units for units in units_of(groups) if self._learns(tokens, units)]
        stats = UpdateStats(trained_groups=len(groups), dead_skipped=len(groups) - len(live))
        shares = TokenShares(torch.zeros(len(tokens.mask_NT), len(WATCHED)), tokens.lengths().cpu())
        if not live:
            return stats, shares
        kept = kept or KeptPasses(self.engine.max_tokens_per_pass)
        passes = list(self._passes(live, kept))
        for epoch in range(self.optim.inner_epochs):
            if epoch and "now" in self.needs:
                self._rescore(tokens, passes)
            terms = step_terms(self.algorithm, tokens, step, self.rollout.max_completion_tokens)
            shares.tokens_N = terms.keep_NT.sum(1).cpu()
            stats, finite = self._gradients(passes, tokens, terms, kept, (stats, shares))
            kept.clear()
            if not (finite and self._optimizer_step(stats)):
                stats.skipped += 1
        return stats, shares

    def _learns(self, tokens: Tokens, units: Sequence[Unit]) -> bool:
        # without a regulariser a group of zero advantages has zero gradient: leaving it out is exact
        if self.algorithm.loss_regularisers or self.algorithm.objective is not None:
            return True
        assert tokens.advantages_NT is not None
        return bool(tokens.advantages_NT[[row for unit in units for row in unit.rows]].any())

    def _passes(self, groups: Sequence[Sequence[Unit]], kept: KeptPasses | None = None) -> Iterator[list[Unit]]:
        """All units by passes: those of one pass have equally many completions."""
        units = [unit for group in groups for unit in group]
        for size in sorted({len(unit.rows) for unit in units}, reverse=True):
            alike = [unit for unit in units if len(unit.rows) == size]
            longest = max(len(ids) for unit in alike for ids in unit.completions)
            for part in self.engine.passes([unit.prompt for unit in alike], size, longest, kept):
                yield [alike[i] for i in part]

    def _score(
        self, engine: Engine, units: Sequence[Unit], kept: KeptPasses | None = None, logits: bool = False
    ) -> TokenLogprobs:
        return engine.logprobs(
            [unit.prompt for unit in units],
            [unit.completions for unit in units],
            self.rollout.temperature,
            truncation(self.rollout),
            kept,
            logits,
        )

    @torch.no_grad()
    def _score_detached(self, units: Sequence[Unit]) -> TokenLogprobs:
        return self._score(self.engine, units)

    def _rescore(self, tokens: Tokens, passes: Sequence[Sequence[Unit]]) -> None:
        """Log-probs of the whole step under the present weights."""
        assert tokens.now_NT is not None
        for units in passes:
            scored = self._score_detached(units)
            tokens.now_NT[_rows(units), : scored.logprobs_NT.shape[1]] = scored.logprobs_NT

    def _gradients(
        self,
        passes: list[list[Unit]],
        tokens: Tokens,
        terms: StepTerms,
        kept: KeptPasses,
        found: tuple[UpdateStats, TokenShares],
        may_split: bool = True,
    ) -> tuple[UpdateStats, bool]:
        """Sums the gradients of all passes, up to one whose loss is not finite; says whether there was none.

        A pass that runs out of memory becomes two in `passes`, once.
        """
        self.optimizer.zero_grad(set_to_none=True)
        stats, shares = replace(found[0]), found[1]
        sums_NK = shares.sums_NK.clone()
        failed = None
        for i, units in enumerate(passes):
            try:
                if not self._backward(units, tokens, terms, kept, stats, sums_NK):
                    return stats, False
            except torch.OutOfMemoryError:
                if not may_split:
                    raise
                failed = i
                break
        if failed is None:
            shares.sums_NK = sums_NK
            return stats, True
        kept.clear()
        # parts of the failed pass's gradient are already summed, so all passes are run again
        passes[failed : failed + 1] = self.engine.halves(passes[failed])
        return self._gradients(passes, tokens, terms, kept, found, may_split=False)

    def _backward(
        self,
        units: list[Unit],
        tokens: Tokens,
        terms: StepTerms,
        kept: KeptPasses,
        stats: UpdateStats,
        sums_NK: Tensor,
    ) -> bool:
        """Accumulates one pass's gradient; False if its loss is not finite."""
        waiting, rows = len(kept.states), _rows(units)
        with_logits = "logits" in self.needs
        scored = self._score(self.engine, units, kept, with_logits)
        stats.kept_passes += waiting - len(kept.states)
        self._fill(tokens, rows, scored.logprobs_NT.detach())
        compared = self._compare(tokens, units, with_logits)
        one = pass_loss(self.algorithm, scored.logprobs_NT, tokens, rows, terms, scored.logits_RV, compared)
        if not torch.isfinite(one.loss):
            return False
        one.loss.backward()
        stats.loss += one.loss.item() / self.optim.inner_epochs
        watched = torch.stack([one.clipped_low_N, one.clipped_high_N, one.kl_N], 1)
        sums_NK[rows] += watched.cpu() / self.optim.inner_epochs
        return True

    def _fill(self, tokens: Tokens, rows: Sequence[int], logprobs_NT: Tensor) -> None:
        """The first pass over a row runs on the weights that sampled: its log-probs are the old ones, unless the row is
        of an earlier step."""
        width = logprobs_NT.shape[1]
        old_NT = tokens.old_NT[rows, :width]
        tokens.old_NT[rows, :width] = torch.where(old_NT.isnan(), logprobs_NT, old_NT)

    @torch.no_grad()
    def _compare(self, tokens: Tokens, units: Sequence[Unit], logits: bool = False) -> Tensor | None:
        """Log-probs of other models for these units, where they are needed and not known; returns the teacher's logits
        if they are asked for."""
        rows = _rows(units)
        if tokens.reference_NT is not None and tokens.reference_NT[rows].isnan().any():
            policy = self.engine.policy
            adapters_off: AbstractContextManager[Any] = nullcontext() if self.reference else policy.adapters_off()
            with adapters_off:
                scored = self._score(self.reference or self.engine, units)
            tokens.reference_NT[rows] = 0.0
            tokens.reference_NT[rows, : scored.logprobs_NT.shape[1]] = scored.logprobs_NT
        if self.teacher is None or tokens.teacher_NT is None:
            return None
        if logits or tokens.teacher_NT[rows].isnan().any():
            scored = self._score(self.teacher, units, logits=logits)
            tokens.teacher_NT[rows] = 0.0
            tokens.teacher_NT[rows, : scored.logprobs_NT.shape[1]] = scored.logprobs_NT
            return scored.logits_RV
        return None

    def _optimizer_step(self, stats: UpdateStats) -> bool:
        """False if the gradient is not finite."""
        parameters = [p for settings in self.optimizer.param_groups for p in settings["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.optim.max_grad_norm)
        if not torch.isfinite(norm):
            return False
        stats.grad_norm += norm.item() / self.optim.inner_epochs
        self.optimizer.step()
        return True


def _rows(units: Sequence[Unit]) -> list[int]:
    return [row for unit in units for row in unit.rows]
