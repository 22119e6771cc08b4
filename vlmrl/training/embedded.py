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
from vlmrl.models.patch_embedding import use_matrix_product
from vlmrl.models.tiny_recipe import build_model, build_processor, build_tokenizer
from vlmrl.registry import find_task
from vlmrl.training.conversations import answer_loss, encode_conversations
from vlmrl.training.dense import DenseSupervision
from vlmrl.training.scenes import Scene, SceneKind, SceneSource

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


def warm_up(task_name: str, out: Path, seed: int, recipe: Recipe = EMBEDDED) -> dict[str, Any]:
    """Runs the recipe on a task's scenes and writes a model folder that `from_pretrained` loads.

    The same task, seed and recipe give the same weights on the same machine. Returns what was done: the settings, CPU
    seconds per stage and the SHA-256 of the weights file. Raises UserError if `out` exists or the task draws no scenes.
    """
    if out.exists():
        raise UserError(f"--out {out} exists already; name a new folder, or remove this one")
    task = find_task(task_name).create({})
    if not isinstance(task, SceneSource):
        raise UserError(f"task {task_name} cannot warm a model up: it draws no scenes (add a method `scenes` to it)")
    torch.manual_seed(seed)
    crowded, exact, scattered = (
        task.scenes(seed, Qwen3VL.convention, kind)
        for kind in (SceneKind.CROWDED, SceneKind.EXACT, SceneKind.SCATTERED)
    )
    corpus = [turn for scene in itertools.islice(exact, recipe.corpus_scenes) for turn in scene.turns]
    tokenizer = build_tokenizer(text for turn in corpus for text in (turn.request, turn.completion))
    processor = build_processor(tokenizer)
    model = build_model(tokenizer, seed)
    use_matrix_product(model)
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
        "task": task_name,
        "seed": seed,
        "recipe": asdict(recipe),
        "parameters": model.num_parameters(),
        "cpu_seconds": seconds,
        "sha256": sha256,
        "folder": str(out),
    }


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
    scenes: Iterator[Scene],
    stage: Stage,
) -> float:
    def loss() -> tuple[Tensor, float]:
        inputs = encode_conversations(processor, itertools.islice(scenes, stage.pictures))
        return answer_loss(model, processor.tokenizer, inputs)

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
    parser.add_argument("--task", default="gui_grounding", metavar="NAME", help="whose scenes (default: gui_grounding)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of weights and scenes (default: 0)")
    given = parser.parse_args(arguments)
    try:
        warm_up(given.task, given.out, given.seed)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
