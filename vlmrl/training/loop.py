"""The training loop: sample groups, score them, take advantages, update, record."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from vlmrl.algorithms.advantages import SPREAD_TOLERANCE
from vlmrl.algorithms.presets import Algorithm
from vlmrl.config import Config
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.sampling import row_seed
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard, overall
from vlmrl.evaluation.rows import evaluate_rows, evaluation_sampling
from vlmrl.rollout.groups import sample_groups, sampling_settings
from vlmrl.task_mix import TaskMix
from vlmrl.training.checkpoint import prune_checkpoints, save_checkpoint
from vlmrl.training.console import Progress
from vlmrl.training.data import MixedOrder
from vlmrl.training.interrupt import StopRequest
from vlmrl.training.metrics import count_sampled, group_metrics, headline
from vlmrl.training.recorder import Recorder
from vlmrl.training.update import Updater, assign_advantages
from vlmrl.types import Group, Sample


@dataclass
class Trainer:
    """One run. Its state is what `state_dict` returns plus the model's weights; nothing else survives a step."""

    config: Config
    mix: TaskMix
    engine: Engine
    algorithm: Algorithm
    updater: Updater
    rows: Sequence[Sample]
    held_out: Sequence[Sample]
    order: MixedOrder
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

    def _train_step(self) -> None:
        self.step += 1
        spent: dict[str, float] = {}
        kept = KeptPasses(self.engine.max_tokens_per_pass)
        split_before = self.engine.split_passes
        with _timed(spent, "rollout"):
            groups, sampled = self._collect(kept)
        dead = self._assign_advantages(groups)
        with _timed(spent, "update"):
            stats = self.updater.update(groups, self.step, kept)
        metrics = {
            **group_metrics(self.mix, groups, sampled, dead),
            "lr": self.updater.optimizer.param_groups[0]["lr"],
            **stats.record(),
            "split_passes": self.engine.split_passes - split_before,
        }
        with _timed(spent, "record"):
            self.recorder.step(self.step, metrics, groups, spent)
        for phase, seconds in spent.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self.progress.step(self.step, metrics)

    def _assign_advantages(self, groups: Sequence[Group]) -> set[str]:
        """Sets every rollout's advantage by its task's scale; returns the ids of groups whose rewards do not vary."""
        dead: set[str] = set()
        for part in self.mix.parts:
            own = [group for group in groups if self.mix.of(group.sample) is part]
            if own:
                algorithm = replace(self.algorithm, scale=part.scale or self.algorithm.scale)
                constant_B = assign_advantages(own, algorithm, self.config.rollout)
                dead |= {group.id for group, constant in zip(own, constant_B.tolist(), strict=True) if constant}
        return dead

    def _collect(self, kept: KeptPasses) -> tuple[list[Group], Counter[str]]:
        """The step's groups, and how many of each task were sampled to get them (dynamic sampling drops constant
        ones and takes the next rows in their order, whichever task's they are)."""
        chosen: list[Group] = []
        wanted = self.config.rollout.prompts_per_step
        sampled: Counter[str] = Counter()
        for _ in range(1 + (self.config.algorithm.max_refills if self.algorithm.drop_constant_groups else 0)):
            groups = self._sample(wanted - len(chosen), sampled.total(), kept)
            sampled += count_sampled(self.mix, groups)
            chosen += [g for g in groups if not self.algorithm.drop_constant_groups or self._accuracy_varies(g)]
            if len(chosen) == wanted:
                break
        return chosen, sampled

    def _sample(self, count: int, offset: int, kept: KeptPasses) -> list[Group]:
        rollout = self.config.rollout
        ids = [f"{self.step}-{offset + i}" for i in range(count)]
        seeds = [[row_seed(self.config.run.seed, id_, g) for g in range(rollout.group_size)] for id_ in ids]
        groups = sample_groups(
            self.engine,
            self.mix,
            [self.rows[i] for i in self.order.next(count)],
            sampling_settings(rollout),
            seeds,
            ids,
            kept,
        )
        self._refuse_failing_rewards(groups)
        return groups

    def _accuracy_varies(self, group: Group) -> bool:
        values = headline(self.mix.of(group.sample), group)
        return max(values) - min(values) > SPREAD_TOLERANCE

    def _refuse_failing_rewards(self, groups: Sequence[Group]) -> None:
        scores = [(g, name, s) for g in groups for r in g.rollouts for name, s in r.scores.items()]
        errors = [(group, name, score.error) for group, name, score in scores if score.error]
        if len(errors) > self.config.run.max_error_rate * len(scores):
            group, name, trace = errors[0]
            raise UserError(
                f"reward {name} failed on row {group.sample.id} ({len(errors)} of {len(scores)} scores of step "
                f"{self.step} failed; run.max_error_rate={self.config.run.max_error_rate}):\n{trace}"
            )

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
        save_checkpoint(run, self.step, self.engine.policy, self.state_dict())
        keep = {self.step, *([self.best[1]] if self.best else [])}
        prune_checkpoints(run, keep)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.updater.optimizer.state_dict(),
            "order": self.order.state_dict(),
            "before": self.before,
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.updater.optimizer.load_state_dict(state["optimizer"])
        self.order.load_state_dict(state["order"])
        self.before, self.best, self.seconds = state["before"], state["best"], state["seconds"]


@contextmanager
def _timed(spent: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[phase] = time.perf_counter() - started
