"""Data files of detection -> samples, every field of every row checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.loading.fields import prompt_mode, shown, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.loading.schemas import require_one_schema, schema_of
from vlmrl.types import PromptMode, Row, Sample

from .coco import DESCRIPTION, NAME, coco_samples, is_coco, odinw_files
from .rows import labelled_sample
from .schemas import ODINW_PARQUET, SCHEMAS, SIMPLE, VLM_R1, DetectionSchema

PICTURE_FOLDERS = ("images", "val2017", "train2017")
"""Where pictures lie beside a data file, or beside the folder that it is in; COCO's annotations/ lies beside them."""


def load_rows(path: Path, mode: PromptMode = PromptMode.DIRECT) -> list[Sample]:
    """The rows of a file, or of all files of a folder; `mode` is for rows that state none.

    Raises UserError naming file, row and field for anything that cannot be trained on or scored.
    """
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples: list[Sample] = []
    forms: dict[Path, str] = {}
    for path_ in data_files(path):
        if is_coco(path_):
            forms[path_] = NAME
            samples += coco_samples(path_, mode, pictures)
        else:
            file = read_rows(path_)
            schema = schema_of(file, SCHEMAS)
            forms[path_] = schema.name
            samples += [_sample(file, index, row, schema, mode, pictures) for index, row in enumerate(file.rows)]
    require_one_schema(path, forms)
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def load_coco(path: Path) -> list[Sample]:
    """The rows of one COCO file. Raises UserError as above, and for a file in another form."""
    files = data_files(path)
    if len(files) != 1 or not is_coco(files[0]):
        raise UserError(f"data {path} must be one file of the form {NAME} ({DESCRIPTION})")
    samples = coco_samples(files[0], PromptMode.DIRECT, PictureFinder(PICTURE_FOLDERS))
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def load_odinw(path: Path) -> list[Sample]:
    """The test rows of ODinW's sets: the folder of their folders, or a parquet file. Tag `set` is the set's name."""
    if path.is_file():
        rows = load_rows(path)
        if not all("set" in row.tags for row in rows):
            raise UserError(f"data {path} must be a file of the form {ODINW_PARQUET}, or the folder of ODinW's sets")
        return rows
    pictures = PictureFinder(PICTURE_FOLDERS)
    files = odinw_files(path)
    samples = [row for name, file in files.items() for row in coco_samples(file, PromptMode.DIRECT, pictures, name)]
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


def _sample(
    file: RowFile, index: int, row: Row, schema: DetectionSchema, mode: PromptMode, pictures: PictureFinder
) -> Sample:
    where = file.where(index)
    picture = _picture(file, row, f"{where}, field image", pictures)
    return labelled_sample(
        id_=_id(file, index, row, schema, where),
        picture=picture,
        size=pictures.size(picture, f"{where}, field image"),
        labels=schema.read(row, where),
        form=schema.box,
        schema=schema.name,
        mode=prompt_mode(row["mode"], f"{where}, field mode") if "mode" in row else mode,
        where=where,
        tags=_tags(row, schema, where),
    )


def _id(file: RowFile, index: int, row: Row, schema: DetectionSchema, where: str) -> str:
    if schema is SIMPLE and "id" in row:
        return text_field(row, "id", where)
    if schema is VLM_R1:
        if type(row["id"]) not in (int, str):
            raise UserError(f"{where}, field id: must be a number or a text, not {shown(row['id'])}")
        return f"{file.path.stem}-{row['id']}"
    return f"{file.path.stem}-{index}"


def _picture(file: RowFile, row: Row, where: str, pictures: PictureFinder) -> Path | bytes:
    if file.container == "parquet":
        return pictures.embedded(row["image"], where)
    name: Any = row["image"]
    if isinstance(name, list) and len(name) == 1:
        name = name[0]
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: must name one picture, not {shown(name)}")
    return pictures.find(file.path, name, where)


def _tags(row: Row, schema: DetectionSchema, where: str) -> Mapping[str, str]:
    if schema is ODINW_PARQUET:
        return {"set": text_field(row, "dataset_name", where)}
    return tags_field(row, where)
