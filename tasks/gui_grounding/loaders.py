"""Data files of GUI grounding -> samples, every field of every row checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Size
from vlmrl.loading.boxes import target_box
from vlmrl.loading.fields import json_text, number_list, prompt_mode, require_keys, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.types import PromptMode, Row, Sample

from .schemas import LABEL_KEYS, SCHEMAS, SIMPLE, Schema

PICTURE_FOLDERS = ("images", "screenspot_imgs", "screenspotv2_image")
"""Where pictures lie beside a data file, or beside the folder that it is in."""
KINDS = ("text", "icon")


def load_rows(path: Path, mode: PromptMode = PromptMode.DIRECT, schemas: Sequence[Schema] = SCHEMAS) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`; `mode` is for rows that state none.

    Ids are the file's stem and the row's index counted from 0, unless a row brings its own. Raises UserError naming
    file, row and field for anything that cannot be trained on or scored.
    """
    files = [read_rows(file) for file in data_files(path)]
    found = [_schema_of(file, schemas) for file in files]
    for file, schema in zip(files[1:], found[1:], strict=True):
        if schema is not found[0]:
            raise UserError(
                f"data {path} mixes schemas: {files[0].path.name} is {found[0].name}, {file.path.name} is "
                f"{schema.name}; name one file or split the folder"
            )
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [
        _sample(file, index, row, found[0], mode, pictures) for file in files for index, row in enumerate(file.rows)
    ]
    repeated = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if repeated:
        raise UserError(f"data {path}: the id {repeated[0]!r} is given to several rows; ids must be unique")
    return samples


def _schema_of(file: RowFile, schemas: Sequence[Schema]) -> Schema:
    """The schema that at least one row matches completely; rows that deviate from it are reported one by one."""
    key_sets = Counter(frozenset(row) for row in file.rows)
    by_keys = [
        schema for schema in SCHEMAS if schema.container == file.container and any(map(schema.matches, key_sets))
    ]
    box_type = file.column_types.get("bbox", "")
    found = [schema for schema in by_keys if not schema.box_types or box_type in schema.box_types]
    if len(found) == 1 and found[0] in schemas:
        return found[0]
    if len(found) > 1:
        names = " and ".join(schema.name for schema in found)
        raise UserError(f"{file.path} mixes rows of the schemas {names}; split it into one file for each")
    if found:
        problem = f"is in the schema {found[0].name}, which is not read here"
    elif by_keys:
        problem = f"has the keys of {by_keys[0].name}, but its bbox column is {box_type}"
    else:
        problem = _unknown_keys(key_sets.most_common(1)[0][0], [s for s in schemas if s.container == file.container])
    raise UserError("\n  ".join([f"{file.path} {problem}; the schemas read here are", *map(str, schemas)]))


def _unknown_keys(keys: frozenset[str], schemas: Sequence[Schema]) -> str:
    problem = f"has rows with the keys {', '.join(sorted(keys))}, which is no known schema"
    if not schemas:
        return problem
    nearest = min(schemas, key=lambda s: len(s.required - keys) + len(keys - s.required - s.optional))
    missing = ", ".join(sorted(nearest.required - keys)) or "none"
    unknown = ", ".join(sorted(keys - nearest.required - nearest.optional)) or "none"
    return f"{problem} (nearest: {nearest.name}; missing keys: {missing}; keys that it does not have: {unknown})"


def _sample(file: RowFile, index: int, row: Row, schema: Schema, mode: PromptMode, pictures: PictureFinder) -> Sample:
    where = f"{file.path} row {index}"
    require_keys(row, schema.required, schema.optional, schema.name, where)
    question = text_field(row, "instruction", where)
    tags = _tags(row, schema, where)
    picture = _picture(file, row, schema, where, pictures)
    size = pictures.size(picture, f"{where}, field {schema.picture}")
    if "img_size" in row:
        _require_size(row["img_size"], size, f"{where}, field img_size", schema)
    record = ImageRecord(index=0, original=size)
    box_where = f"{where}, field bbox"
    return Sample(
        id=text_field(row, "id", where) if schema is SIMPLE and "id" in row else f"{file.path.stem}-{index}",
        images=(picture,),
        records=(record,),
        question=question,
        gold=target_box(_numbers(row["bbox"], 4, schema, box_where), schema.box, record, schema.name, box_where),
        mode=prompt_mode(row["mode"], f"{where}, field mode") if "mode" in row else mode,
        tags=tags,
        extra={"reasoning": text_field(row, "reasoning", where)} if "reasoning" in row else {},
    )


def _tags(row: Row, schema: Schema, where: str) -> Mapping[str, str]:
    for key in LABEL_KEYS & set(row):
        text_field(row, key, where)
    if schema.kind is not None and row[schema.kind] not in KINDS:
        raise UserError(f"{where}, field {schema.kind}: must be text or icon, not {shown(row[schema.kind])}")
    tags = schema.tags(row)
    if not isinstance(tags, Mapping) or not all(isinstance(value, str) for value in tags.values()):
        raise UserError(f'{where}, field tags: must map names to texts, e.g. {{"platform": "web"}}, not {shown(tags)}')
    return tags


def _picture(file: RowFile, row: Row, schema: Schema, where: str, pictures: PictureFinder) -> Path | bytes:
    if schema.container == "json":
        name = text_field(row, schema.picture, where)
        return pictures.find(file.path, name, f"{where}, field {schema.picture}")
    return pictures.embedded(row[schema.picture], f"{where}, field {schema.picture}")


def _numbers(value: Any, count: int, schema: Schema, where: str) -> list[float]:
    if isinstance(value, str) and "string" in schema.box_types:
        value = json_text(value, where)
    return number_list(value, count, where)


def _require_size(value: Any, size: Size, where: str, schema: Schema) -> None:
    width, height = _numbers(value, 2, schema, where)
    if (width, height) != (size.width, size.height):
        raise UserError(
            f"{where}: says {width:g}x{height:g} but the picture is {size}; boxes of one size do not fit a picture of "
            "another: use the picture that the boxes were drawn on"
        )
