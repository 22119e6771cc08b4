"""Data files of grounding -> samples, every field of every row checked."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.loading.boxes import target_box
from vlmrl.loading.fields import number_list, prompt_mode, shown, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows, split_in_name
from vlmrl.loading.schemas import common_schema
from vlmrl.types import PromptMode, Row, Sample

from .schemas import SCHEMAS, GroundingSchema, Query

PICTURE_FOLDERS = (".", "images", "train2014", "coco", "images/train2014", "images/mscoco/images/train2014")
"""Where pictures lie beside a data file, or beside the folder that it is in."""
NAMED_PICTURE = re.compile(
    r"\b(?:image|picture)[ -]?(\d+)\b|\b(\d+)(?:st|nd|rd|th) (?:image|picture)\b"
    r"|\b(first|second|third|fourth|fifth|sixth) (?:image|picture)\b",
    re.IGNORECASE,
)
"""How questions name one of several pictures: image 2, Image-2, the 2nd image (MIG-Bench: the 1th image)."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
NORMALISED_SLACK = 3.0
"""Thousandths by which `normalized_solution` may differ from `solution`: some files cut where others round."""


def load_rows(
    path: Path, mode: PromptMode = PromptMode.DIRECT, schemas: Sequence[GroundingSchema] = SCHEMAS
) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`; `mode` is for rows that state none.

    Ids are the file's stem and the row's index counted from 0 (and the question's index, where a row has several),
    unless a row brings its own. Raises UserError naming file, row and field for anything that cannot be trained on.
    """
    files = [read_rows(file) for file in data_files(path)]
    _require_one_purpose(path, files)
    schema = common_schema(path, files, SCHEMAS, schemas)
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [
        sample
        for file in files
        for index, row in enumerate(file.rows)
        for sample in _samples(file, index, row, schema, mode, pictures)
    ]
    if not samples:
        raise UserError(f"data {path} asks for no single box anywhere; rows of {schema.name} need one in an answer")
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def asked_picture(question: str, count: int) -> int | None:
    """Index of the only one of `count` pictures that a question names by its number, or None."""
    named = {
        int(number or nth) if number or nth else ORDINALS.index(word.lower()) + 1
        for number, nth, word in NAMED_PICTURE.findall(question)
    }
    return named.pop() - 1 if len(named) == 1 and max(named) <= count and min(named) >= 1 else None


def _require_one_purpose(path: Path, files: Sequence[RowFile]) -> None:
    splits = {split_in_name(file.path): file.path.name for file in files}
    if "train" in splits and len(splits) > 1:
        raise UserError(
            f"data {path} holds training and test files ({', '.join(splits.values())}); name the file to read"
        )


def _samples(
    file: RowFile, index: int, row: Row, schema: GroundingSchema, mode: PromptMode, pictures: PictureFinder
) -> Iterator[Sample]:
    where = file.where(index)
    id_ = text_field(row, "id", where) if "id" in schema.optional and "id" in row else f"{file.path.stem}-{index}"
    queries = schema.queries(row, where)
    if not queries:
        return
    images = _pictures(file, row, schema, where, pictures)
    sizes = [pictures.size(image, f"{where}, field {schema.picture}") for image in images]
    records = tuple(ImageRecord(i, size) for i, size in enumerate(sizes))
    _require_size(row, sizes[0], where)
    for number, query in enumerate(queries):
        record = records[_asked_image(row, schema, query, len(images), where)]
        box_where = f"{where}, field {query.field}"
        box = target_box(number_list(query.box, 4, box_where), schema.box, record, schema.name, box_where)
        if "normalized_solution" in row:
            _require_normalised(row["normalized_solution"], box.to(record.frame(Unit.NORM1000)), where)
        yield Sample(
            id=id_ if len(queries) == 1 else f"{id_}-{number}",
            images=images,
            records=records,
            question=query.text,
            gold=box,
            mode=prompt_mode(row["mode"], f"{where}, field mode")
            if "mode" in schema.optional and "mode" in row
            else mode,
            tags=_tags(file, row, schema, where),
            asked_image=record.index,
        )


def _pictures(
    file: RowFile, row: Row, schema: GroundingSchema, where: str, pictures: PictureFinder
) -> tuple[Path | bytes, ...]:
    field = f"{where}, field {schema.picture}"
    value = row[schema.picture]
    if schema.embedded:
        return (pictures.embedded(value, field),)
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise UserError(f"{field}: must name one picture or a list of pictures, not {shown(value)}")
    return tuple(pictures.find(file.path, name, field) for name in names)


def _asked_image(row: Row, schema: GroundingSchema, query: Query, count: int, where: str) -> int:
    """Index of the picture that a box belongs to."""
    if "asked_image" in schema.required:
        index = row["asked_image"]
        if type(index) is not int or not 0 <= index < count:
            raise UserError(f"{where}, field asked_image: must be from 0 to {count - 1}, not {shown(index)}")
        return index
    named = asked_picture(query.text, count)
    if named is not None:
        return named
    if count > 1 and schema.box.unit is Unit.ORIGINAL:
        raise UserError(
            f"{where}: the question names none of the {count} pictures by its number, and a box in pixels means "
            'nothing without its picture; write "in image 2", or use the form simple-several, which has asked_image'
        )
    return count - 1


def _tags(file: RowFile, row: Row, schema: GroundingSchema, where: str) -> Mapping[str, str]:
    if schema.tag is not None:
        return {schema.tag: text_field(row, schema.tag, where)}
    if "tags" in schema.optional:
        return tags_field(row, where)
    return {"split": split_in_name(file.path)}


def _require_size(row: Row, size: Size, where: str) -> None:
    for key, side in (("width", size.width), ("height", size.height)):
        if key in row and row[key] != side:
            raise UserError(
                f"{where}, field {key}: says {shown(row[key])} but the picture is {size}; boxes of one size do not fit "
                "a picture of another: use the picture that the boxes were drawn on"
            )


def _require_normalised(value: Any, box: Box, where: str) -> None:
    """A copy of such a file for another family may hold another frame in `solution`; the second box gives it away."""
    field = f"{where}, field normalized_solution"
    stated = number_list(value, 4, field)
    found = (box.x1, box.y1, box.x2, box.y2)
    if any(abs(a - b) > NORMALISED_SLACK for a, b in zip(stated, found, strict=True)):
        raise UserError(
            f"{field}: {shown(value)} is not solution in thousandths of the picture "
            f"({', '.join(f'{number:.0f}' for number in found)}); one of the two boxes is in another frame"
        )
