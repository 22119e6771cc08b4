"""Data files of detection -> samples, every field of every row checked."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.loading.fields import prompt_mode, require_keys, shown, text_field
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.types import PromptMode, Row, Sample

from .coco import DESCRIPTION, NAME, coco_samples, is_coco, odinw_files
from .rows import labelled_sample
from .schemas import ODINW_PARQUET, SCHEMAS, SIMPLE, VLM_R1, Schema

PICTURE_FOLDERS = ("images", "val2017", "train2017")
"""Where pictures lie beside a data file, or beside the folder that it is in; COCO's annotations/ lies beside them."""


def load_rows(path: Path, mode: PromptMode = PromptMode.DIRECT) -> list[Sample]:
    """The rows of a file, or of all files of a folder; `mode` is for rows that state none.

    Raises UserError naming file, row and field for anything that cannot be trained on or scored.
    """
    pictures = PictureFinder(PICTURE_FOLDERS)
    samples: list[Sample] = []
    forms: dict[str, Path] = {}
    for path_ in data_files(path):
        if is_coco(path_):
            forms.setdefault(NAME, path_)
            samples += coco_samples(path_, mode, pictures)
        else:
            file = read_rows(path_)
            schema = _schema_of(file)
            forms.setdefault(schema.name, path_)
            samples += [_sample(file, index, row, schema, mode, pictures) for index, row in enumerate(file.rows)]
    if len(forms) > 1:
        found = ", ".join(f"{file.name} is {form}" for form, file in forms.items())
        raise UserError(f"data {path} mixes schemas: {found}; name one file or split the folder")
    return _unique(samples, path)


def load_coco(path: Path) -> list[Sample]:
    """The rows of one COCO file. Raises UserError as above, and for a file in another form."""
    files = data_files(path)
    if len(files) != 1 or not is_coco(files[0]):
        raise UserError(f"data {path} must be one file of the form {NAME} ({DESCRIPTION})")
    return _unique(coco_samples(files[0], PromptMode.DIRECT, PictureFinder(PICTURE_FOLDERS)), path)


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
    return _unique(samples, path)


def _unique(samples: list[Sample], path: Path) -> list[Sample]:
    repeated = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if repeated:
        raise UserError(f"data {path}: the id {repeated[0]!r} is given to several rows; ids must be unique")
    return samples


def _schema_of(file: RowFile) -> Schema:
    """The schema that at least one row matches completely; rows that deviate from it are reported one by one."""
    key_sets = Counter(frozenset(row) for row in file.rows)
    found = [schema for schema in SCHEMAS if schema.container == file.container and any(map(schema.matches, key_sets))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(schema.name for schema in found)
        raise UserError(f"{file.path} mixes rows of the schemas {names}; split it into one file for each")
    keys = ", ".join(sorted(key_sets.most_common(1)[0][0]))
    forms = [*map(str, SCHEMAS), f"{NAME}: {DESCRIPTION}"]
    problem = f"{file.path} has rows with the keys {keys}, which is no known schema; the schemas read here are"
    raise UserError("\n  ".join([problem, *forms]))


def _sample(file: RowFile, index: int, row: Row, schema: Schema, mode: PromptMode, pictures: PictureFinder) -> Sample:
    where = f"{file.path} row {index}"
    require_keys(row, schema.required, schema.optional, schema.name, where)
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


def _id(file: RowFile, index: int, row: Row, schema: Schema, where: str) -> str:
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


def _tags(row: Row, schema: Schema, where: str) -> Mapping[str, str]:
    if schema is ODINW_PARQUET:
        return {"set": text_field(row, "dataset_name", where)}
    tags = row.get("tags", {})
    if not isinstance(tags, Mapping) or not all(isinstance(value, str) for value in tags.values()):
        raise UserError(f'{where}, field tags: must map names to texts, e.g. {{"place": "street"}}, not {shown(tags)}')
    return tags
