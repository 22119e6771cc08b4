"""Which rows come next."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from vlmrl.algorithms.filters import variance_share
from vlmrl.algorithms.piece import Piece, required

if TYPE_CHECKING:
    from torch import Tensor

    from vlmrl.algorithms.algorithm import Algorithm


class Order(Protocol):
    """The run's own order over its rows, by the tasks' ratios."""

    @property
    def sources(self) -> int:
        """How many tasks there are."""
        ...

    def next(self, count: int) -> list[int]: ...

    def next_of(self, source: int) -> int:
        """The next row of one task."""
        ...

    def source_of(self, row: int) -> int: ...


class Curriculum(Piece):
    """Chooses rows, and is told how the groups sampled from them did."""

    needs_several_tasks = False

    @abstractmethod
    def next(self, order: Order, count: int, step: int, refill: bool) -> list[int]:
        """Rows to sample; `refill` fills places that a filter freed, with fewer rows if there are no more."""

    def observe(self, order: Order, rows: Sequence[int], rewards_BG: "Tensor", accuracy_BG: "Tensor") -> None:
        """What the rows' groups earned."""

    def step_done(self) -> None:
        """All groups of a step were observed."""


@dataclass(frozen=True)
class InOrder(Curriculum):
    """The run's own order: every epoch a new permutation."""

    def next(self, order: Order, count: int, step: int, refill: bool) -> list[int]:
        return order.next(count)


@dataclass(frozen=True)
class OneRow(Curriculum):
    """The same row in every place: one-shot training."""

    row: int = 0
    """Its index among the training rows."""

    def next(self, order: Order, count: int, step: int, refill: bool) -> list[int]:
        return [self.row] * count


@dataclass
class TaskDeficit(Curriculum):
    """Tasks that fall short of a target come more often: weights proportional to exp((v + 0.1) / temperature).

    RuleReasoner (arXiv 2506.08672), with the run's tasks as domains: v = max(0, target - average), the average being
    that of the rewards of the newest `memory` steps times 1, 1/2, 1/3, ..., and the target the mean of those factors
    times `base`. A task that was not seen gets the largest weight.
    """

    temperature: float = 0.3
    """Lower prefers the weakest task more; .inf treats all alike."""
    every: int = 8
    """Steps between two changes of the weights."""
    memory: int = 4
    """Steps that count."""
    base: float = 1.0
    """Reward that is aimed at."""
    weights: list[float] = field(default_factory=list, init=False)
    given: list[int] = field(default_factory=list, init=False)
    """Rows of each task since the weights changed."""
    history: list[dict[int, list[float]]] = field(default_factory=list, init=False)
    """Rewards per task of the newest steps, newest first."""
    current: dict[int, list[float]] = field(default_factory=dict, init=False)
    steps: int = field(default=0, init=False)

    needs_several_tasks = True

    def next(self, order: Order, count: int, step: int, refill: bool) -> list[int]:
        if not self.weights:
            self.weights, self.given = [1 / order.sources] * order.sources, [0] * order.sources
        rows = []
        for _ in range(count):
            # Sainte-Lague's method keeps to the weights without chance
            source = min(range(order.sources), key=lambda i: (2 * self.given[i] + 1) / max(self.weights[i], 1e-12))
            self.given[source] += 1
            rows.append(order.next_of(source))
        return rows

    def observe(self, order: Order, rows: Sequence[int], rewards_BG: "Tensor", accuracy_BG: "Tensor") -> None:
        for row, rewards in zip(rows, rewards_BG.tolist(), strict=True):
            self.current.setdefault(order.source_of(row), []).extend(rewards)

    def step_done(self) -> None:
        self.history = [self.current, *self.history][: self.memory]
        self.current, self.steps = {}, self.steps + 1
        if self.steps % self.every == 0:
            decays = [1 / (age + 1) for age in range(self.memory)]
            target = self.base * fmean(decays)
            deficits: list[float | None] = []
            for source in range(len(self.weights)):
                faded = [
                    decay * reward
                    for decay, seen in zip(decays, self.history, strict=False)
                    for reward in seen.get(source, [])
                ]
                deficits.append(max(0.0, target - fmean(faded)) if faded else None)
            known = [v for v in deficits if v is not None]
            self.weights = deficit_weights([max(known) if v is None else v for v in deficits], self.temperature)
            self.given = [0] * len(self.weights)

    def metrics(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("weights", "given", "history", "current", "steps")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def deficit_weights(deficits: Sequence[float], temperature: float) -> list[float]:
    """RuleReasoner's weights, which sum to 1."""
    raw = [math.exp((v + 0.1) / temperature) for v in deficits]
    return [w / sum(raw) for w in raw]


@dataclass
class VarianceBank(Curriculum):
    """Free places are filled from a bank of rows whose accuracy varied most.

    VCRL (arXiv 2509.19803). A row's priority is an exponential average of its share of the largest possible variance.
    The bank's capacity was not published; the average and the eviction of the lowest are read into "momentum 0.9".
    """

    capacity: int = required()
    """Rows kept, those of highest priority."""
    momentum: float = 0.9
    """Share of a row's priority that stays when it is seen again."""
    replays: int = 2
    """How often a row is given again."""
    bank: dict[int, tuple[float, int]] = field(default_factory=dict, init=False)
    """Row -> priority and times given again."""

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if not algorithm.filter.max_refills:
            return (
                f"variance_bank fills places that algorithm.filter={algorithm.filter.name()} never frees; set "
                "algorithm.filter=high_variance"
            )
        return None

    def next(self, order: Order, count: int, step: int, refill: bool) -> list[int]:
        if not refill:
            return order.next(count)
        free = [row for row, (_, used) in self.bank.items() if used < self.replays]
        rows = sorted(free, key=lambda row: -self.bank[row][0])[:count]
        for row in rows:
            priority, used = self.bank[row]
            self.bank[row] = priority, used + 1
        return rows

    def observe(self, order: Order, rows: Sequence[int], rewards_BG: "Tensor", accuracy_BG: "Tensor") -> None:
        shares = variance_share(accuracy_BG, accuracy_BG.isfinite()).tolist()
        for row, share in zip(rows, shares, strict=True):
            priority, used = self.bank.get(row, (share, 0))
            self.bank[row] = self.momentum * priority + (1 - self.momentum) * share, used
        # rows that were given often enough make room first
        best = sorted(self.bank, key=lambda row: (self.bank[row][1] >= self.replays, -self.bank[row][0]))[
            : self.capacity
        ]
        self.bank = {row: self.bank[row] for row in best}

    def metrics(self) -> dict[str, Any]:
        return {"stored": len(self.bank)}

    def state_dict(self) -> dict[str, Any]:
        return {"bank": self.bank}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.bank = state["bank"]
