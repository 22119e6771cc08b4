"""From scored groups to advantages: what the algorithm's pieces see of rollouts, and what they make of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from vlmrl.algorithms.advantages import group_median, group_std, is_constant
from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.batch import Batch, Rewards, Tokens, sequence_mean, sequence_sum
from vlmrl.algorithms.choose import of_task
from vlmrl.algorithms.controllers import REWARDS
from vlmrl.algorithms.judge import Judge
from vlmrl.algorithms.token_credit import TokenCredit
from vlmrl.errors import UserError
from vlmrl.task import is_valid
from vlmrl.task_mix import TaskMix, TaskPart
from vlmrl.types import Group, Rollout, Sample, Source, Unparsed

ROW_WEIGHT = "weight"
"""Field of `Sample.extra`: how much a row counts, for algorithms that ask."""
MEDIAN_EPSILON = 1e-6


def make_batch(part: TaskPart, groups: Sequence[Group], step: int, limit: int, judge: Judge | None = None) -> Batch:
    """What is known of one task's scored groups; a judge is asked if it is given."""

    def numbers(of: Callable[[Rollout], float]) -> Tensor:
        return torch.tensor([[of(r) for r in group.rollouts] for group in groups], dtype=torch.float64)

    def flags(of: Callable[[Rollout], bool]) -> Tensor:
        return torch.tensor([[of(r) for r in group.rollouts] for group in groups])

    def component(name: str) -> Tensor:
        values = ((r.scores[name].value for r in group.rollouts) for group in groups)
        return torch.tensor([[torch.nan if v is None else v for v in row] for row in values], dtype=torch.float64)

    contrast = [[r.accuracy for r in group.contrast] for group in groups]
    return Batch(
        rewards=Rewards(
            numbers(lambda r: r.reward), {name: component(name) for name in part.weights}, dict(part.weights)
        ),
        valid_BG=flags(is_valid),
        accuracy_BG=numbers(lambda r: r.accuracy),
        lengths_BG=torch.tensor([[len(r.token_ids_T) for r in group.rollouts] for group in groups]),
        truncated_BG=flags(lambda r: r.truncated),
        parsed_BG=flags(lambda r: not isinstance(r.answer, Unparsed)),
        entropy_BG=numbers(lambda r: r.entropy),
        completion_limit=limit,
        step=step,
        task=part.name,
        judged_BG=None if judge is None else torch.tensor([list(judge(g)) for g in groups], dtype=torch.float64),
        contrast_accuracy_B=torch.tensor([sum(a) / len(a) if a else torch.nan for a in contrast], dtype=torch.float64),
        sample_weight_B=torch.tensor([_row_weight(group.sample) for group in groups], dtype=torch.float64),
    )


def _row_weight(sample: Sample) -> float:
    weight = sample.extra.get(ROW_WEIGHT, math.nan)
    if not isinstance(weight, int | float):
        raise UserError(f"row {sample.id}, field {ROW_WEIGHT}: must be a number, not {weight!r}")
    return float(weight)


def make_tokens(groups: Sequence[Group], device: torch.device) -> Tokens:
    """The step's completions, with the log-probs that are known before any pass."""
    rollouts = [r for group in groups for r in group.rollouts]
    longest = max(len(r.token_ids_T) for r in rollouts)

    def padded(rows: Sequence[Sequence[float] | None], fill: float) -> Tensor:
        """Rows of numbers; `fill` where a row is missing, 0 on padding."""
        found = torch.zeros(len(rollouts), longest)
        for row, values, rollout in zip(found, rows, rollouts, strict=True):
            length = len(rollout.token_ids_T)
            row[:length] = fill if values is None else torch.tensor(values)
        return found

    def per_rollout(values: Sequence[float] | Sequence[bool] | Sequence[int]) -> Tensor:
        return torch.tensor(values).to(device)

    def per_group(of: str) -> Tensor:
        return torch.tensor([[getattr(r, of) for r in group.rollouts] for group in groups], dtype=torch.float64)

    ids_NT = torch.zeros(len(rollouts), longest, dtype=torch.long)
    for row, rollout in zip(ids_NT, rollouts, strict=True):
        row[: len(rollout.token_ids_T)] = torch.tensor(rollout.token_ids_T, dtype=torch.long)
    lengths_N = torch.tensor([len(r.token_ids_T) for r in rollouts])
    rewards_BG = per_group("reward")
    valid_BG = torch.tensor([[is_valid(r) for r in group.rollouts] for group in groups])
    standing_BG = (rewards_BG - group_median(rewards_BG, valid_BG)) / (group_std(rewards_BG, valid_BG) + MEDIAN_EPSILON)
    members = [len(group.rollouts) for group in groups]
    first_row_N = torch.arange(len(groups)).repeat_interleave(torch.tensor(members)) * members[0]
    parent_N = torch.tensor([-1 if r.parent is None else r.parent for r in rollouts])
    return Tokens(
        ids_NT=ids_NT.to(device),
        mask_NT=(torch.arange(longest) < lengths_N[:, None]).to(device),
        group_N=torch.arange(len(groups)).repeat_interleave(torch.tensor(members, dtype=torch.long)).to(device),
        rollout_NT=padded([r.logprobs_T for r in rollouts], 0.0).to(device),
        old_NT=padded([r.old_logprobs_T for r in rollouts], torch.nan).to(device),
        truncated_N=per_rollout([r.truncated for r in rollouts]),
        correct_N=per_rollout([r.accuracy >= 0.5 for r in rollouts]),
        level_N=per_rollout([_level(r) for r in rollouts]),
        group_accuracy_N=per_group("accuracy").mean(1).repeat_interleave(members[0]).to(device),
        reward_N=rewards_BG.reshape(-1).to(device),
        standing_N=standing_BG.reshape(-1).to(device),
        expert_N=per_rollout([r.source is Source.EXPERT for r in rollouts]),
        parent_N=torch.where(parent_N < 0, -1, first_row_N + parent_N).to(device),
        shared_N=per_rollout([r.shared_tokens for r in rollouts]),
    )


