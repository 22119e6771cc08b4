"""The published forms of counting data, told apart by their keys."""

from collections.abc import Callable
from dataclasses import dataclass

from vlmrl.answers.count import as_count
from vlmrl.errors import UserError
from vlmrl.loading.fields import shown, text_field
from vlmrl.loading.schemas import Schema
from vlmrl.types import Row

PLACEHOLDER = "<image>"
"""Stands for the picture in some questions; here the picture comes before the question."""


@dataclass(frozen=True, kw_only=True)
class CountingSchema(Schema):
    """A published form of counting rows."""

    picture: str = "image"
    """Key of the picture."""
    question: Callable[[Row, str], str] = lambda row, where: text_field(row, "question", where)
    """Reads the question; the text names file and row."""
    count: str
    """Key of the number of objects."""


def how_many(name: str) -> str:
    """The question about objects of a name."""
    return f"How many {name} are in the picture?"


def _without_placeholder(row: Row, where: str) -> str:
    return text_field(row, "question", where).replace(PLACEHOLDER, "").strip()


def gold_count(row: Row, key: str, where: str) -> int:
    """A count from a number, or from a text of one."""
    value = row[key]
    count = as_count(value.strip()) if isinstance(value, str) else value
    if type(count) is not int or not 0 <= count < 1_000_000:
        raise UserError(f"{where}, field {key}: must be a whole number from 0 on, not {shown(value)}")
    return count


PIXMO = CountingSchema(
    name="pixmo-count-parquet",
    description="kcz358/pixmo-count: parquet with its pictures; answer is the number",
    containers=("parquet",),
    required=frozenset({"image", "question", "answer"}),
    open=True,
    question=_without_placeholder,
    count="answer",
)
PERCEPTION_R1 = CountingSchema(
    name="perception-r1-count",
    description="Perception-R1's pixmo_count_*540.jsonl: question is the name of what is counted",
    required=frozenset({"image_path", "question", "ground_truth"}),
    open=True,
    picture="image_path",
    question=lambda row, where: how_many(text_field(row, "question", where)),
    count="ground_truth",
)
COUNTBENCH = CountingSchema(
    name="countbenchqa-parquet",
    description="vikhyatk/CountBenchQA: parquet with its pictures; text, a caption with the number in it, is not shown",
    containers=("parquet",),
    required=frozenset({"image", "question", "number"}),
    optional=frozenset({"text"}),
    count="number",
)
SIMPLE = CountingSchema(
    name="simple",
    description='one JSON object per line: {"image": "a.png", "question": "how many dogs are there?", "count": 3}',
    required=frozenset({"image", "question", "count"}),
    optional=frozenset({"id", "mode", "tags"}),
    count="count",
)
SCHEMAS = (PIXMO, PERCEPTION_R1, COUNTBENCH, SIMPLE)
