"""`vlmrl train`: checks everything that can be wrong, then trains, then sums up."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.choose import choose_algorithm
from vlmrl.checks.run import require_sound_pictures, require_sound_rows
from vlmrl.config import Config, LoraConfig
from vlmrl.engine.base import Engine
from vlmrl.engine.choose import make_engine
from vlmrl.engine.sampling import row_seed
from vlmrl.engine.self_check import CHECKED_MEMBERS, CHECKED_TOKENS, require_agreement
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.evaluation.card import ScoreCard, overall
from vlmrl.models.checkpoint_folders import checkpoint_folder, newest_checkpoint
from vlmrl.models.load import Policy, load_policy, parameter_table, resolve_device
from vlmrl.progress import phase
from vlmrl.report.page import write_report
from vlmrl.resolve import to_dict
from vlmrl.rollout.groups import encode, sampling_settings, truncation
from vlmrl.task_mix import TaskMix, task_mix, task_names
from vlmrl.training.checkpoint import load_state, require_space, training_bytes
from vlmrl.training.collect import Collector
from vlmrl.training.console import Progress, before_after_table
from vlmrl.training.data import Joined, MixedOrder, split_rows
from vlmrl.training.interrupt import StopRequest
from vlmrl.training.loop import Trainer
from vlmrl.training.recorder import Recorder, dump_json, require_free_folder
from vlmrl.training.safety import Tripwires
from vlmrl.training.trackers import Trackers, require_trackers
from vlmrl.training.update import Updater
from vlmrl.types import Sample

CHECKPOINTS_KEPT = 3
"""The newest, the best, and the one being written."""


def train(config: Config, resume: Path | None = None) -> dict[str, Any]:
    """Runs or continues a training run and returns its summary (also in RUN/summary.json).

    Raises UserError for wrong input before anything is written, and Interrupted after saving when the user asked to
    stop.
    """
    run = resume or Path(config.run.dir or _new_run_folder(config))
    algorithm = choose_algorithm(config)
    require_one_support(config, algorithm)
    require_trackers(config.run.trackers)
    mix = task_mix(config)
    checkpoint = _checkpoint_to_resume(resume) if resume else None
    if not resume:
        require_free_folder(run)
    random.seed(config.run.seed)
    torch.manual_seed(config.run.seed)
    rows: list[Sequence[Sample]] = []
    held_out: list[Sequence[Sample]] = []
    for part in mix.parts:
        with phase(f"reading the rows of {part.name}"):
            sides = split_rows(part, config.run.seed)
        for side, found in zip((rows, held_out), sides, strict=True):
            side.append(mix.rows_of(part, found))
        if part.data.train is not None:
            require_sound_pictures(rows[-1])
    device = resolve_device(config.run.device)
    with phase("loading the model"):
        policy = _load_policy(config, device, checkpoint)
    for part, own in zip(mix.parts, rows, strict=True):
        require_sound_rows(part.task, policy.family, own, part.weights)
    require_space(run, CHECKPOINTS_KEPT * training_bytes(policy))
    engine = make_engine(policy, config.engine)
    progress = Progress(config.run.steps)
    progress.console.print(parameter_table(policy))
    if config.engine.self_check and config.engine.kind == "shared":
        for own in rows:
            with phase("comparing the engines"):
                difference = _self_check(engine, mix, own[0], config)
            progress.console.print(f"shared prompt against naive: {difference}")
    teacher = _teacher(engine, algorithm, config, device)
    recorder = Recorder(run, config.run.logged_groups)
    trainer = Trainer(
        config=config,
        mix=mix,
        engine=engine,
        algorithm=algorithm,
        collector=Collector(
            config=config,
            mix=mix,
            engine=engine,
            algorithm=algorithm,
            rows=Joined(rows),
            order=MixedOrder([len(own) for own in rows], [part.ratio for part in mix.parts], config.run.seed),
            teacher=teacher,
        ),
        updater=_updater(engine, algorithm, config, device, teacher),
        held_out=Joined(held_out),
        tripwires=Tripwires(config.safety),
        recorder=recorder,
        progress=progress,
        stop=StopRequest(),
    )
    if checkpoint:
        trainer.load_state_dict(load_state(checkpoint))
        recorder.rewind(trainer.step)
        progress.console.print(f"continuing {run} after step {trainer.step}")
    else:
        recorder.create(config, policy)
    trackers = Trackers.opened(config.run.trackers, run, recorder.run_id, to_dict(config), trainer.step)
    with trackers as recorder.trackers, trainer.stop, progress:
        trainer.run()
    return _sum_up(trainer, run)


def require_one_support(config: Config, algorithm: Algorithm) -> None:
    """A truncated distribution keeps other tokens as soon as the weights differ, and no ratio compares the two."""
    if truncation(config.rollout).active and (config.optim.inner_epochs > 1 or algorithm.compares_weights):
        raise UserError(
            "rollout.top_k, top_p and min_p truncate the distribution, and other weights keep other tokens: "
            "set optim.inner_epochs=1 and leave out what compares the policy with other weights (a KL term as "
            "algorithm.regularisers.kl, a teacher, buffers), or sample without them"
        )


def _new_run_folder(config: Config) -> str:
    model = Path(config.model.path).name
    return f"runs/{'+'.join(task_names(config))}-{model}-{datetime.now():%Y%m%d-%H%M%S}"


def _checkpoint_to_resume(run: Path) -> Path:
    if not (run / "config.yaml").is_file():
        raise UserError(f"--resume {run}: not a run folder (it has no config.yaml)")
    checkpoint = newest_checkpoint(run)
    if checkpoint is None:
        raise UserError(f"--resume {run}: it has no whole checkpoint; start again with another --run DIR")
    return checkpoint


def _load_policy(config: Config, device: torch.device, checkpoint: Path | None) -> Policy:
    if checkpoint is None:
        return load_policy(config.model, device, trainable=True)
    if config.model.lora.rank > 0:
        return load_policy(config.model, device, trainable=True, adapter=checkpoint)
    return load_policy(replace(config.model, path=str(checkpoint)), device, trainable=True)


def _self_check(engine: Engine, mix: TaskMix, sample: Sample, config: Config) -> str:
    """Compares the engines on a group of the first row, sampled as training samples."""
    rollout = config.rollout
    prompts = encode(engine.policy, mix, [sample])
    seeds = [[row_seed(config.run.seed, "self-check", g) for g in range(CHECKED_MEMBERS)]]
    settings = sampling_settings(rollout)
    settings = replace(settings, max_tokens=min(settings.max_tokens, CHECKED_TOKENS))
    completions = [c.token_ids_T for c in engine.sample(prompts, settings, seeds)[0]]
    # ragged in any case, as real groups are
    completions[-1] = completions[-1][: max(1, len(completions[-1]) // 2)]
    return str(require_agreement(engine.policy, prompts[0], completions, rollout.temperature, truncation(rollout)))


def _updater(
    engine: Engine, algorithm: Algorithm, config: Config, device: torch.device, teacher: Engine | None
) -> Updater:
    reference = None
    if "reference" in algorithm.needs() and not engine.policy.has_adapters:
        start = load_policy(config.model, device, trainable=False)
        reference = make_engine(start, config.engine, engine.tower if isinstance(engine, SharedEngine) else None)
    return Updater(engine, algorithm, config.optim, config.rollout, config.run.steps, reference, teacher)


def _teacher(engine: Engine, algorithm: Algorithm, config: Config, device: torch.device) -> Engine | None:
    """The second model, if a piece asks for one. Raises UserError if it reads other tokens than the policy."""
    path = config.algorithm.teacher
    if path is None or "teacher" not in algorithm.needs():
        return None
    policy = load_policy(replace(config.model, path=path, lora=LoraConfig()), device, trainable=False)
    own, other = (one.family.tokenizer.get_vocab() for one in (engine.policy, policy))
    if own != other or not torch.equal(policy.banned_V, engine.policy.banned_V):
        raise UserError(
            f"algorithm.teacher={path} has another tokenizer than {config.model.path}; choose one of the same family"
        )
    return make_engine(policy, config.engine)


def _sum_up(trainer: Trainer, run: Path) -> dict[str, Any]:
    config, seconds = trainer.config, trainer.seconds
    best = trainer.best

    def result(cards: dict[str, ScoreCard]) -> dict[str, Any] | None:
        names = ("metric", "score", "n", "low", "high", "unparsed")
        return {name: getattr(overall(cards), name) for name in names} if cards else None

    def of_task(name: str, cards: dict[str, ScoreCard]) -> dict[str, Any] | None:
        return result({name: cards[name]} if name in cards else {})

    checkpoint = str(checkpoint_folder(run, trainer.step))
    summary = {
        "task": config.task.name,
        "model": config.model.path,
        "seed": config.run.seed,
        "steps": trainer.step,
        "before": result(trainer.before),
        "after": result(trainer.after),
        "seconds": {
            "train": round(sum(v for phase, v in seconds.items() if phase != "eval"), 2),
            "eval": round(seconds.get("eval", 0.0), 2),
            "total": round(sum(seconds.values()), 2),
        },
        "paths": {
            "run": str(run),
            "report": str(run / "report.html"),
            "checkpoint": checkpoint,
            "best_checkpoint": str(checkpoint_folder(run, best[1])) if best else None,
        },
    }
    if trainer.mix.several:
        summary["tasks"] = {
            part.name: {"before": of_task(part.name, trainer.before), "after": of_task(part.name, trainer.after)}
            for part in trainer.mix.parts
        }
    dump_json(summary, run / "summary.json")
    with phase("writing the report"):
        report = write_report(run)
    console = trainer.progress.console
    for name, after in trainer.after.items():
        title = f"{name}, held-out" if trainer.mix.several else "held-out"
        console.print(before_after_table(trainer.before[name], after, title))
    console.print(f"checkpoint  {checkpoint}\nreport      {report}", soft_wrap=True)
    return summary
