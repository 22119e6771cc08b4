"""Recorded steps -> samples, whatever file they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Literal

from vlmrl.answers.action import ActionKind, ActionSpace, in_words
from vlmrl.errors import UserError
from vlmrl.geometry import Box, FrameError, ImageRecord, Point, Unit
from vlmrl.loading.fields import number_list, shown
from vlmrl.loading.pictures import PictureFinder
from vlmrl.types import Action, PromptMode, Sample

PICTURE_FOLDERS = ("images", "screenshots")
"""Where screenshots lie beside a data file, or beside the folder that it is in."""


@dataclass(frozen=True)
class Shown:
    """What of a recorded step the prompt shows."""

    level: Literal["high", "low"] = "high"
    """high: the goal; low: the goal and the instruction of this very step, where the data has both."""
    history: int = 8
    """Earlier actions named in the question, at most; the latest ones are kept."""
    screenshots: int = 0
    """Earlier screenshots shown before the current one, at most."""
    mode: PromptMode = PromptMode.DIRECT


@dataclass(frozen=True)
class Gold:
    """The recorded action of a step, in original pixels."""

    action: Action
    candidates: tuple[Box, ...] = ()
    """Boxes that the data gives for a click, as published; AndroidControl's Qwen scorer accepts any of them."""

    @property
    def target(self) -> Box | None:
        """The smallest box around the recorded point: candidates may be whole lists or pages that hold the element.

        None where no box holds the point: a box that the recorded click misses says nothing about it.
        """
        point = self.action.point
        around = [box for box in self.candidates if point is not None and box.contains(point)]
        return min(around, key=lambda box: box.area, default=None)


@dataclass(frozen=True)
class Step:
    """One step of a recording."""

    id: str
    where: str
    """File and row, for messages."""
    screenshot: Path | bytes
    goal: str | None
    """What the person wants in the end."""
    instruction: str | None
    """What to do now, in words."""
    space: ActionSpace
    gold: Callable[[ImageRecord], Gold]
    tags: dict[str, str] = field(default_factory=dict)


def episode(steps: Sequence[Step], shown_: Shown, pictures: PictureFinder) -> list[Sample]:
    """The rows of consecutive steps: each has the ones before it as its history.

    `extra["episode"]` tells the rows of one episode, `extra["episode_steps"]` how many it has. A step without an
    instruction of its own (AndroidControl has some) is asked with the goal at the low level too. Raises UserError where
    no step has one.
    """
    if shown_.level == "low" and all(step.instruction is None for step in steps):
        raise UserError(f"{steps[0].where}: no step has an instruction; read this data with task.options.level=high")
    done: list[str] = []
    samples = []
    for index, step in enumerate(steps):
        before = [earlier.screenshot for earlier in steps[max(0, index - shown_.screenshots) : index]]
        sample = single_step(step, done, before, shown_, pictures)
        samples.append(replace(sample, extra={**sample.extra, "episode": steps[0].id, "episode_steps": len(steps)}))
        done.append(in_words(_action(sample)))
    return samples


def single_step(
    step: Step, done: Sequence[str] | str, before: Sequence[Path | bytes], shown_: Shown, pictures: PictureFinder
) -> Sample:
    """One row; `done` are the earlier actions in words or one text about them, `before` the screenshots shown first."""
    images = (*before, step.screenshot)
    records = tuple(ImageRecord(i, pictures.size(image, step.where)) for i, image in enumerate(images))
    gold = step.gold(records[-1])
    if fault := step.space.fault(gold.action):
        raise UserError(f"{step.where}: {fault}; correct the row or drop it")
    return Sample(
        id=step.id,
        images=images,
        records=records,
        question=question(step.goal, step.instruction, done, shown_),
        gold=gold.action,
        mode=shown_.mode,
        tags={**step.tags, "action": gold.action.kind},
        asked_image=len(records) - 1,
        extra={"actions": step.space, "target": gold.target, "candidates": gold.candidates},
    )


def question(goal: str | None, instruction: str | None, done: Sequence[str] | str, shown_: Shown) -> str:
    """The goal, what to do now if that is shown, and what was done; a form with only one of the first two asks that."""
    parts = [goal] if goal is not None else []
    if goal is None or (shown_.level == "low" and instruction is not None):
        parts.append(f"This step: {instruction}" if parts else str(instruction))
    if isinstance(done, str):
        return "\n".join([*parts, f"Done so far: {done}"])
    kept = list(done)[max(0, len(done) - shown_.history) :]
    if kept:
        first = len(done) - len(kept) + 1
        parts.append("Done so far: " + "; ".join(f"{first + i}. {words}" for i, words in enumerate(kept)))
    return "\n".join(parts)


def place(kind: ActionKind, numbers: object, unit: Unit, record: ImageRecord, where: str) -> Gold:
    """An action at a recorded point. Raises UserError for one that is off the picture, or a fraction of a pixel."""
    x, y = number_list(numbers, 2, where)
    _refuse_fractions((x, y), unit, where)
    point = Point(x, y, record.frame(unit)).to(record.frame(Unit.ORIGINAL))
    if not point.in_image:
        raise UserError(
            f"{where}: the point {shown(numbers)} ({unit.value}) is outside its picture of {record.original}; "
            "use the screenshot that it was recorded on, or drop the row"
        )
    return Gold(kind.action(point))


def candidate(numbers: object, unit: Unit, record: ImageRecord, where: str) -> Box:
    """A box that the data gives for a click. It may reach over the picture's edge, where no answer can be."""
    try:
        x1, y1, x2, y2 = number_list(numbers, 4, where)
        _refuse_fractions((x1, y1, x2, y2), unit, where)
        return Box(x1, y1, x2, y2, record.frame(unit)).to(record.frame(Unit.ORIGINAL))
    except FrameError as error:
        raise UserError(f"{where}: {error}; correct the box or drop the row") from error


def _refuse_fractions(numbers: Sequence[float], unit: Unit, where: str) -> None:
    """Raises UserError for fractions of the picture's sides where the schema has pixels or thousandths."""
    if unit is not Unit.NORM1 and max(numbers) <= 1 and not all(number.is_integer() for number in numbers):
        written = "pixels" if unit is Unit.ORIGINAL else "thousandths"
        raise UserError(
            f"{where}: {shown(list(numbers))} are {written} by the schema, and at most one; if they are fractions of "
            "the picture's sides, convert them"
        )


def picture_name(path: str) -> str:
    """A screenshot's name below the data: a path from the root of the publisher's disk keeps its last part."""
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()
    return path.replace("\\", "/").rpartition("/")[2] if absolute else path


def _action(sample: Sample) -> Action:
    if not isinstance(sample.gold, Action):
        raise TypeError(f"row {sample.id}: the gold answer of an action task is an action, not {sample.gold}")
    return sample.gold
