"""`vlmrl train --dry-run`: everything that can be known to be wrong without weights, and what a run would do."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vlmrl.algorithms.choose import choose_algorithm
from vlmrl.algorithms.points import options_of
from vlmrl.checks.run import require_sound_pictures, require_sound_rows
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.models.load import load_shape, parameter_table, prepare_policy
from vlmrl.task_mix import only_task
from vlmrl.training.data import split_rows
from vlmrl.training.recorder import require_free_folder
from vlmrl.training.run import require_one_support
from vlmrl.training.trackers import require_trackers


def dry_run(config: Config) -> dict[str, Any]:
    """Checks settings, task, rows, processor and token budget; prints and returns the plan.

    The model is built from its configuration alone. Raises UserError for whatever would stop the run before its first
    step, but for memory and disk space, which `vlmrl plan` predicts.
    """
    if config.run.dir is not None:
        require_free_folder(Path(config.run.dir))
    algorithm = choose_algorithm(config)
    require_one_support(config, algorithm)
    require_trackers(config.run.trackers)
    part = only_task(config, "train --dry-run")
    task, weights = part.task, part.weights
    rows, held_out = split_rows(part, config.run.seed)
    if config.data.train is not None:
        require_sound_pictures(rows)
    shape, family = load_shape(config.model)
    policy = prepare_policy(shape, family, config.model.path, config.model, torch.device("meta"), trainable=True)
    checked = require_sound_rows(task, family, rows, weights)
    longest = max(checked.prompt_tokens)
    context = getattr(policy.text_config, "max_position_embeddings", None)
    rollout, steps = config.rollout, config.run.steps
    if context is not None and longest + rollout.max_completion_tokens > context:
        raise UserError(
            f"a prompt of {longest} tokens and completions of up to {rollout.max_completion_tokens} exceed the model's "
            f"context of {context}; lower model.max_pixels or rollout.max_completion_tokens"
        )
    plan = {
        "task": {"name": config.task.name, "options": config.task.options, "weights": dict(weights)},
        "metric": task.metrics()[0],
        "model": {
            "path": config.model.path,
            "type": policy.model.config.model_type,
        },
        "data": {"train": len(rows), "held_out": len(held_out), "checked": checked.rows},
        "tokens": {
            "shortest_prompt": min(checked.prompt_tokens),
            "longest_prompt": longest,
            "completion": rollout.max_completion_tokens,
            "context": context,
        },
        "step": {
            "prompts": rollout.prompts_per_step,
            "completions": rollout.prompts_per_step * rollout.group_size,
        },
        "run": {"steps": steps, "epochs": steps * rollout.prompts_per_step / len(rows)},
        "algorithm": {place: {"piece": piece.name(), **options_of(piece)} for place, piece in algorithm.pieces()},
        "optim": asdict(config.optim),
    }
    console = Console(highlight=False)
    console.print(parameter_table(policy))
    console.print(_table(plan))
    console.print(f"{checked.rows} rows checked, all sound. Nothing was trained; leave out --dry-run to start.")
    return plan


def _table(plan: dict[str, Any]) -> Table:
    table = Table("plan", "", box=SIMPLE_HEAD)
    for section, values in plan.items():
        if isinstance(values, dict):
            for name, value in values.items():
                table.add_row(f"{section}.{name}", _shown(value))
        else:
            table.add_row(section, _shown(values))
    return table


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(entry)}" for name, entry in value.items()) or "none"
    return f"{value:,}" if type(value) is int else f"{value:.6g}" if isinstance(value, float) else str(value)
