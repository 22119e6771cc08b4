"""Data files of questions about charts and documents -> samples, every field of every row checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord
from vlmrl.loading.fields import prompt_mode, shown, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.loading.schemas import common_schema
from vlmrl.types import PromptMode, Row, Sample, Text

from .schemas import CHARTQA_JSON, SCHEMAS, QuestionSchema, Scorer

PICTURE_FOLDERS = ("images", "png", "documents", "spdocvqa_images")
"""Where pictures lie beside a data file, or beside the folder that it is in."""


def load_rows(
    path: Path,
    mode: PromptMode = PromptMode.DIRECT,
    scorer: Scorer = "exact_match",
    schemas: Sequence[QuestionSchema] = SCHEMAS,
) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`; `mode` and `scorer` are for rows that state
    none. Ids are the file's stem and the row's index counted from 0, unless a row brings its own.

    Raises UserError naming file, row and field for anything that cannot be trained on or scored.
    """
    files = [_rows(file) for file in data_files(path)]
    schema = common_schema(path, files, SCHEMAS, schemas)
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples = [
        _sample(file, index, row, schema, mode, scorer, pictures)
        for file in files
        for index, row in enumerate(file.rows)
    ]
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def _rows(path: Path) -> RowFile:
    """A file's rows; those of the DocVQA challenge stand in the field `data` of one object."""
    file = read_rows(path, one_object=True)
    inner = file.rows[0].get("data") if len(file.rows) == 1 else None
    if inner is None:
        return file
    if not isinstance(inner, list) or not inner or not all(isinstance(row, dict) for row in inner):
        raise UserError(f"{path}, field data: must be a list of rows, at least one, not {shown(inner)}")
    return RowFile(path, inner)


def _sample(
    file: RowFile,
    index: int,
    row: Row,
    schema: QuestionSchema,
    mode: PromptMode,
    scorer: Scorer,
    pictures: PictureFinder,
) -> Sample:
    where = file.where(index)
    entry = schema.entry(row, where)
    picture_where = f"{where}, field {schema.image}"
    picture: Path | bytes
    if file.container == "parquet":
        picture = pictures.embedded(row[schema.image], picture_where)
    else:
        # the challenge's rows name a folder that its pictures no longer lie in
        name = PurePosixPath(text_field(row, schema.image, where)).name
        picture = pictures.find(file.path, name, picture_where)
    scored_by = entry.scorer or scorer
    return Sample(
        id=entry.id or f"{file.path.stem}-{index}",
        images=(picture,),
        records=(ImageRecord(0, pictures.size(picture, picture_where)),),
        question=entry.question.strip(),
        gold=Text(entry.accepted[0]),
        mode=prompt_mode(row["mode"], f"{where}, field mode") if "mode" in row else mode,
        tags={**_half(file, schema), **entry.tags},
        extra={"accepted": entry.accepted, "scorer": scored_by},
    )


def _half(file: RowFile, schema: QuestionSchema) -> Mapping[str, str]:
    """Which half of ChartQA a file of its own release is."""
    half = file.path.stem.rpartition("_")[2]
    return {"split": half} if schema is CHARTQA_JSON and half in ("human", "augmented") else {}
