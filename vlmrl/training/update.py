"""One optimiser step (or several inner epochs) on a batch of scored groups."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vlmrl.algorithms.advantages import group_advantages, is_constant
from vlmrl.algorithms.presets import Algorithm
from vlmrl.algorithms.reducers import StepCounts, reduce
from vlmrl.algorithms.regularisers import k3
from vlmrl.algorithms.reward_transforms import soft_overlong
from vlmrl.algorithms.surrogates import clipped_ratio
from vlmrl.config import OptimConfig, RolloutConfig
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.rollout.groups import truncation
from vlmrl.task import is_valid
from vlmrl.types import Group


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


def assign_advantages(groups: Sequence[Group], algorithm: Algorithm, rollout: RolloutConfig) -> Tensor:
    """Sets every rollout's advantage; returns bool [B], the groups whose shaped rewards do not vary."""
    rewards_BG = torch.tensor([[r.reward for r in group.rollouts] for group in groups], dtype=torch.float64)
    valid_BG = torch.tensor([[is_valid(r) for r in group.rollouts] for group in groups])
    if algorithm.overlong_buffer:
        lengths_BG = torch.tensor([[len(r.token_ids_T) for r in group.rollouts] for group in groups])
        rewards_BG = rewards_BG + soft_overlong(lengths_BG, rollout.max_completion_tokens, algorithm.overlong_buffer)
    advantages_BG = group_advantages(rewards_BG, valid_BG, algorithm.baseline, algorithm.scale)
    for group, advantages in zip(groups, advantages_BG.tolist(), strict=True):
        for member, advantage in zip(group.rollouts, advantages, strict=True):
            member.advantage = advantage
    return is_constant(rewards_BG, valid_BG)


@dataclass
class UpdateStats:
    """What one update did, averaged over its inner epochs."""

    loss: float = 0.0
    grad_norm: float = 0.0
    """Before clipping."""
    clip_low: float = 0.0
    """Share of tokens whose ratio was clipped from below."""
    clip_high: float = 0.0
    kl: float = 0.0
    """Mean k3 estimate towards the start model; 0 when it is not computed."""
    skipped: int = 0
    """Optimiser steps left out because the gradient was not finite."""
    dead_skipped: int = 0
    """Groups whose advantages are all zero, left out of the backward pass."""
    kept_passes: int = 0
    """Prompt passes of sampling that the update did not have to repeat."""

    def record(self) -> dict[str, float]:
        return dict(vars(self))


@dataclass
class _Pass:
    """Groups of one forward-backward pass, with what its first inner epoch fixed."""

    groups: list[Group]
    old_NT: Tensor | None = None
    """Log-probs of the weights that sampled."""
    reference_NT: Tensor | None = None
    """Log-probs of the start model, if the loss has a KL term."""

    def split(self, engine: Engine) -> "list[_Pass]":
        """The same groups in two passes, because memory did not suffice for one."""
        halves, row = [], 0
        for groups in engine.halves(self.groups):
            rows = slice(row, row + sum(len(group.rollouts) for group in groups))
            width = max(len(r.token_ids_T) for group in groups for r in group.rollouts)
            fixed = [None if x_NT is None else x_NT[rows, :width] for x_NT in (self.old_NT, self.reference_NT)]
            halves.append(_Pass(groups, *fixed))
            row = rows.stop
        return halves