def _level(rollout: Rollout) -> int:
    if isinstance(rollout.answer, Unparsed):
        return 3 if rollout.truncated else 4
    return 1 if rollout.accuracy >= 0.5 else 2


def assign_advantages(
    mix: TaskMix, groups: Sequence[Group], tokens: Tokens, algorithm: Algorithm, step: int, limit: int
) -> set[str]:
    """Sets the advantages of all tokens and rollouts; returns the ids of groups whose shaped rewards do not vary.

    Each task's rewards are compared among themselves.
    """
    spread_NT, added_N = _token_rewards(algorithm, tokens, step)
    dead: set[str] = set()
    rows = {id(r): n for n, r in enumerate(r for group in groups for r in group.rollouts)}
    for part in mix.parts:
        own = [group for group in groups if mix.of(group.sample) is part]
        if not own:
            continue
        batch = make_batch(part, own, step, limit, algorithm.judge)
        rewards = batch.rewards
        for transform in algorithm.reward_transforms.values():
            rewards = transform(rewards, batch)
        if (factor := algorithm.factor(REWARDS)) != 1:
            rewards = rewards.times(factor)
        if added_N is not None:
            index = torch.tensor([[rows[id(r)] for r in group.rollouts] for group in own])
            rewards = rewards.plus("kl", added_N[index])
        batch = replace(batch, rewards=rewards)
        advantages_BG = of_task(algorithm, part.scale).advantage(batch)
        for change in algorithm.advantage_transforms.values():
            advantages_BG = change(advantages_BG, batch)
        for group, advantages in zip(own, advantages_BG.tolist(), strict=True):
            for member, advantage in zip(group.rollouts, advantages, strict=True):
                member.advantage = advantage
        constant_B = is_constant(rewards.total_BG, batch.valid_BG)
        dead |= {group.id for group, constant in zip(own, constant_B.tolist(), strict=True) if constant}
    spread_advantages(groups, tokens, algorithm.credit, spread_NT)
    return dead


def spread_advantages(
    groups: Sequence[Group], tokens: Tokens, credit: TokenCredit, token_rewards_NT: Tensor | None = None
) -> None:
    """Gives the tokens their share of the rollouts' advantages, and the rollouts the mean over their tokens."""
    rollouts = [r for group in groups for r in group.rollouts]
    advantages_N = torch.tensor([r.advantage for r in rollouts], dtype=torch.float64, device=tokens.mask_NT.device)
    advantages_NT = credit(advantages_N, tokens, token_rewards_NT)
    tokens.advantages_NT = advantages_NT
    if advantages_NT.shape[1] != 1:
        means_N = sequence_mean(advantages_NT, tokens.mask_NT)
        for rollout, advantage in zip(rollouts, means_N.tolist(), strict=True):
            rollout.advantage = advantage


def _token_rewards(algorithm: Algorithm, tokens: Tokens, step: int) -> tuple[Tensor | None, Tensor | None]:
    """What regularisers add to the reward: of each token [N, T], or summed over a rollout [N] on the CPU."""
    total_NT: Tensor | None = None
    for label, piece in algorithm.reward_regularisers.items():
        weight = piece.weight(step, tokens) * algorithm.factor(label)
        gap_NT = tokens.old_NT - piece.other(tokens, tokens.old_NT)
        value_NT = torch.where(tokens.mask_NT & piece.gate(tokens)[:, None], -weight * gap_NT, 0.0)
        total_NT = value_NT if total_NT is None else total_NT + value_NT
    if total_NT is None:
        return None, None
    if algorithm.credit.spreads_token_rewards:
        return total_NT, None
    return None, sequence_sum(total_NT, tokens.mask_NT).double().cpu()
