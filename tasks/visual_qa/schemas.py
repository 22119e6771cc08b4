"""The published forms of questions about charts and documents, told apart by their complete set of keys."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from vlmrl.errors import UserError
from vlmrl.loading.fields import id_field, shown, tags_field, text_field
from vlmrl.loading.schemas import Schema
from vlmrl.types import Row

Scorer = Literal["relaxed_accuracy", "anls", "exact_match"]
SPLITS = {"human_test": "human", "augmented_test": "augmented", 0: "human", 1: "augmented"}
"""How the two halves of ChartQA are written; the hub's copy with all splits has numbers."""


@dataclass(frozen=True)
class Entry:
    """What a row of any schema says, before its picture is looked for."""

    question: str
    accepted: tuple[str, ...]
    """Answers that are right; the first one is gold."""
    scorer: Scorer | None
    """What its data set is scored by; None leaves it to the task's option."""
    id: str | None = None
    """The row's own id, where it has one."""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class QuestionSchema(Schema):
    """One published form of a data file."""

    image: str = "image"
    """The column of the picture: a file's name, or in parquet files the picture itself."""
    entry: Callable[[Row, str], Entry]
    """Reads a row; the text names file and row. Raises UserError."""


def _chartqa(row: Row, where: str) -> Entry:
    half = {"split": _half(row["type"], f"{where}, field type")} if "type" in row else {}
    return Entry(text_field(row, "question", where), (_answer(row, "answer", where),), "relaxed_accuracy", tags=half)


def _chartqa_hub(row: Row, where: str) -> Entry:
    labels = _answers(row["label"], f"{where}, field label")
    half = _half(row["human_or_machine"], f"{where}, field human_or_machine")
    return Entry(text_field(row, "query", where), labels, "relaxed_accuracy", tags={"split": half})


def _half(value: Any, where: str) -> str:
    if not isinstance(value, str | int) or value not in SPLITS:
        raise UserError(f"{where}: must be one of {', '.join(map(str, SPLITS))}, not {shown(value)}")
    return SPLITS[value]


def _chartqa_json(row: Row, where: str) -> Entry:
    return Entry(text_field(row, "query", where), (_answer(row, "label", where),), "relaxed_accuracy")


def _docvqa(row: Row, where: str) -> Entry:
    if row.get("answers") is None:
        raise UserError(
            f"{where}: has no answers; those of the test split are kept by the challenge's server, so take the "
            "validation split"
        )
    accepted = _answers(row["answers"], f"{where}, field answers")
    return Entry(text_field(row, "question", where), accepted, "anls", id=id_field(row, "questionId", where))


def _simple(row: Row, where: str) -> Entry:
    scorer = row.get("scorer")
    if scorer is not None and scorer not in get_args(Scorer):
        raise UserError(f"{where}, field scorer: must be {' or '.join(get_args(Scorer))}, not {shown(scorer)}")
    if ("answer" in row) == ("answers" in row):
        raise UserError(f"{where}: needs either the field answer or the field answers")
    several = "answers" in row
    accepted = _answers(row["answers"], f"{where}, field answers") if several else (_answer(row, "answer", where),)
    id_ = text_field(row, "id", where) if "id" in row else None
    return Entry(text_field(row, "question", where), accepted, scorer, id=id_, tags=tags_field(row, where))


def _answer(row: Row, key: str, where: str) -> str:
    return text_field(row, key, where).strip()


def _answers(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise UserError(f"{where}: must be a list of texts that are not empty, at least one, not {shown(value)}")
    return tuple(dict.fromkeys(item.strip() for item in value))


CHARTQA = QuestionSchema(
    name="chartqa",
    description="lmms-lab/ChartQA: its test set with the pictures inside",
    containers=("parquet",),
    required=frozenset({"type", "question", "answer", "image"}),
    entry=_chartqa,
)
CHARTQA_HUB = QuestionSchema(
    name="chartqa-hub",
    description="HuggingFaceM4/ChartQA: train, validation and test with the pictures inside",
    containers=("parquet",),
    required=frozenset({"image", "query", "label", "human_or_machine"}),
    entry=_chartqa_hub,
)
CHARTQA_JSON = QuestionSchema(
    name="chartqa-json",
    description="ChartQA as published: test_human.json and test_augmented.json beside png/",
    required=frozenset({"imgname", "query", "label"}),
    image="imgname",
    entry=_chartqa_json,
)
DOCVQA = QuestionSchema(
    name="docvqa",
    description="DocVQA: the challenge's val_v1.0.json beside its pictures, or lmms-lab/DocVQA with them inside",
    containers=("json", "parquet"),
    required=frozenset({"questionId", "question", "image", "answers"}),
    optional=frozenset({"question_types", "docId", "ucsf_document_id", "ucsf_document_page_no", "data_split"}),
    entry=_docvqa,
)
SIMPLE = QuestionSchema(
    name="simple",
    description='your own: {"image": "a.png", "question": "...", "answer": "14"}, or "answers": ["14", "fourteen"], '
    "each of which is right",
    required=frozenset({"image", "question"}),
    optional=frozenset({"answer", "answers", "scorer", "id", "mode", "tags"}),
    entry=_simple,
)
SCHEMAS = (CHARTQA, CHARTQA_HUB, CHARTQA_JSON, DOCVQA, SIMPLE)
