"""`vlmrl tasks show`: what a task asks of a model, and what the model sees of a row."""

import inspect
import json
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from vlmrl.config import Config
from vlmrl.media.pictures import picture_size
from vlmrl.media.videos import open_video
from vlmrl.models.families import Family
from vlmrl.models.load import load_family
from vlmrl.records import answer_record
from vlmrl.registry import find_task
from vlmrl.settings_help import describe_settings
from vlmrl.task_mix import TaskPart, only_task
from vlmrl.training.data import load_rows
from vlmrl.types import Prompt

LABEL_WIDTH = 10


def shown_task(config: Config) -> str:
    """The configured task and the first row of its data as the configured model gets it, as text.

    Raises UserError if the task, its data or the model's processor cannot be loaded.
    """
    part = only_task(config, "tasks show")
    family = load_family(config.model)
    if part.data.train is None:
        sample = part.task.synthetic("train", 1, config.run.seed)[0]
    else:
        sample = load_rows(part.task, part.data.train, part.data.download)[0]
    prompt = family.encode(sample, part.task.request(sample, family.convention))
    lines = [*_about(part), *_row(part, prompt, family, config.model.path)]
    return "\n".join(f"{label:<{LABEL_WIDTH}} {text}".rstrip() for label, text in lines)


def _about(part: TaskPart) -> Iterator[tuple[str, str]]:
    folder = find_task(part.name)
    task = folder.task_class
    yield "task", f"{part.name}: {_first_line(task)}"
    yield "folder", str(folder.path)
    for name, spec in task.rewards().items():
        low, high = spec.bounds
        scored = f"weight {part.weights[name]:g}, {low:g} to {high:g}{', whole group' if spec.whole_group else ''}"
        yield "reward", f"{name} ({scored}): {_first_line(getattr(task, name))}"
    for place, name in enumerate(task.metrics()):
        yield "metric", f"{name}{' (headline)' if place == 0 else ''}: {_first_line(getattr(task, name))}"
    for name, text in task.formats.items():
        yield "data", f"{name}: {text}"
    for line in describe_settings(task, "task.options."):
        yield "option", line


def _row(part: TaskPart, prompt: Prompt, family: Family, model: str) -> Iterator[tuple[str, str]]:
    sample = prompt.sample
    yield "", ""
    yield "model", f"{model}, which writes coordinates in {family.convention.unit.value}"
    yield "row", f"{sample.id} {dict(sample.tags) if sample.tags else ''}"
    for image, record in zip(sample.images, sample.records, strict=True):
        size = picture_size(image, f"row {sample.id}, image {record.index}")
        yield "picture", f"{size}, seen as {record.model or 'several tiles'}"
    for video, clip in zip(sample.videos, sample.clips, strict=True):
        frames = open_video(video, f"row {sample.id}, video {clip.video}").frames
        yield "video", f"{len(frames)} frames of {clip.duration:g} s"
    yield "tokens", f"{len(prompt.token_ids_P)} of the whole prompt"
    yield from _block("prompt", prompt.text)
    yield "gold", json.dumps(answer_record(sample.gold))
    yield from _block("answer", part.task.render(sample, family.convention))


def _block(label: str, text: str) -> Iterator[tuple[str, str]]:
    """Text with its own lines, under one label."""
    for number, line in enumerate(textwrap.dedent(text).splitlines() or [""]):
        yield label if number == 0 else "", line


def _first_line(what: type | Callable[..., Any]) -> str:
    return (inspect.getdoc(what) or "").partition("\n")[0]
