"""`vlmrl warmup`: supervised fine-tuning on a task's rows, from which reinforcement learning then starts.

trl's SFTTrainer trains; what it sees is made by `supervised.py`. The result folder is an ordinary checkpoint, adapters
merged, beside

| file | content |
|---|---|
| config.yaml | every setting as resolved |
| summary.json | held-out loss and score before and after, the training loss along the way |
| unfinished/ | the trainer's own state while it has not finished, for --resume |
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from vlmrl.checks.run import require_sound_pictures, require_sound_rows
from vlmrl.config import Config, WarmupConfig
from vlmrl.engine.choose import make_engine
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.card import ScoreCard
from vlmrl.evaluation.rows import evaluate_rows, evaluation_sampling
from vlmrl.models.load import Policy, load_policy, merge_adapters, parameter_table, resolve_device, save_policy
from vlmrl.progress import phase
from vlmrl.resolve import to_yaml
from vlmrl.task_mix import TaskMix, TaskPart, only_task
from vlmrl.training.checkpoint import require_space, training_bytes
from vlmrl.training.console import before_after_table
from vlmrl.training.data import split_rows
from vlmrl.training.recorder import dump_json, require_free_folder
from vlmrl.types import Sample

UNFINISHED = "unfinished"


def cold_start(config: Config, resume: Path | None = None) -> dict[str, Any]:
    """Fine-tunes a model on the task's right answers and returns the summary (also in DIR/summary.json).

    The score after training is the written folder's own: it is loaded again for it. Raises UserError for wrong input,
    before anything is written but for a row that is met too long on the way; Interrupted after saving when the user
    asked to stop.
    """
    _require_trl()
    from vlmrl.training.sft_trainer import Watch, held_out_loss, make_trainer

    folder = resume or Path(config.run.dir or _new_folder(config))
    part = only_task(config, "warmup")
    task = part.task
    _require_possible(config.warmup)
    device = resolve_device(config.run.device)
    _require_one_device(device)
    state = _state_to_resume(resume) if resume else None
    if not resume:
        require_free_folder(folder)
    torch.manual_seed(config.run.seed)
    rows, held_out = split_rows(part, config.run.seed)
    if config.data.train is not None:
        require_sound_pictures(rows)
    policy = load_policy(config.model, device, trainable=True)
    require_sound_rows(task, policy.family, rows, part.weights)
    require_space(folder, 2 * training_bytes(policy))
    console = Console(highlight=False)
    console.print(parameter_table(policy))
    before = _evaluate(policy, part, held_out, config, console) if len(held_out) else None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    watch = Watch(console)
    trainer = make_trainer(policy, task, rows, held_out, config, folder / UNFINISHED, watch)
    losses = [held_out_loss(trainer)] if len(held_out) else []
    with watch.stop:
        trainer.train(resume_from_checkpoint=str(state) if state else None)
    if trainer.state.global_step < trainer.state.max_steps:
        raise Interrupted(
            f"stopped after step {trainer.state.global_step}; continue with: vlmrl warmup --resume {folder}"
        )
    losses += [held_out_loss(trainer)] if len(held_out) else []
    _save(policy, folder)
    summary = {
        "task": config.task.name,
        "model": config.model.path,
        "seed": config.run.seed,
        "steps": trainer.state.global_step,
        "held_out_loss": losses,
        "training_loss": [[step, loss] for step, loss in watch.losses(trainer.state)],
        "before": None,
        "after": None,
        "folder": str(folder),
    }
    del trainer, policy  # two copies of a large model need not fit
    if before is not None:
        written = load_policy(replace(config.model, path=str(folder)), device, trainable=False)
        after = _evaluate(written, part, held_out, config, console)
        console.print(before_after_table(before, after, "held-out rows"))
        console.print(f"held-out loss  {losses[0]:.4f} before, {losses[1]:.4f} after")
        summary |= {"before": before.record(), "after": after.record()}
    dump_json(summary, folder / "summary.json")
    console.print(f"model  {folder}", soft_wrap=True)
    return summary


def _require_trl() -> None:
    if missing := [name for name in ("trl", "datasets") if find_spec(name) is None]:
        raise UserError(f"vlmrl warmup needs {' and '.join(missing)}: pip install 'vlmrl[train]'")


def _require_possible(warmup: WarmupConfig) -> None:
    batch, rows = warmup.batch_rows, warmup.rows_per_pass
    if rows < 1 or batch < 1 or batch % rows:
        raise UserError(f"warmup.batch_rows={batch} must be a multiple of warmup.rows_per_pass={rows}")
    if warmup.steps < 1 or (warmup.epochs is not None and not 0 < warmup.epochs < float("inf")):
        raise UserError(f"warmup.steps={warmup.steps}, warmup.epochs={warmup.epochs}: nothing to train; raise them")


def _require_one_device(device: torch.device) -> None:
    """The trainer would copy the model to every device it sees."""
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        raise UserError(
            f"vlmrl warmup runs on one GPU and sees {torch.cuda.device_count()}: choose one, e.g. CUDA_VISIBLE_DEVICES="
            f"{device.index or 0}"
        )


def _new_folder(config: Config) -> str:
    model = Path(config.model.path).name
    return f"runs/warmup-{config.task.name}-{model}-{datetime.now():%Y%m%d-%H%M%S}"


def _state_to_resume(folder: Path) -> Path:
    if (folder / "summary.json").is_file():
        raise UserError(f"--resume {folder}: it has finished; train with --model {folder}")
    # the trainer writes this file last, so a checkpoint that a crash cut off has none
    whole = [path.parent for path in (folder / UNFINISHED).glob("checkpoint-*/trainer_state.json")]
    if not whole:
        raise UserError(f"--resume {folder}: nothing was saved there yet; start again with another --out DIR")
    return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def _evaluate(policy: Policy, part: TaskPart, rows: Sequence[Sample], config: Config, console: Console) -> ScoreCard:
    engine = make_engine(policy, config.engine)
    with phase("held-out rows", len(rows), console) as advance:
        evaluated = list(evaluate_rows(engine, TaskMix(part), rows, evaluation_sampling(config), advance=advance))
    card = part.card(evaluated)
    console.print(f"held-out {card.metric}: {card.score:.1%}, n = {card.n}")
    return card


def _save(policy: Policy, folder: Path) -> None:
    """Writes the model, adapters merged, so that a reinforcement run's start model and KL reference are this model."""
    merge_adapters(policy)
    save_policy(policy, folder)
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
