"""The recipe of the embedded model: from random weights to a model that answers, by supervised learning.

1. A tokenizer is trained on the task's own requests and completions.
2. The vision tower and the merger learn to name and place what every image token shows (`dense.py`).
3. The whole model is fine-tuned on conversations about the pictures, one question per region.
4. A few steps on scattered answers make it imprecise: it still tells the regions apart but points beside them too.

The last stage is there because the embedded model is where reinforcement learning starts, not where it ends: rewards
can only teach a model that is sometimes right and sometimes wrong about the same question.

    python -m vlmrl.training.embedded --out FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from torch import Tensor, nn

from vlmrl.errors import UserError
from vlmrl.models.families.qwen3_vl import Qwen3VL
from vlmrl.models.patches import patches_as_products
from vlmrl.models.tiny_recipe import build_model, build_processor, build_tokenizer
from vlmrl.registry import find_task
from vlmrl.task import Task
from vlmrl.training.conversations import Conversations, RowConversations, SceneConversations, answer_loss
from vlmrl.training.dense import DenseSupervision
from vlmrl.training.scenes import RowTeacher, Scene, SceneKind, SceneSource

if TYPE_CHECKING:
    from transformers import Qwen3VLForConditionalGeneration, Qwen3VLProcessor

SECONDS_BETWEEN_LINES = 5.0
AVERAGED_STEPS = 50
VOCABULARY_SCENES = 500
"""Scenes from which the words of the regions' attributes are collected; they must show every word."""


@dataclass(frozen=True)
class Stage:
    """A training stage: AdamW with linear warm-up, a constant rate, and a linear decay to zero at the end."""

    steps: int
    pictures: int
    """Pictures per step."""
    lr: float
    """Peak learning rate."""
    warmup_steps: int = 50
    decay_share: float = 0.4
    """Share of the steps over which the rate falls."""
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        rise = (step + 1) / self.warmup_steps
        fall = (self.steps - step) / (self.decay_share * self.steps)
        return self.lr * min(1.0, rise, fall)


@dataclass(frozen=True)
class Recipe:
    """What decides the embedded model besides the task and the seed."""

    corpus_scenes: int = 2000
    """Scenes whose requests and completions the tokenizer is trained on."""
    dense: Stage = Stage(steps=3000, pictures=16, lr=2e-3)
    """Tower and merger on crowded scenes."""
    answers: Stage = Stage(steps=640, pictures=16, lr=1e-3)
    """The whole model on conversations with the right answers."""
    scattered: Stage = Stage(steps=80, pictures=16, lr=5e-4)
    """The whole model on conversations with scattered answers."""


EMBEDDED = Recipe()
"""The recipe of the model shipped with vlmrl."""
TASKS = ("gui_grounding",)
"""What the model shipped with vlmrl has learnt."""


def warm_up(task_names: Sequence[str], out: Path, seed: int, recipe: Recipe = EMBEDDED) -> dict[str, Any]:
    """Runs the recipe on the tasks and writes a model folder that `from_pretrained` loads.

    The tower learns from the first task's scenes, the whole model from all tasks in turn. The same tasks, seed and
    recipe give the same weights on the same machine. Returns what was done: the settings, CPU seconds per stage and the
    SHA-256 of the weights file. Raises UserError if `out` exists or a task cannot teach.
    """
    if out.exists():
        raise UserError(f"--out {out} exists already; name a new folder, or remove this one")
    tasks = [find_task(name).create({}) for name in task_names]
    for i, (name, task) in enumerate(zip(task_names, tasks, strict=True)):
        if not isinstance(task, SceneSource) and (i == 0 or not isinstance(task, RowTeacher)):
            method = "scenes" if i == 0 else "scattered"
            raise UserError(f"task {name} cannot teach the embedded model (add a method `{method}` to it)")
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(itertools.chain.from_iterable(_corpus(task, seed, recipe) for task in tasks))
    processor = build_processor(tokenizer)
    model = build_model(tokenizer, seed)
    crowded = tasks[0].scenes(seed, Qwen3VL.convention, SceneKind.CROWDED)  # type: ignore[attr-defined]
    exact, scattered = (
        [_conversations(task, processor, seed, kind) for task in tasks]
        for kind in (SceneKind.EXACT, SceneKind.SCATTERED)
    )
    with patches_as_products(model):
        seconds = {
            "dense": _train_tower(model, processor, crowded, recipe.dense),
            "answers": _train_answers("answers", model, processor, exact, recipe.answers),
            "scattered": _train_answers("scattered", model, processor, scattered, recipe.scattered),
        }
    model.half().save_pretrained(out)
    processor.save_pretrained(out)
    sha256 = hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    Console(highlight=False).print(f"model {out}\nsha256 {sha256}", soft_wrap=True)
    return {
        "tasks": list(task_names),
        "seed": seed,
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "cpu_seconds": seconds,
        "sha256": sha256,
        "folder": str(out),
    }


