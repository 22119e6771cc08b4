"""What the pieces are given: rewards and facts of B groups of G rollouts, and the tokens of all N = B * G rows.

Everything is already gathered: a piece that looks at the whole batch needs no collective.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from vlmrl.errors import UserError


@dataclass(frozen=True)
class Rewards:
    """What the rollouts earned, float64."""

    total_BG: Tensor
    """Weighted sum of the components."""
    components: Mapping[str, Tensor]
    """[B, G] each, unweighted; NaN where a component has no value."""
    weights: Mapping[str, float]

    def plus(self, name: str, values_BG: Tensor) -> "Rewards":
        """One more component, of weight 1."""
        return Rewards(self.total_BG + values_BG, {**self.components, name: values_BG}, {**self.weights, name: 1.0})

    def times(self, factor: float) -> "Rewards":
        """All rewards multiplied by a number."""
        return replace(
            self,
            total_BG=self.total_BG * factor,
            components={name: values * factor for name, values in self.components.items()},
        )

    @staticmethod
    def only(name: str, values_BG: Tensor) -> "Rewards":
        """One component, of weight 1, in place of all others."""
        return Rewards(values_BG, {name: values_BG}, {name: 1.0})


@dataclass(frozen=True)
class Batch:
    """B groups of one task before their advantages are taken. Shapes [B, G] unless named; numbers are float64."""

    rewards: Rewards
    valid_BG: Tensor
    """bool: rollouts that take part in their group's statistics."""
    accuracy_BG: Tensor
    """The task's headline metric."""
    lengths_BG: Tensor
    """int64: completion tokens."""
    truncated_BG: Tensor
    parsed_BG: Tensor
    """bool: an answer was found."""
    entropy_BG: Tensor
    """Mean entropy (nats) of the distributions the tokens were drawn from."""
    completion_limit: int
    step: int = 1
    """Training step, counted from 1."""
    task: str = ""
    judged_BG: Tensor | None = None
    """The judge's scores."""
    contrast_accuracy_B: Tensor | None = None
    """Mean accuracy of the contrast arm; NaN for a group without one."""
    sample_weight_B: Tensor | None = None
    """The rows' own field `weight`; NaN where a row has none."""

    def component(self, name: str) -> Tensor:
        """Values [B, G] of a reward component. Raises UserError if the task has none of that name."""
        if name not in self.rewards.components:
            known = ", ".join(self.rewards.components)
            raise UserError(f"task {self.task} has no reward {name}, which the algorithm asks for; it has: {known}")
        return self.rewards.components[name]

    def right(self) -> Tensor:
        """bool [B, G]: the headline metric is at least a half."""
        return self.valid_BG & (self.accuracy_BG >= 0.5)

    def wrong(self) -> Tensor:
        """bool [B, G]: valid and not right."""
        return self.valid_BG & (self.accuracy_BG < 0.5)


def masked_mean(values_BG: Tensor, mask_BG: Tensor) -> Tensor:
    """Mean [B] over the masked members; NaN for a group without any."""
    return torch.where(mask_BG, values_BG.double(), 0.0).sum(1) / torch.where(mask_BG.any(1), mask_BG.sum(1), torch.nan)


@dataclass
class Tokens:
    """The N completions of an optimiser step, right-padded to T tokens.

    Log-probs are NaN where they have not been computed.
    """

    ids_NT: Tensor
    mask_NT: Tensor
    """bool: sampled tokens."""
    group_N: Tensor
    """Which of the step's groups a row belongs to."""
    rollout_NT: Tensor
    """Log-probs as the sampler reported them."""
    old_NT: Tensor
    """Log-probs of the weights that sampled, by the training engine: the denominator of the ratio."""
    truncated_N: Tensor
    correct_N: Tensor
    level_N: Tensor
    """1 right, 2 wrong, 3 cut at the token limit, 4 no answer."""
    group_accuracy_N: Tensor
    """Mean accuracy of the row's group."""
    reward_N: Tensor
    standing_N: Tensor
    """(r - median) / (std + 1e-6) inside the row's group."""
    expert_N: Tensor
    """bool: not written by the policy."""
    parent_N: Tensor
    """Row whose first tokens a row shares; -1 for a row of its own."""
    shared_N: Tensor
    """How many tokens it shares."""
    reference_NT: Tensor | None = None
    teacher_NT: Tensor | None = None
    entropy_NT: Tensor | None = None
    now_NT: Tensor | None = None
    """Log-probs under the present weights, without gradient."""
    advantages_NT: Tensor | None = None
    """[N, T] or [N, 1]."""

    def lengths(self) -> Tensor:
        """Completion tokens [N]."""
        return self.mask_NT.sum(1)

    def take(self, rows: Sequence[int], width: int) -> "Tokens":
        """Some of the rows, cut to `width` tokens."""
        index = torch.tensor(rows, device=self.ids_NT.device)
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {
            name: value if value is None else value[index][:, :width] if value.dim() == 2 else value[index]
            for name, value in values.items()
        }
        return Tokens(**chosen)


def sequence_sum(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Sum [N] over the masked tokens; what stands elsewhere, NaN included, has no influence."""
    return torch.where(mask_NT, values_NT, 0.0).sum(1)


def sequence_mean(values_NT: Tensor, mask_NT: Tensor) -> Tensor:
    """Mean [N] over the masked tokens; 0 for a row without any."""
    return sequence_sum(values_NT, mask_NT) / mask_NT.sum(1).clamp_min(1)
