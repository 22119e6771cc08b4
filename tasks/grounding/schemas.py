"""The published forms of referring expression data, told apart by their keys.

Boxes are x1, y1, x2, y2 in some forms and x, y, width, height in others, in pixels, fractions or thousandths. Which one
it is follows from the schema, never from the size of the numbers.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vlmrl.errors import UserError
from vlmrl.loading.boxes import (
    FRACTION_CORNERS,
    PIXEL_CORNER_AND_SIZE,
    PIXEL_CORNERS,
    THOUSANDTH_CORNERS,
    BoxForm,
)
from vlmrl.loading.fields import json_text, shown, text_field
from vlmrl.loading.schemas import Schema
from vlmrl.types import Row

PLACEHOLDER = "<image>"
"""Stands for a picture in questions of several forms; here the pictures come before the question."""
THOUSANDTH_BOX = re.compile(r"<\|box_start\|>\((\d+),\s*(\d+)\),\s*\((\d+),\s*(\d+)\)<\|box_end\|>")
"""A box in an answer of MGrounding."""


@dataclass(frozen=True)
class Query:
    """One question about a row's pictures."""

    text: str
    box: Any
    """The target's four numbers as they stand in the row."""
    field: str
    """Where they stand, for messages."""


@dataclass(frozen=True, kw_only=True)
class GroundingSchema(Schema):
    """A published form of grounding rows."""

    box: BoxForm
    picture: str
    """Key of the picture, or of the list of pictures."""
    queries: Callable[[Row, str], list[Query]]
    """The questions of a row; the second argument names file and row."""
    embedded: bool = False
    """Whether the picture itself stands in the row."""
    tag: str | None = None
    """Key of a word that metrics are broken down by; the file's split if there is none."""


def locate(expression: str) -> str:
    """The question of a referring expression."""
    return f"find {expression}"


def _asked_by(expression: str, box: str) -> Callable[[Row, str], list[Query]]:
    return lambda row, where: [Query(locate(text_field(row, expression, where)), row[box], box)]


def _asked_in_full(question: str, box: str) -> Callable[[Row, str], list[Query]]:
    return lambda row, where: [Query(_without_placeholders(text_field(row, question, where)), row[box], box)]


def _asked_by_each(expressions: str) -> Callable[[Row, str], list[Query]]:
    """One question per expression: papers count sentences, not objects."""

    def queries(row: Row, where: str) -> list[Query]:
        texts = row[expressions]
        if (
            not isinstance(texts, list)
            or not texts
            or not all(isinstance(text, str) and text.strip() for text in texts)
        ):
            raise UserError(
                f"{where}, field {expressions}: must be a list of texts that are not empty, not {shown(texts)}"
            )
        return [Query(locate(text), row["bbox"], "bbox") for text in texts]

    return queries


def _conversation(row: Row, where: str) -> list[tuple[str, Any]]:
    """The human's turns and the model's answers to them."""
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        raise UserError(f"{where}, field conversations: must be a list of pairs of turns, not {shown(turns)}")
    roles = ("human", "gpt")
    for index, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or turn.get("from") != roles[index % 2] or "value" not in turn:
            raise UserError(
                f'{where}, field conversations, turn {index}: must be {{"from": "{roles[index % 2]}", "value": ...}}, '
                f"not {shown(turn)}"
            )
    return [
        (_without_placeholders(text_field(asked, "value", f"{where}, field conversations")), answered["value"])
        for asked, answered in zip(turns[::2], turns[1::2], strict=True)
    ]


def _vlm_r1_queries(row: Row, where: str) -> list[Query]:
    pairs = _conversation(row, where)
    field = "conversations"
    if len(pairs) != 1:
        raise UserError(f"{where}, field {field}: a vlm-r1-conversations row asks once and is answered once")
    question, answer = pairs[0]
    return [Query(question, json_text(answer, f"{where}, field {field}") if isinstance(answer, str) else answer, field)]


def _mgrounding_queries(row: Row, where: str) -> list[Query]:
    """The turns whose answer holds one box; those with none or several are questions of another kind."""
    queries = []
    for question, answer in _conversation(row, where):
        boxes = THOUSANDTH_BOX.findall(answer) if isinstance(answer, str) else []
        if len(boxes) == 1:
            queries.append(Query(question, [int(number) for number in boxes[0]], "conversations"))
    return queries


def _without_placeholders(question: str) -> str:
    return question.replace(PLACEHOLDER, "").strip()


