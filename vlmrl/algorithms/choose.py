"""The algorithm that a run's settings ask for, refused at once if its pieces do not fit together or are not given."""

from collections.abc import Iterator
from dataclasses import replace

from vlmrl.algorithms.advantages import GroupRelative
from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.controllers import REWARDS
from vlmrl.algorithms.points import build_algorithm
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.registry import find_task
from vlmrl.task_mix import task_names

OWN_PIECES = "algorithm"
"""Module of a task folder that may hold pieces."""


def choose_algorithm(config: Config) -> Algorithm:
    """The preset with the user's replacements.

    Raises UserError for an unknown preset, piece or option, and for pieces that cannot work together, naming them.
    """
    folders = [find_task(name) for name in task_names(config)]
    modules = [f.submodule(OWN_PIECES) for f in folders if (f.path / f"{OWN_PIECES}.py").is_file()]
    algorithm = build_algorithm(config.algorithm, modules)
    for fault in faults(algorithm, config):
        raise UserError(fault)
    return algorithm


def of_task(algorithm: Algorithm, scale: str | None) -> Algorithm:
    """The algorithm with a task's own scale of advantages."""
    if scale is None or not isinstance(algorithm.advantage, GroupRelative):
        return algorithm
    return replace(algorithm, advantage=replace(algorithm.advantage, scale=scale))  # type: ignore[arg-type]


def faults(algorithm: Algorithm, config: Config) -> Iterator[str]:
    """Everything that keeps the pieces from working together, each with the fix."""
    rollout = config.rollout
    for place, piece in algorithm.pieces():
        if fault := piece.fault(algorithm, rollout.group_size, rollout.max_completion_tokens):
            yield f"algorithm.{place}: {fault}"
        yield from (f"algorithm.{place} ({piece.name()}) {lack}" for lack in _lacks(algorithm, config, piece.needs()))
    yield from _pointless(algorithm)
    several = len(task_names(config)) > 1
    if algorithm.curriculum.needs_several_tasks and not several:
        yield (
            f"algorithm.curriculum={algorithm.curriculum.name()} chooses between tasks, and task.name="
            f"{config.task.name} is one; name several with commas"
        )
    for name, each in config.task.each.items():
        if each.scale is not None and not isinstance(algorithm.advantage, GroupRelative):
            yield (
                f"task.each.{name}.scale={each.scale} has no effect with algorithm.advantage="
                f"{algorithm.advantage.name()}; leave it out, or set algorithm.advantage=group_relative"
            )


def _lacks(algorithm: Algorithm, config: Config, needs: frozenset[str]) -> Iterator[str]:
    if "contrast" in needs and not algorithm.plan.has_contrast:
        yield (
            f"compares a group with a contrast arm, and algorithm.plan={algorithm.plan.name()} samples none; set "
            "algorithm.plan=shuffled_frames"
        )
    if "judge" in needs and algorithm.judge is None:
        yield "asks for a judge; set algorithm.judge to one of yours (docs/own-algorithm.md)"
    if "teacher" in needs and config.algorithm.teacher is None:
        yield "asks for a teacher; set algorithm.teacher to a model with the same tokenizer"


def _pointless(algorithm: Algorithm) -> Iterator[str]:
    """Combinations in which one piece undoes or replaces another."""
    estimator = algorithm.advantage
    if estimator.scales_away_constants:
        for label, transform in algorithm.reward_transforms.items():
            if transform.common_factor:
                yield _undone(f"algorithm.reward_transforms.{label}", estimator.name())
        if not algorithm.loss_regularisers:
            for label, controller in algorithm.controllers.items():
                if controller.target == REWARDS:
                    yield _undone(f"algorithm.controllers.{label}", estimator.name())
    if not estimator.uses_rewards:
        for point in ("reward_transforms", "controllers"):
            for label, piece in getattr(algorithm, point).items():
                if point == "reward_transforms" or piece.target == REWARDS:
                    yield (
                        f"algorithm.{point}.{label} changes rewards, which algorithm.advantage={estimator.name()} does "
                        f"not look at; set algorithm.{point}.{label}=false, or algorithm.advantage=group_relative"
                    )
    if algorithm.objective is not None:
        replaced = ("reward_transforms", "advantage_transforms", "auxiliary", "token_weights", "expert_surrogate")
        for point in (point for point in replaced if getattr(algorithm, point)):
            yield (
                f"algorithm.objective={algorithm.objective.name()} takes the place of advantages and surrogate, so "
                f"algorithm.{point} has no effect; leave it out, or set algorithm.objective=none"
            )
    labels = [REWARDS, *algorithm.loss_regularisers]
    for label, controller in algorithm.controllers.items():
        if controller.target not in labels:
            yield (
                f"algorithm.controllers.{label} acts on {controller.target}, which is not used; its target can be "
                f"{', '.join(labels)}"
            )


def _undone(place: str, estimator: str) -> str:
    return (
        f"{place} scales or shifts all rewards alike, which algorithm.advantage={estimator} undoes by dividing by a "
        "deviation; set algorithm.advantage.scale=none"
    )
