"""The training loop: sample groups, score them, take advantages, update, record."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.token_credit import Broadcast
from vlmrl.config import Config
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard, overall
from vlmrl.evaluation.rows import evaluate_rows, evaluation_sampling
from vlmrl.task_mix import TaskMix
from vlmrl.training.checkpoint import prune_checkpoints, save_checkpoint
from vlmrl.training.collect import Collector
from vlmrl.training.console import Progress
from vlmrl.training.credit import assign_advantages, spread_advantages
from vlmrl.training.interrupt import StopRequest
from vlmrl.training.metrics import group_metrics
from vlmrl.training.recorder import Recorder
from vlmrl.training.safety import Tripwires, save_faulty_batch
from vlmrl.training.update import TokenShares, Updater, UpdateStats
from vlmrl.types import Group, Sample


@dataclass
class Trainer:
    """One run. Its state is what `state_dict` returns plus the model's weights; nothing else survives a step."""

    config: Config
    mix: TaskMix
    engine: Engine
    algorithm: Algorithm
    collector: Collector
    updater: Updater
    held_out: Sequence[Sample]
    tripwires: Tripwires
    recorder: Recorder
    progress: Progress
    stop: StopRequest
    step: int = 0
    before: dict[str, ScoreCard] = field(default_factory=dict)
    """Each task's first evaluation."""
    after: dict[str, ScoreCard] = field(default_factory=dict)
    """Each task's newest evaluation."""
    best: tuple[float, int] | None = None
    """Score and step of the best evaluation after the start."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time per phase, over all sessions of the run."""

    def run(self) -> None:
        """Trains to the last step. Raises Interrupted, with everything saved, if the user asked to stop."""
        settings = self.config.run
        while True:
            if self._evaluation_due():
                self._evaluate()
            if self.stop.requested:
                self._save()
                run = self.recorder.run
                raise Interrupted(f"stopped after step {self.step}; continue with: vlmrl train --resume {run}")
            if self.step == settings.steps:
                break
            self._train_step()
            if self.step % settings.save_every == 0 or self.step == settings.steps:
                self._save()
            if self.tripwires.stops:
                self._save()
                raise UserError(self._tripped())

    def _tripped(self) -> str:
        good = self.tripwires.last_good
        place = f"the last good checkpoint is of step {good}" if good else "no checkpoint was good"
        return (
            f"stopped after step {self.step}, {self.tripwires.steps} steps beyond a tripwire: "
            f"{'; '.join(self.tripwires.found)}; {place}. To go on all the same: vlmrl train --resume "
            f"{self.recorder.run} safety.stop_after=0"
        )

    def _train_step(self) -> None:
        self.step += 1
        spent: dict[str, float] = {}
        kept = KeptPasses(self.engine.max_tokens_per_pass)
        split_before = self.engine.split_passes
        self.updater.schedule(self.step)
        with _timed(spent, "rollout"):
            collected = self.collector.collect(self.step, kept)
        groups = [*collected.groups, *collected.replayed]
        with _timed(spent, "update"):
            dead, stats, shares = self._learn(groups, kept)
        metrics = {
            **group_metrics(self.mix, collected.groups, collected.sampled, dead),
            "refills": collected.refills,
            "lr": self.updater.optimizer.param_groups[0]["lr"],
            **stats.record(),
            **shares.means(),
            "split_passes": self.engine.split_passes - split_before,
        }
        for name, of_task in metrics.get("tasks", {}).items():
            of_task |= shares.means(self._rows_of(name, groups))
        self._remember(groups, metrics)
        metrics["pieces"] = {place: found for place, piece in self.algorithm.pieces() if (found := piece.metrics())}
        with _timed(spent, "record"):
            self.recorder.step(self.step, metrics, collected.groups, spent)
        for phase, seconds in spent.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self.progress.step(self.step, metrics)
        if warning := self.tripwires.observe(metrics):
            self.progress.console.print(f"step {self.step}: {warning}")

    def _rows_of(self, task: str, groups: Sequence[Group]) -> list[int]:
        """A task's rows among all rollouts of the groups."""
        names = [self.mix.of(group.sample).name for group in groups for _ in group.rollouts]
        return [row for row, name in enumerate(names) if name == task]

    def _learn(self, groups: Sequence[Group], kept: KeptPasses) -> tuple[set[str], UpdateStats, TokenShares]:
        """Takes advantages and updates the weights; returns the ids of groups whose rewards do not vary."""
        if not groups:
            return set(), UpdateStats(), TokenShares.nothing()
        tokens = self.updater.prepare(groups)
        limit = self.config.rollout.max_completion_tokens
        dead = assign_advantages(self.mix, groups, tokens, self.algorithm, self.step, limit)
        auxiliary = 0
        for piece in self.algorithm.auxiliary.values():
            if earlier := piece.before(_mean_reward(groups)):
                extra = self.updater.prepare(earlier)
                spread_advantages(earlier, extra, Broadcast())
                self.updater.update(earlier, extra, self.step)
                auxiliary += len(earlier)
                kept.clear()
        stats, shares = self.updater.update(groups, tokens, self.step, kept)
        stats.auxiliary_groups = auxiliary
        if stats.skipped:
            path = save_faulty_batch(self.recorder.run, self.step, groups, tokens)
            self.progress.console.print(
                f"step {self.step}: the loss or the gradient was not finite, the weights stay as they are; its batch "
                f"is in {path}"
            )
        return dead, stats, shares

    def _remember(self, groups: Sequence[Group], metrics: Mapping[str, Any]) -> None:
        """Lets the algorithm's stateful pieces see how the step went."""
        if not groups:
            return
        for buffer in self.algorithm.buffers.values():
            buffer.keep(groups, self.step)
        for piece in self.algorithm.auxiliary.values():
            piece.after(groups, _mean_reward(groups))
        for controller in self.algorithm.controllers.values():
            controller.observe(metrics)

    def _evaluation_due(self) -> bool:
        every, total = self.config.eval.every, self.config.run.steps
        return bool(self.held_out) and (self.step in (0, total) or (every > 0 and self.step % every == 0))

    def _evaluate(self) -> None:
        started = time.perf_counter()
        with self.progress.evaluating(len(self.held_out)) as advance:
            sampling, seed = evaluation_sampling(self.config), self.config.run.seed
            rows = evaluate_rows(self.engine, self.mix, self.held_out, sampling, seed=seed, advance=advance)
            evaluated = list(rows)
        cards = self._cards(evaluated)
        card = overall(cards)
        self.recorder.evaluation(self.step, card, cards, evaluated)
        for controller in self.algorithm.controllers.values():
            controller.evaluated({name: found.value for name, found in card.metrics.items()}, self.step)
        self.before, self.after = self.before or cards, cards
        if self.step and (self.best is None or card.score > self.best[0]):
            self.best = card.score, self.step
            self._save()
        self.seconds["eval"] = self.seconds.get("eval", 0.0) + time.perf_counter() - started
        self.progress.evaluated(self.step, card)

    def _cards(self, evaluated: Sequence[Evaluated]) -> dict[str, ScoreCard]:
        cards = {}
        for part in self.mix.parts:
            cards[part.name] = part.card([item for item in evaluated if self.mix.of(item.group.sample) is part])
        return cards

    def _save(self) -> None:
        run = self.recorder.run
        self.tripwires.saved(self.step)
        save_checkpoint(run, self.step, self.engine.policy, self.state_dict())
        good = [step for step in (self.best and self.best[1], self.tripwires.last_good) if step is not None]
        prune_checkpoints(run, {self.step, *good})

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.updater.optimizer.state_dict(),
            "order": self.collector.order.state_dict(),
            "algorithm": self.algorithm.state_dict(),
            "tripwires": self.tripwires.state_dict(),
            "before": self.before,
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.updater.optimizer.load_state_dict(state["optimizer"])
        self.collector.order.load_state_dict(state["order"])
        self.algorithm.load_state_dict(state["algorithm"])
        self.tripwires.load_state_dict(state["tripwires"])
        self.before, self.best, self.seconds = state["before"], state["best"], state["seconds"]


def _mean_reward(groups: Sequence[Group]) -> float:
    return fmean(rollout.reward for group in groups for rollout in group.rollouts)


@contextmanager
def _timed(spent: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[phase] = time.perf_counter() - started
