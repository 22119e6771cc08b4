"""Data files of GUI grounding -> samples, every field of every row checked."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size
from vlmrl.loading.boxes import target_box
from vlmrl.loading.fields import json_text, number_list, prompt_mode, shown, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.loading.schemas import common_schema
from vlmrl.types import PromptMode, Row, Sample

from .schemas import LABEL_KEYS, OSWORLD_G, OSWORLD_G_PARQUET, SCHEMAS, SIMPLE, GuiSchema

PICTURE_FOLDERS = ("images", "screenspot_imgs", "screenspotv2_image")
"""Where pictures lie beside a data file, or beside the folder that it is in."""
KINDS = ("text", "icon")
SIZE_KEYS = {"img_size", "image_size"}
WITH_IDS = (SIMPLE, OSWORLD_G, OSWORLD_G_PARQUET)
"""Schemas whose rows' ids are unique in the data set."""


def load_rows(path: Path, mode: PromptMode = PromptMode.DIRECT, schemas: Sequence[GuiSchema] = SCHEMAS) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`; `mode` is for rows that state none.

    Ids are the file's stem and the row's index counted from 0, unless a row brings its own. Raises UserError naming
    file, row and field for anything that cannot be trained on or scored.
    """
    files = [read_rows(file) for file in data_files(path)]
    schema = common_schema(path, files, SCHEMAS, schemas)
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [
        _sample(file, index, row, schema, mode, pictures) for file in files for index, row in enumerate(file.rows)
    ]
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def _sample(
    file: RowFile, index: int, row: Row, schema: GuiSchema, mode: PromptMode, pictures: PictureFinder
) -> Sample:
    where = file.where(index)
    question = text_field(row, "instruction", where)
    tags = _tags(row, schema, where)
    picture = _picture(file, row, schema, where, pictures)
    size = pictures.size(picture, f"{where}, field {schema.picture}")
    for key in SIZE_KEYS & set(row):
        _require_size(row[key], size, f"{where}, field {key}", schema)
    record = ImageRecord(index=0, original=size)
    gold, extra = (schema.target or partial(_box_target, schema))(row, record, where)
    return Sample(
        id=text_field(row, "id", where) if schema in WITH_IDS and "id" in row else f"{file.path.stem}-{index}",
        images=(picture,),
        records=(record,),
        question=question,
        gold=gold,
        mode=prompt_mode(row["mode"], f"{where}, field mode") if "mode" in row else mode,
        tags=tags,
        extra={**extra, "reasoning": text_field(row, "reasoning", where)} if "reasoning" in row else extra,
    )


def _box_target(schema: GuiSchema, row: Row, record: ImageRecord, where: str) -> tuple[Box, Mapping[str, Any]]:
    box_where = f"{where}, field bbox"
    return target_box(_numbers(row["bbox"], 4, schema, box_where), schema.box, record, schema.name, box_where), {}


def _tags(row: Row, schema: GuiSchema, where: str) -> Mapping[str, str]:
    for key in LABEL_KEYS & set(row):
        text_field(row, key, where)
    if schema.kind is not None and row[schema.kind] not in KINDS:
        raise UserError(f"{where}, field {schema.kind}: must be text or icon, not {shown(row[schema.kind])}")
    return tags_field(row, where) if schema.tags is None else schema.tags(row)


def _picture(file: RowFile, row: Row, schema: GuiSchema, where: str, pictures: PictureFinder) -> Path | bytes:
    if file.container == "json":
        name = text_field(row, schema.picture, where)
        return pictures.find(file.path, name, f"{where}, field {schema.picture}")
    return pictures.embedded(row[schema.picture], f"{where}, field {schema.picture}")


def _numbers(value: Any, count: int, schema: GuiSchema, where: str) -> list[float]:
    if isinstance(value, str) and "string" in schema.column_types.get("bbox", ()):
        value = json_text(value, where)
    return number_list(value, count, where)


def _require_size(value: Any, size: Size, where: str, schema: GuiSchema) -> None:
    width, height = _numbers(value, 2, schema, where)
    if (width, height) != (size.width, size.height):
        raise UserError(
            f"{where}: says {width:g}x{height:g} but the picture is {size}; boxes of one size do not fit a picture of "
            "another: use the picture that the boxes were drawn on"
        )
