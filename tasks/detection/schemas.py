"""The published forms of detection data that are lists of rows, told apart by their complete set of keys.

The COCO form is no list of rows; `coco.py` reads it.
"""

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.answers.boxes import folded
from vlmrl.errors import UserError
from vlmrl.loading.boxes import PIXEL_CORNERS, THOUSANDTH_CORNERS, BoxForm
from vlmrl.loading.fields import json_text, number_list, require_keys, shown, text_field
from vlmrl.loading.schemas import Schema
from vlmrl.types import Row


@dataclass(frozen=True)
class Labelled:
    """A label and the four numbers of its box as a file has them."""

    label: str
    numbers: list[float]
    where: str
    """File, row and field, for messages."""


@dataclass(frozen=True)
class Labels:
    """What a row asks for and which objects answer it."""

    classes: tuple[str, ...]
    objects: tuple[Labelled, ...]
    ignored: tuple[Labelled, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DetectionSchema(Schema):
    """A published form of detection rows."""

    read: Callable[[Row, str], Labels]
    """Classes and boxes of a row; the second argument names file and row."""
    box: BoxForm = PIXEL_CORNERS


LISTED_CLASSES = re.compile(r"detect the following objects:\s*(.+?)\s*(?:\bOutput (?:each|the)\b.*)?$", re.DOTALL)
"""Where VLM-R1's prompt lists its classes; what follows asks for the answer's format."""
NAMED_CLASS = re.compile(r"belonging to the category '(.+?)' in the image")
"""Where Visual-RFT's prompt names its class."""
FENCED = re.compile(r"```json\s*(.*?)\s*```", re.DOTALL)
ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)


def class_names(names: Any, where: str) -> tuple[str, ...]:
    """Names of asked classes. Raises UserError unless they are distinct texts that every notation can write."""
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise UserError(f"{where}: must be a list of class names that is not empty, not {shown(names)}")
    for name in names:
        if not isinstance(name, str) or name != name.strip() or not name or re.search(r"[<>\n]", name):
            raise UserError(f"{where}: class names are texts without surrounding space, <, > or line breaks: {name!r}")
    if repeated := [name for i, name in enumerate(names) if folded(name) in map(folded, names[:i])]:
        raise UserError(f"{where}: the class {repeated[0]!r} is named twice (letter case does not count)")
    return tuple(names)


def _boxes(items: Any, box_key: str, where: str) -> tuple[Labelled, ...]:
    """Boxes written as a list of objects with the keys `box_key` and label."""
    if not isinstance(items, list):
        raise UserError(f"{where}: must be a list of objects, not {shown(items)}")
    found = []
    for number, item in enumerate(items):
        place = f"{where}[{number}]"
        if not isinstance(item, dict):
            raise UserError(f"{place}: must be an object with {box_key} and label, not {shown(item)}")
        require_keys(item, {box_key, "label"}, (), "box", place)
        found.append(Labelled(text_field(item, "label", place), number_list(item[box_key], 4, place), place))
    return tuple(found)


def _simple(row: Row, where: str) -> Labels:
    return Labels(
        classes=class_names(row["classes"], f"{where}, field classes"),
        objects=_boxes(row["objects"], "bbox", f"{where}, field objects"),
        ignored=_boxes(row.get("ignored", []), "bbox", f"{where}, field ignored"),
    )


