"""The training loop: sample groups, score them, take advantages, update, record."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from vlmrl.algorithms.advantages import SPREAD_TOLERANCE
from vlmrl.algorithms.presets import Algorithm
from vlmrl.config import Config
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.sampling import row_seed
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.rows import ScoreCard, evaluate_rows, score_card
from vlmrl.rollout.groups import sample_groups, sampling_settings
from vlmrl.task import Task, metric_values
from vlmrl.training.checkpoint import prune_checkpoints, save_checkpoint
from vlmrl.training.console import Progress
from vlmrl.training.data import RowOrder
from vlmrl.training.interrupt import StopRequest
from vlmrl.training.recorder import Recorder
from vlmrl.training.update import Updater, UpdateStats, assign_advantages
from vlmrl.types import Group, Rollout, Sample, Unparsed


@dataclass
class Trainer:
    """One run. Its state is what `state_dict` returns plus the model's weights; nothing else survives a step."""

    config: Config
    task: Task
    engine: Engine
    algorithm: Algorithm
    updater: Updater
    rows: Sequence[Sample]
    held_out: Sequence[Sample]
    order: RowOrder
    weights: dict[str, float]
    recorder: Recorder
    progress: Progress
    stop: StopRequest
    step: int = 0
    before: ScoreCard | None = None
    after: ScoreCard | None = None
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
        constant_B = assign_advantages(groups, self.algorithm, self.config.rollout)
        with _timed(spent, "update"):
            stats = self.updater.update(groups, self.step, kept)
        metrics = self._metrics(groups, sampled, constant_B.tolist(), stats)
        metrics["split_passes"] = self.engine.split_passes - split_before
        with _timed(spent, "record"):
            self.recorder.step(self.step, metrics, groups, spent)
        for phase, seconds in spent.items():
            self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds
        self.progress.step(self.step, metrics)

    def _collect(self, kept: KeptPasses) -> tuple[list[Group], int]:
        """The step's groups, and how many were sampled to get them (dynamic sampling drops constant ones)."""
        chosen: list[Group] = []
        wanted, sampled = self.config.rollout.prompts_per_step, 0
        for _ in range(1 + (self.config.algorithm.max_refills if self.algorithm.drop_constant_groups else 0)):
            groups = self._sample(wanted - len(chosen), sampled, kept)
            sampled += len(groups)
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
            self.task,
            [self.rows[i] for i in self.order.next(count)],
            sampling_settings(rollout),
            seeds,
            self.weights,
            ids,
            kept,
        )
        self._refuse_failing_rewards(groups)
        return groups

    def _accuracy_varies(self, group: Group) -> bool:
        headline = self.task.metrics()[0]
        values = [metric_values(self.task, group.sample, r)[headline] for r in group.rollouts]
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

    def _metrics(
        self, groups: Sequence[Group], sampled: int, constant_B: list[bool], stats: UpdateStats
    ) -> dict[str, Any]:
        rollouts = [r for group in groups for r in group.rollouts]
        values = [metric_values(self.task, g.sample, r) for g in groups for r in g.rollouts]
        lengths = [len(r.token_ids_T) for r in rollouts]
        scores = [score for r in rollouts for score in r.scores.values()]
        if not rollouts:
            return {"groups": 0, "sampled_groups": sampled, **stats.record()}
        return {
            "reward": fmean(r.reward for r in rollouts),
            "rewards": {name: _component_mean(rollouts, name) for name in self.task.rewards()},
            "accuracy": fmean(v[self.task.metrics()[0]] for v in values),
            "unparsed": fmean(isinstance(r.answer, Unparsed) for r in rollouts),
            "truncated": fmean(r.truncated for r in rollouts),
            "reward_errors": sum(score.error is not None for score in scores),
            "groups": len(groups),
            "sampled_groups": sampled,
            "dead_groups": fmean(constant_B),
            "advantage_abs": fmean(abs(r.advantage) for r in rollouts),
            "entropy": fmean(r.entropy for r in rollouts),
            "completion_tokens": fmean(lengths),
            "completion_tokens_max": max(lengths),
            "lr": self.updater.optimizer.param_groups[0]["lr"],
            **stats.record(),
        }

    def _evaluation_due(self) -> bool:
        every, total = self.config.eval.every, self.config.run.steps
        return bool(self.held_out) and (self.step in (0, total) or (every > 0 and self.step % every == 0))

    def _evaluate(self) -> None:
        started = time.perf_counter()
        with self.progress.evaluating(len(self.held_out)) as advance:
            limit = self.config.rollout.max_completion_tokens
            evaluated = list(evaluate_rows(self.engine, self.task, self.held_out, limit, advance))
        tags = sorted({tag for item in evaluated for tag in item.group.sample.tags})
        card = score_card(self.task, evaluated, tags)
        self.recorder.evaluation(self.step, card, evaluated)
        self.before, self.after = self.before or card, card
        if self.step and (self.best is None or card.score > self.best[0]):
            self.best = card.score, self.step
            self._save()
        self.seconds["eval"] = self.seconds.get("eval", 0.0) + time.perf_counter() - started
        self.progress.evaluated(self.step, card)

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


def _component_mean(rollouts: Sequence[Rollout], name: str) -> float | None:
    """Mean of a reward component; None if it applies to no parsed answer, whatever unparsed ones earn by rule."""
    scores = [(r.scores[name].value, isinstance(r.answer, Unparsed)) for r in rollouts]
    known = [value for value, _ in scores if value is not None]
    applies = any(value is not None for value, unparsed in scores if not unparsed)
    return fmean(known) if applies else None


@contextmanager
def _timed(spent: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    spent[phase] = time.perf_counter() - started
