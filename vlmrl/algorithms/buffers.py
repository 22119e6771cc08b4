"""What earlier steps lend to later ones: rollouts and groups, kept with what is needed to train on them."""

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from vlmrl.algorithms.piece import Piece, required
from vlmrl.types import Group, Rollout, Source


class Buffer(Piece):
    """Sees each step's groups twice: before their advantages, when it may change them, and after."""

    @abstractmethod
    def exchange(self, groups: Sequence[Group], step: int) -> list[Group]:
        """May replace rollouts of the groups; returns groups of earlier steps that are trained on besides them."""

    @abstractmethod
    def keep(self, groups: Sequence[Group], step: int) -> None:
        """Stores what is worth it, now that rewards and advantages are known."""


@dataclass
class SuccessReplay(Buffer):
    """A group of hardly any success gets a stored one of the same row in its first place.

    ARPO (arXiv 2505.16282): if the rewards' deviation is below `least_std` and their mean below `low_mean`. Its
    log-probs are computed anew, so that the ratio starts at 1 and nothing corrects for its age.
    """

    capacity: int = 8
    """Rollouts kept per row, the newest; 0 switches the piece off."""
    success: float = 0.1
    """Accuracy above which a rollout is kept."""
    least_std: float = 0.05
    """Deviation below which a group counts as constant."""
    low_mean: float = 0.2
    """Mean reward below which it counts as failed."""
    stored: dict[str, list[Rollout]] = field(default_factory=dict, init=False)
    """Successes per row."""

    def exchange(self, groups: Sequence[Group], step: int) -> list[Group]:
        for group in groups:
            rewards = [rollout.reward for rollout in group.rollouts]
            failed = len(rewards) > 1 and stdev(rewards) < self.least_std and fmean(rewards) < self.low_mean
            successes = self.stored.get(group.sample.id)
            if failed and successes:
                group.rollouts[0] = replace(random.Random(group.id).choice(successes), source=Source.REPLAYED)
        return []

    def keep(self, groups: Sequence[Group], step: int) -> None:
        for group in groups:
            new = [r for r in group.rollouts if r.accuracy > self.success and r.source is Source.SAMPLED]
            if new and self.capacity:
                self.stored[group.sample.id] = [*self.stored.get(group.sample.id, []), *new][-self.capacity :]

    def metrics(self) -> dict[str, Any]:
        return {"stored": sum(map(len, self.stored.values()))}

    def state_dict(self) -> dict[str, Any]:
        return {"stored": self.stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stored = state["stored"]


@dataclass
class SelectiveSamples(Buffer):
    """Groups with advantages are kept and trained on again, those with the largest |A| first.

    Selective sample buffer (Skywork R1V2, arXiv 2504.16656). The log-probs a rollout was sampled with stay the ratio's
    denominator, so ratio and clip correct for its age. The paper's capacity, number and age limit are not known.
    """

    capacity: int = required()
    """Groups kept; 0 switches the piece off."""
    take: int = required()
    """Groups added to a step."""
    max_age: int = required()
    """Steps after which a group is dropped."""
    stored: list[tuple[float, int, Group]] = field(default_factory=list, init=False)
    """Priority, step it was sampled in, and group."""

    def exchange(self, groups: Sequence[Group], step: int) -> list[Group]:
        fresh = [item for item in self.stored if step - item[1] <= self.max_age]
        taken, self.stored = fresh[: self.take], fresh[self.take :]
        for _, _, group in taken:
            for rollout in group.rollouts:
                rollout.source = Source.REPLAYED
        return [group for _, _, group in taken]

    def keep(self, groups: Sequence[Group], step: int) -> None:
        for group in groups:
            priority = max(abs(rollout.advantage) for rollout in group.rollouts)
            # stored again, a group would never grow old
            if priority > 0 and all(rollout.source is not Source.REPLAYED for rollout in group.rollouts):
                copies = [replace(r, old_logprobs_T=r.old_logprobs_T or r.logprobs_T) for r in group.rollouts]
                self.stored.append((priority, step, Group(group.id, group.prompt, copies)))
        self.stored.sort(key=lambda item: -item[0])
        del self.stored[self.capacity :]

    def metrics(self) -> dict[str, Any]:
        return {"stored": len(self.stored)}

    def state_dict(self) -> dict[str, Any]:
        return {"stored": self.stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stored = state["stored"]
