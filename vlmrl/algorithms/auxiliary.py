"""Optimiser steps besides the one on the fresh batch."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, pstdev
from typing import Any

from vlmrl.algorithms.piece import Need, Piece
from vlmrl.types import Group

ABSOLUTE_EPSILON = 1e-6


class AuxiliaryUpdate(Piece):
    """Asked before each update; what it returns is trained on first, by the advantages its rollouts bear."""

    @abstractmethod
    def before(self, mean_reward: float) -> list[Group]:
        """Groups of an extra update; empty for none. `mean_reward` is the fresh batch's."""

    @abstractmethod
    def after(self, groups: Sequence[Group], mean_reward: float) -> None:
        """The step was done on these groups."""


@dataclass
class Retrospective(AuxiliaryUpdate):
    """The previous batch once more, by how much the policy has improved since: A' = f(x) G A / sum |A| of the group.

    PIPO (arXiv 2604.00860): x = (mean reward - mean of the past) / their population deviation, over the last `window`
    steps; f(x) = x for progress and worse * x for decline. x is clipped to +-progress_limit and G A / sum |A| times
    f(x) to +-limit. The present step does not count into its own past.
    """

    window: int = 8
    """Steps of the past; nothing happens before there are so many."""
    worse: float = 0.1
    """Factor of a decline; 0 skips it."""
    progress_limit: float = 5.0
    """Largest |x|."""
    limit: float = 10.0
    """Largest |A'|."""
    rewards: list[float] = field(default_factory=list, init=False)
    previous: list[Group] = field(default_factory=list, init=False)

    def needs(self) -> frozenset[Need]:
        # its update moves the weights before the fresh batch's log-probs would be taken
        return frozenset({"old"})

    def progress(self, mean_reward: float) -> float:
        """f(x); 0 until the window is full."""
        if len(self.rewards) < self.window:
            return 0.0
        std = pstdev(self.rewards)
        x = (mean_reward - fmean(self.rewards)) / (std if std >= 1e-8 else 1.0)
        x = min(max(x, -self.progress_limit), self.progress_limit)
        return x if x >= 0 else self.worse * x

    def before(self, mean_reward: float) -> list[Group]:
        progress = self.progress(mean_reward)
        return [self._weighted(group, progress) for group in self.previous] if progress else []

    def coefficients(self, advantages: Sequence[float], progress: float) -> list[float]:
        """A' of a group."""
        total = sum(map(abs, advantages)) + ABSOLUTE_EPSILON
        raw = [progress * len(advantages) * advantage / total for advantage in advantages]
        return [min(max(value, -self.limit), self.limit) for value in raw]

    def _weighted(self, group: Group, progress: float) -> Group:
        new = self.coefficients([r.advantage for r in group.rollouts], progress)
        return replace(group, rollouts=[replace(r, advantage=a) for r, a in zip(group.rollouts, new, strict=True)])

    def after(self, groups: Sequence[Group], mean_reward: float) -> None:
        self.rewards = [*self.rewards, mean_reward][-self.window :]
        self.previous = [
            replace(g, rollouts=[replace(r, old_logprobs_T=r.old_logprobs_T or r.logprobs_T) for r in g.rollouts])
            for g in groups
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"rewards": self.rewards, "previous": self.previous}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rewards, self.previous = state["rewards"], state["previous"]