VLM_R1 = GroundingSchema(
    name="vlm-r1",
    description="VLM-R1's and Perception-R1's evaluation files, LISA-Grounding too: JSON; x1, y1, x2, y2 in pixels",
    required=frozenset({"image", "problem", "solution"}),
    optional=frozenset(
        {"normalized_solution", "normal_caption", "text_type", "dataset", "dataset_name", "width", "height"}
    ),
    box=PIXEL_CORNERS,
    picture="image",
    queries=_asked_in_full("problem", "solution"),
)
VLM_R1_CONVERSATIONS = GroundingSchema(
    name="vlm-r1-conversations",
    description="VLM-R1's training files: one conversation per line, answered with [x1, y1, x2, y2] in pixels",
    required=frozenset({"id", "image", "conversations"}),
    box=PIXEL_CORNERS,
    picture="image",
    queries=_vlm_r1_queries,
    open=True,
)
OFA = GroundingSchema(
    name="ofa",
    description="OFA's and Qwen-VL's lines, one per sentence: x1, y1, x2, y2 in pixels",
    required=frozenset({"image", "sent", "bbox", "width", "height"}),
    box=PIXEL_CORNERS,
    picture="image",
    queries=_asked_by("sent", "bbox"),
)
LMMS_LAB = GroundingSchema(
    name="lmms-lab-parquet",
    description="lmms-lab's RefCOCO, RefCOCOplus and RefCOCOg: one object per row; x, y, width, height in pixels",
    containers=("parquet",),
    required=frozenset({"question_id", "image", "question", "answer", "bbox", "segmentation", "iscrowd", "file_name"}),
    box=PIXEL_CORNER_AND_SIZE,
    picture="image",
    queries=_asked_by_each("answer"),
    embedded=True,
)
JXU124 = GroundingSchema(
    name="jxu124-parquet",
    description="jxu124's refcoco, refcocoplus and refcocog: parquet without pictures; x1, y1, x2, y2 in pixels",
    containers=("parquet",),
    required=frozenset({"image_path", "bbox", "captions", "ref_id", "ann_id", "image_id", "sentences", "raw_anns"}),
    optional=frozenset(
        {
            "sent_ids",
            "file_name",
            "split",
            "category_id",
            "raw_image_info",
            "raw_sentences",
            "global_image_id",
            "anns_id",
        }
    ),
    box=PIXEL_CORNERS,
    picture="image_path",
    queries=_asked_by_each("captions"),
)
MIG_BENCH = GroundingSchema(
    name="mig-bench",
    description="MIG-Bench: a JSON list, several pictures per row; x1, y1, x2, y2 from 0 to 1",
    required=frozenset({"task", "images", "question", "answer", "additional_info", "need_format"}),
    box=FRACTION_CORNERS,
    picture="images",
    queries=_asked_in_full("question", "answer"),
    tag="task",
)
UNIVG_R1 = GroundingSchema(
    name="univg-r1",
    description="UniVG-R1's training files: a JSON list, one or more pictures per row; x1, y1, x2, y2 from 0 to 1000",
    required=frozenset({"images", "question", "answer"}),
    box=THOUSANDTH_CORNERS,
    picture="images",
    queries=_asked_in_full("question", "answer"),
    open=True,
)
MGROUNDING = GroundingSchema(
    name="mgrounding",
    description="MGrounding-630k: a JSON list of conversations about pictures; (x1,y1),(x2,y2) from 0 to 1000",
    required=frozenset({"images", "conversations"}),
    box=THOUSANDTH_CORNERS,
    picture="images",
    queries=_mgrounding_queries,
    open=True,
)
SIMPLE = GroundingSchema(
    name="simple",
    description='one JSON object per line: {"image": "a.png", "expression": "...", "bbox": [x1, y1, x2, y2]}, pixels',
    required=frozenset({"image", "expression", "bbox"}),
    optional=frozenset({"id", "mode", "tags"}),
    box=PIXEL_CORNERS,
    picture="image",
    queries=_asked_by("expression", "bbox"),
)
SIMPLE_SEVERAL = GroundingSchema(
    name="simple-several",
    description='the same about several pictures: {"images": [...], "asked_image": 1, ...}; asked_image counts from 0',
    required=frozenset({"images", "asked_image", "expression", "bbox"}),
    optional=frozenset({"id", "mode", "tags"}),
    box=PIXEL_CORNERS,
    picture="images",
    queries=_asked_by("expression", "bbox"),
)
SCHEMAS = (
    VLM_R1,
    VLM_R1_CONVERSATIONS,
    OFA,
    LMMS_LAB,
    JXU124,
    MIG_BENCH,
    UNIVG_R1,
    MGROUNDING,
    SIMPLE,
    SIMPLE_SEVERAL,
)
