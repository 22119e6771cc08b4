"""Answers of a model to rows, through the same prompts, pixels and parser as training."""

from collections.abc import Callable, Iterator, Sequence

from vlmrl.config import Config
from vlmrl.engine.base import Engine
from vlmrl.engine.sampling import SamplingSettings, row_seed
from vlmrl.evaluation.card import Evaluated, scored
from vlmrl.rollout.groups import sample_groups
from vlmrl.task_mix import TaskMix
from vlmrl.types import Sample

CHUNK_ROWS = 64
"""Rows whose pictures are decoded at one time, and whose answers are kept together."""


def evaluation_sampling(config: Config) -> SamplingSettings:
    """How evaluation draws completions: greedily, unless eval.temperature says otherwise."""
    return SamplingSettings(
        config.eval.temperature, config.rollout.max_completion_tokens, stop_strings=config.rollout.stop_strings
    )


def evaluate_rows(
    engine: Engine,
    mix: TaskMix,
    samples: Sequence[Sample],
    sampling: SamplingSettings,
    *,
    seed: int = 0,
    start: int = 0,
    advance: Callable[[int], None] = lambda rows: None,
) -> Iterator[Evaluated]:
    """One scored answer for every row, in order; `advance` is told how many rows were just done.

    `start` is the place of the first row among all rows: a row's draws depend on its place and `seed` alone.
    """
    for first in range(0, len(samples), CHUNK_ROWS):
        places = range(first, min(first + CHUNK_ROWS, len(samples)))
        ids = [f"eval-{start + i}" for i in places]
        seeds = [[row_seed(seed, id_)] for id_ in ids]
        for group in sample_groups(engine, mix, [samples[i] for i in places], sampling, seeds, ids):
            yield scored(mix.of(group.sample).task, group)
        advance(len(places))
