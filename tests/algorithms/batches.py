"""Batches and tokens of tests."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.batch import Batch, Rewards, Tokens
from vlmrl.algorithms.points import build_algorithm
from vlmrl.config import Config
from vlmrl.resolve import resolve

LIMIT = 8


def algorithm_of(*words: str) -> Algorithm:
    """The algorithm of some settings, e.g. `algorithm=dapo`."""
    return build_algorithm(resolve(Config, words=words).algorithm)


def batch_of(rewards: Sequence[Sequence[float]] | Tensor, **facts: Any) -> Batch:
    """Groups with these rewards, which are also their accuracies; all valid and parsed, ten tokens each."""
    rewards_BG = torch.as_tensor(rewards, dtype=torch.float64)
    if "components" in facts:
        found = Rewards(rewards_BG, facts.pop("components"), facts.pop("weights"))
    else:
        found = Rewards(rewards_BG, {"r": rewards_BG}, {"r": 1.0})
    defaults = {
        "rewards": found,
        "valid_BG": torch.ones_like(rewards_BG, dtype=torch.bool),
        "accuracy_BG": rewards_BG,
        "lengths_BG": torch.full(rewards_BG.shape, 10),
        "truncated_BG": torch.zeros_like(rewards_BG, dtype=torch.bool),
        "parsed_BG": torch.ones_like(rewards_BG, dtype=torch.bool),
        "entropy_BG": torch.zeros_like(rewards_BG),
        "completion_limit": LIMIT,
    }
    return Batch(**{**defaults, **facts})


def tokens_of(lengths: Sequence[int], group_size: int = 1, dtype: torch.dtype = torch.float64, **facts: Any) -> Tokens:
    """Rows of these lengths, with random ids and zero log-probs."""
    count, longest = len(lengths), max(lengths)
    mask_NT = torch.arange(longest) < torch.tensor(lengths)[:, None]
    zeros_NT, flags_N = torch.zeros(count, longest, dtype=dtype), torch.zeros(count, dtype=torch.bool)
    numbers_N = torch.zeros(count, dtype=torch.float64)
    ids_NT = torch.randint(5, (count, longest), generator=torch.Generator().manual_seed(1))
    defaults = {
        "ids_NT": torch.where(mask_NT, ids_NT, 0),
        "mask_NT": mask_NT,
        "group_N": torch.arange(count // group_size).repeat_interleave(group_size),
        "rollout_NT": zeros_NT,
        "old_NT": zeros_NT,
        "truncated_N": flags_N,
        "correct_N": flags_N,
        "level_N": torch.full((count,), 2),
        "group_accuracy_N": numbers_N,
        "reward_N": numbers_N,
        "standing_N": numbers_N,
        "expert_N": flags_N,
        "parent_N": torch.full((count,), -1),
        "shared_N": torch.zeros(count, dtype=torch.long),
    }
    return Tokens(**{**defaults, **facts})