def _corpus(task: Task, seed: int, recipe: Recipe) -> Iterator[str]:
    """Requests and completions of a task, for the tokenizer."""
    convention = Qwen3VL.convention
    if isinstance(task, SceneSource):
        scenes = itertools.islice(task.scenes(seed, convention, SceneKind.EXACT), recipe.corpus_scenes)
        return (text for scene in scenes for turn in scene.turns for text in (turn.request, turn.completion))
    rows = task.synthetic("train", 2 * recipe.corpus_scenes, seed)
    return (text for row in rows for text in (task.request(row, convention), task.render(row, convention)))


def _conversations(task: Task, processor: Qwen3VLProcessor, seed: int, kind: SceneKind) -> Conversations:
    if isinstance(task, SceneSource):
        return SceneConversations(processor, task.scenes(seed, Qwen3VL.convention, kind))
    assert isinstance(task, RowTeacher)
    return RowConversations(processor, task, seed, kind is SceneKind.SCATTERED)


def _train_tower(
    model: Qwen3VLForConditionalGeneration, processor: Qwen3VLProcessor, scenes: Iterator[Scene], stage: Stage
) -> float:
    words: dict[str, set[str]] = {}
    for scene in itertools.islice(scenes, VOCABULARY_SCENES):
        for region in scene.regions:
            for name, word in region.attributes.items():
                words.setdefault(name, set()).add(word)
    tower, merge = model.model.visual, processor.image_processor.merge_size
    vocabulary = {name: sorted(words[name]) for name in sorted(words)}
    supervision = DenseSupervision(model.model.language_model.embed_tokens, processor.tokenizer, vocabulary)

    def loss() -> tuple[Tensor, float]:
        batch = list(itertools.islice(scenes, stage.pictures))
        inputs = processor.image_processor([scene.image for scene in batch], return_tensors="pt")
        grids = inputs["image_grid_thw"]
        features_ND = tower(inputs["pixel_values"], grid_thw=grids).pooler_output
        token_grids = [(rows // merge, columns // merge) for _, rows, columns in grids.tolist()]
        return supervision.loss(features_ND, supervision.labels(batch, token_grids))

    return _run_stage("dense", stage, [*tower.parameters(), *supervision.parameters()], loss)


def _train_answers(
    name: str,
    model: Qwen3VLForConditionalGeneration,
    processor: Qwen3VLProcessor,
    sources: Sequence[Conversations],
    stage: Stage,
) -> float:
    turns = itertools.cycle(sources)

    def loss() -> tuple[Tensor, float]:
        return answer_loss(model, processor.tokenizer, next(turns).batch(stage.pictures))

    return _run_stage(name, stage, model.parameters(), loss)


def _run_stage(
    name: str,
    stage: Stage,
    parameters: Iterable[nn.Parameter],
    loss_and_accuracy: Callable[[], tuple[Tensor, float]],
) -> float:
    """Trains for the stage's steps and returns the CPU seconds of this process that it took."""
    console = Console(highlight=False)
    trained = list(parameters)
    optimizer = torch.optim.AdamW(trained, lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay)
    start, next_line = time.process_time(), 0.0
    recent: list[tuple[float, float]] = []
    for step in range(stage.steps):
        optimizer.param_groups[0]["lr"] = stage.lr_at(step)
        loss, accuracy = loss_and_accuracy()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, stage.max_grad_norm)
        optimizer.step()
        recent = [*recent[1 - AVERAGED_STEPS :], (loss.item(), accuracy)]
        if time.monotonic() >= next_line or step + 1 == stage.steps:
            mean_loss, mean_accuracy = (sum(values) / len(recent) for values in zip(*recent, strict=True))
            progress = f"{name} {step + 1}/{stage.steps}"
            console.print(f"{progress}  loss {mean_loss:.3f}  right {mean_accuracy:.1%}")
            next_line = time.monotonic() + SECONDS_BETWEEN_LINES
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of the recipe. Wrong input ends it with one message and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m vlmrl.training.embedded",
        description="Make the embedded model again, from random weights. The same seed gives the same model on the "
        "same machine.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--tasks", default=",".join(TASKS), metavar="A,B", help=f"what it learns (default: {','.join(TASKS)})"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of weights and scenes (default: 0)")
    given = parser.parse_args(arguments)
    try:
        warm_up(given.tasks.split(","), given.out, given.seed)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
