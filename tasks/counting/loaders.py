"""Data files of counting -> samples, every field of every row checked."""

from collections.abc import Sequence
from pathlib import Path

from vlmrl.geometry import ImageRecord
from vlmrl.loading.fields import prompt_mode, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows, split_in_name
from vlmrl.loading.schemas import common_schema
from vlmrl.types import PromptMode, Sample, Text

from .schemas import SCHEMAS, SIMPLE, CountingSchema, gold_count

PICTURE_FOLDERS = ("images", "pixmo_count")
"""Where pictures lie beside a data file, or beside the folder that it is in."""
MOST = 10
"""Largest count with a tag of its own."""


def load_rows(
    path: Path, mode: PromptMode = PromptMode.DIRECT, schemas: Sequence[CountingSchema] = SCHEMAS
) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`; `mode` is for rows that state none.

    Ids are the file's stem and the row's index counted from 0, unless a row brings its own. Raises UserError naming
    file, row and field for anything that cannot be trained on or scored.
    """
    files = [read_rows(file) for file in data_files(path)]
    schema = common_schema(path, files, SCHEMAS, schemas)
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [_sample(file, index, schema, mode, pictures) for file in files for index in range(len(file.rows))]
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def count_tag(count: int) -> str:
    """The tag `count` of a row with so many objects."""
    return str(count) if count <= MOST else f"{MOST + 1}+"


def _sample(file: RowFile, index: int, schema: CountingSchema, mode: PromptMode, pictures: PictureFinder) -> Sample:
    row, where = file.rows[index], file.where(index)
    field = f"{where}, field {schema.picture}"
    if file.container == "parquet":
        picture: Path | bytes = pictures.embedded(row[schema.picture], field)
    else:
        picture = pictures.find(file.path, text_field(row, schema.picture, where), field)
    count = gold_count(row, schema.count, where)
    own = schema is SIMPLE
    return Sample(
        id=text_field(row, "id", where) if own and "id" in row else f"{file.path.stem}-{index}",
        images=(picture,),
        records=(ImageRecord(0, pictures.size(picture, field)),),
        question=schema.question(row, where),
        gold=Text(str(count)),
        mode=prompt_mode(row["mode"], f"{where}, field mode") if own and "mode" in row else mode,
        tags={"count": count_tag(count), **(tags_field(row, where) if own else {"split": split_in_name(file.path)})},
    )