def _vlm_r1(row: Row, where: str) -> Labels:
    place = f"{where}, field conversations"
    turns = row["conversations"]
    speakers = [turn.get("from") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    if speakers != ["human", "gpt"] or len(turns) != 2:
        raise UserError(f"{place}: must be one turn of human and one of gpt, not {shown(turns)}")
    asked, answered = (text_field(turn, "value", place).strip() for turn in turns)
    listed = LISTED_CLASSES.search(asked)
    if not listed:
        raise UserError(f'{place}: the human turn must say "detect the following objects: ...", not {shown(asked)}')
    answered = block[1] if (block := ANSWER.fullmatch(answered)) else answered
    if answered == "None":
        items: Any = []
    elif fence := FENCED.fullmatch(answered):
        items = json_text(fence[1], place)
    else:
        raise UserError(f"{place}: the gpt turn must be a ```json block or None, not {shown(answered)}")
    return Labels(class_names(_listed(listed[1], place), place), _boxes(items, "bbox_2d", place))


def _listed(text: str, where: str) -> list[Any]:
    """Class names written as a JSON or Python list, one per line after a dash, or between commas."""
    text = text.strip().removesuffix(".").rstrip()
    if text.startswith("["):
        names = _literal(text, where)
        return names if isinstance(names, list) else [names]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if all(line.startswith("- ") for line in lines):
        return [line[2:].strip() for line in lines]
    return [name.strip() for name in text.split(",")]


def _visual_rft(row: Row, where: str) -> Labels:
    asked = NAMED_CLASS.search(text_field(row, "problem", where))
    if not asked:
        raise UserError(f"{where}, field problem: must say \"belonging to the category '...' in the image\"")
    place = f"{where}, field solution"
    answer = ANSWER.fullmatch(text_field(row, "solution", where).strip())
    if not answer:
        raise UserError(f"{place}: must be <answer>...</answer>, not {shown(row['solution'])}")
    items = [] if answer[1] == "No Objects" else _literal(answer[1], place)
    if not isinstance(items, list) or not all(isinstance(item, dict) and "Position" in item for item in items):
        raise UserError(f"{place}: must be a list of {{'Position': [...], 'Confidence': 1}}, not {shown(items)}")
    for item in items:
        require_keys(item, {"Position"}, {"Confidence"}, "visual-rft box", place)
    name = asked[1]
    objects = [Labelled(name, number_list(item["Position"], 4, place), place) for item in items]
    return Labels(class_names([name], f"{where}, field problem"), tuple(objects))


def _literal(text: str, where: str) -> Any:
    """A Python literal of a data file, read as data."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: {shown(text)} is no list: {error}") from error


def _odinw(row: Row, where: str) -> Labels:
    place = f"{where}, field bboxes"
    boxes, labels = row["bboxes"], row["labels"]
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise UserError(f"{place}: bboxes and labels must be lists of one length")
    objects = [
        Labelled(str(label), number_list(box, 4, place), place) for box, label in zip(boxes, labels, strict=True)
    ]
    return Labels(class_names(row["categories"], f"{where}, field categories"), tuple(objects))


SIMPLE = DetectionSchema(
    name="simple",
    description="your own rows; bbox is x1, y1, x2, y2 in pixels",
    required=frozenset({"image", "classes", "objects"}),
    optional=frozenset({"ignored", "id", "mode", "tags"}),
    read=_simple,
)
VLM_R1 = DetectionSchema(
    name="vlm-r1",
    description="VLM-R1's open-vocabulary detection rows; bbox_2d is x1, y1, x2, y2 in pixels",
    required=frozenset({"id", "image", "conversations"}),
    optional=frozenset({"accu_reward_method"}),
    read=_vlm_r1,
)
VISUAL_RFT = DetectionSchema(
    name="visual-rft",
    description="Visual-RFT's sets; Position is x1, y1, x2, y2 in thousandths",
    containers=("parquet",),
    required=frozenset({"image", "problem", "solution"}),
    box=THOUSANDTH_CORNERS,
    read=_visual_rft,
)
ODINW_PARQUET = DetectionSchema(
    name="odinw-parquet",
    description="kcz358/ODinW-13; bboxes are x1, y1, x2, y2 in pixels",
    containers=("parquet",),
    required=frozenset({"image", "dataset_name", "categories", "bboxes", "labels"}),
    read=_odinw,
)
SCHEMAS = (SIMPLE, VLM_R1, VISUAL_RFT, ODINW_PARQUET)
