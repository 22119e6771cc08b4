"""Numbers that follow what a run does: factors of a regulariser's coefficient, or of all rewards."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vlmrl.algorithms.piece import Piece, required
from vlmrl.errors import UserError

REWARDS = "rewards"
"""Target of a controller whose factor multiplies all rewards."""
PROGRESS_LIMIT = 0.2


class Controller(Piece):
    """A factor of `target`: the label of a regulariser, or `rewards`."""

    target: str

    @abstractmethod
    def factor(self) -> float:
        """Its present value."""

    def observe(self, metrics: Mapping[str, Any]) -> None:
        """A training step's metrics."""

    def evaluated(self, scores: Mapping[str, float], step: int) -> None:
        """Every metric of the held-out rows; a resumed run evaluates a step again."""


@dataclass
class AdaptiveKl(Controller):
    """factor *= 1 + clip(KL / goal - 1, -0.2, 0.2) * rollouts / horizon: holds the KL at a goal, as PPO's does."""

    target: str = "kl"
    """Label of the regulariser."""
    goal: float = 0.1
    """KL per token that is aimed at."""
    horizon: float = 10000.0
    """Rollouts over which the factor can change by a fifth."""
    value: float = field(default=1.0, init=False)

    def factor(self) -> float:
        return self.value

    def observe(self, metrics: Mapping[str, Any]) -> None:
        error = min(max(metrics["kl"] / self.goal - 1, -PROGRESS_LIMIT), PROGRESS_LIMIT)
        self.value *= 1 + error * metrics["rollouts"] / self.horizon

    def metrics(self) -> dict[str, Any]:
        return {"factor": self.value}

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


@dataclass
class Hypervolume(Controller):
    """0.5 + 1.5 tanh(gain), the gain being the hypervolume that the newest evaluation adds to the front of all before.

    Dynamic reward weighting, hypervolume-guided (arXiv 2509.11452). The objectives are metrics of the held-out rows,
    and the front starts with the model before training. A factor common to all rewards has no effect on advantages that
    are divided by a deviation.
    """

    objectives: tuple[str, ...] = required()
    """Names of the metrics, all better when higher, as the held-out evaluations of metrics.jsonl have them."""
    target: str = REWARDS
    """What is multiplied."""
    evaluations: dict[int, tuple[float, ...]] = field(default_factory=dict, init=False)
    """Objectives by the step they were measured at."""

    def factor(self) -> float:
        if len(self.evaluations) < 2:
            return 1.0
        points = [self.evaluations[step] for step in sorted(self.evaluations)]
        return meta_weight(hypervolume(points) - hypervolume(points[:-1]))

    def evaluated(self, scores: Mapping[str, float], step: int) -> None:
        if unknown := [name for name in self.objectives if name not in scores]:
            raise UserError(f"objective {unknown[0]} of hypervolume is no metric; there are: {', '.join(scores)}")
        self.evaluations[step] = tuple(scores[name] for name in self.objectives)

    def metrics(self) -> dict[str, Any]:
        return {"factor": self.factor()}

    def state_dict(self) -> dict[str, Any]:
        return {"evaluations": dict(self.evaluations)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.evaluations = dict(state["evaluations"])


def meta_weight(gain: float) -> float:
    return 0.5 + 1.5 * math.tanh(max(gain, 0.0))


def hypervolume(points: Sequence[tuple[float, ...]]) -> float:
    """Volume between the origin and the points, in which some point is at least as good in everything."""
    if not points:
        return 0.0
    if len(points[0]) == 1:
        return max(0.0, *(point[0] for point in points))
    volume, upper = 0.0, 0.0
    for height in sorted({point[0] for point in points if point[0] > 0}):
        volume += (height - upper) * hypervolume([point[1:] for point in points if point[0] >= height])
        upper = height
    return volume