@dataclass
class Updater:
    """Owns the optimiser and turns advantages into weights."""

    engine: Engine
    algorithm: Algorithm
    optim: OptimConfig
    rollout: RolloutConfig
    total_steps: int
    reference: Engine | None = None
    """Frozen start model for the KL term; None uses the policy with its adapters off."""
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        parameters = [p for p in self.engine.policy.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=self.optim.lr, betas=self.optim.betas, weight_decay=self.optim.weight_decay
        )

    def update(self, groups: Sequence[Group], step: int, kept: KeptPasses | None = None) -> UpdateStats:
        """Runs the inner epochs of one step. `groups` are split into passes by tokens, groups whole.

        `kept` are sampling's prompt passes on the present weights.
        """
        for settings in self.optimizer.param_groups:
            settings["lr"] = learning_rate(step, self.total_steps, self.optim)
        counts = self._counts(groups)
        # without a KL term a group of zero advantages has zero gradient: leaving it out is exact
        live = [g for g in groups if self.algorithm.kl_coefficient or any(r.advantage for r in g.rollouts)]
        stats = UpdateStats(dead_skipped=len(groups) - len(live))
        if not live:
            return stats
        kept = kept or KeptPasses(self.engine.max_tokens_per_pass)
        longest = max(len(r.token_ids_T) for group in live for r in group.rollouts)
        parts = self.engine.passes([g.prompt for g in live], len(live[0].rollouts), longest, kept)
        passes = [_Pass([live[i] for i in part]) for part in parts]
        for _ in range(self.optim.inner_epochs):
            stats = self._gradients(passes, counts, kept, stats)
            kept.clear()
            self._optimizer_step(stats)
        return stats

    def _gradients(
        self, passes: list[_Pass], counts: StepCounts, kept: KeptPasses, before: UpdateStats, may_split: bool = True
    ) -> UpdateStats:
        """Sums the gradients of all passes. A pass that runs out of memory becomes two in `passes`, once."""
        self.optimizer.zero_grad(set_to_none=True)
        stats = replace(before)
        failed = None
        for i, one in enumerate(passes):
            try:
                self._backward(one, counts, kept, stats)
            except torch.OutOfMemoryError:
                if not may_split:
                    raise
                failed = i
                break
        if failed is None:
            return stats
        kept.clear()
        # parts of the failed pass's gradient are already summed, so all passes are run again
        passes[failed : failed + 1] = passes[failed].split(self.engine)
        return self._gradients(passes, counts, kept, before, may_split=False)

    def _counts(self, groups: Sequence[Group]) -> StepCounts:
        rollouts = [r for group in groups for r in group.rollouts]
        in_loss = [r for r in rollouts if not (self.algorithm.mask_truncated and r.truncated)]
        tokens = sum(len(r.token_ids_T) for r in in_loss)
        return StepCounts(len(rollouts), tokens, self.rollout.max_completion_tokens)

    def _backward(self, one: _Pass, counts: StepCounts, kept: KeptPasses, stats: UpdateStats) -> None:
        """Accumulates one pass's gradient."""
        prompts = [group.prompt for group in one.groups]
        completions = [[r.token_ids_T for r in group.rollouts] for group in one.groups]
        rollouts = [r for group in one.groups for r in group.rollouts]
        waiting = len(kept.states)
        scored = self.engine.logprobs(prompts, completions, self.rollout.temperature, truncation(self.rollout), kept)
        stats.kept_passes += waiting - len(kept.states)
        if one.old_NT is None:
            # the first inner epoch runs on the weights that sampled: its own log-probs are the old ones
            one.old_NT, one.reference_NT = scored.logprobs_NT.detach(), self._reference_logprobs(one.groups)
        device = scored.logprobs_NT.device
        advantages_N = torch.tensor([r.advantage for r in rollouts], device=device, dtype=torch.float32)
        mask_NT = scored.mask_NT
        if self.algorithm.mask_truncated:
            mask_NT = mask_NT & ~torch.tensor([r.truncated for r in rollouts], device=device)[:, None]
        surrogate = clipped_ratio(
            scored.logprobs_NT, one.old_NT, advantages_N, self.algorithm.clip_low, self.algorithm.clip_high
        )
        loss_NT = surrogate.loss_NT
        if one.reference_NT is not None:
            divergence_NT = k3(scored.logprobs_NT, one.reference_NT)
            loss_NT = loss_NT + self.algorithm.kl_coefficient * divergence_NT
            stats.kl += self._token_share(divergence_NT.detach(), mask_NT, counts)
        loss = reduce(loss_NT, mask_NT, self.algorithm.reducer, counts)
        loss.backward()
        stats.loss += loss.item() / self.optim.inner_epochs
        stats.clip_low += self._token_share(surrogate.clipped_low_NT, mask_NT, counts)
        stats.clip_high += self._token_share(surrogate.clipped_high_NT, mask_NT, counts)

    def _token_share(self, values_NT: Tensor, mask_NT: Tensor, counts: StepCounts) -> float:
        total = torch.where(mask_NT, values_NT.float(), 0.0).sum().item()
        return total / max(counts.tokens, 1) / self.optim.inner_epochs

    @torch.no_grad()
    def _reference_logprobs(self, groups: Sequence[Group]) -> Tensor | None:
        if not self.algorithm.kl_coefficient:
            return None
        completions = [[r.token_ids_T for r in group.rollouts] for group in groups]
        engine = self.reference or self.engine
        policy = self.engine.policy
        adapters_off: AbstractContextManager[Any] = nullcontext() if self.reference else policy.adapters_off()
        with adapters_off:
            return engine.logprobs(
                [group.prompt for group in groups], completions, self.rollout.temperature, truncation(self.rollout)
            ).logprobs_NT

    def _optimizer_step(self, stats: UpdateStats) -> None:
        parameters = [p for settings in self.optimizer.param_groups for p in settings["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.optim.max_grad_norm)
        if torch.isfinite(norm):
            stats.grad_norm += norm.item() / self.optim.inner_epochs
            self.optimizer.step()
        else:
            stats.skipped += 1
