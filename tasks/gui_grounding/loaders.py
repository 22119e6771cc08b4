"""Data files of GUI grounding -> samples, every field of every row checked."""

import json
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.media.pictures import picture_size
from vlmrl.types import PromptMode, Row, Sample

from .rows import RowFile, data_files, read_rows
from .schemas import BOX_FORMS, LABEL_KEYS, SCHEMAS, SIMPLE, BoxForm, BoxOrder, Schema

PICTURE_FOLDERS = ("images", "screenspot_imgs", "screenspotv2_image")
"""Where pictures lie beside a data file, or beside the folder that it is in."""
EDGE_SLACK = 1.0
"""Pixels by which a published box may reach over the picture's edge; it is cut there. ScreenSpot has such rows (in
v2's mobile file, one box ends at 2361 of 2360), and no answer on the picture is scored differently for it."""
SMALLEST_SIDE = 0.999
"""A target narrower than one pixel (with room for rounded fractions) cannot be hit; fractions look so when they are
taken for pixels."""
LARGEST = 1e9
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
    pictures = _Pictures()
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


class _Pictures:
    """Finds the pictures of one load; each file is looked for and opened once."""

    def __init__(self) -> None:
        self._paths: dict[tuple[Path, str], Path] = {}
        self._sizes: dict[Path | bytes, Size] = {}
        self._encoded: dict[bytes, bytes] = {}

    def find(self, data_file: Path, name: str, where: str) -> Path:
        """The picture `name` of a row. Raises UserError naming every place that was looked in."""
        key = (data_file.parent, name)
        if key not in self._paths:
            beside, above = data_file.parent, data_file.absolute().parent.parent
            places = [folder / kept for folder in (beside, above) for kept in PICTURE_FOLDERS] + [beside]
            found = [place / name for place in places if (place / name).is_file()]
            if not found:
                folders = ", ".join(f"{kept}/" for kept in PICTURE_FOLDERS)
                raise UserError(
                    f"{where}: picture {name!r} not found; looked in the folders {folders} of {beside} and {above}, "
                    f"and in {beside} itself"
                )
            self._paths[key] = found[0]
        return self._paths[key]

    def shared(self, encoded: bytes) -> bytes:
        """One object for all rows that hold the same picture."""
        return self._encoded.setdefault(encoded, encoded)

    def size(self, source: Path | bytes, where: str) -> Size:
        if source not in self._sizes:
            self._sizes[source] = picture_size(source, where)
        return self._sizes[source]


def _sample(file: RowFile, index: int, row: Row, schema: Schema, mode: PromptMode, pictures: _Pictures) -> Sample:
    where = f"{file.path} row {index}"
    _require_keys(row, schema, where)
    question = _text(row, "instruction", where)
    tags = _tags(row, schema, where)
    picture = _picture(file, row, schema, where, pictures)
    size = pictures.size(picture, f"{where}, field {schema.picture}")
    if "img_size" in row:
        _require_size(row["img_size"], size, f"{where}, field img_size", schema)
    record = ImageRecord(index=0, original=size)
    return Sample(
        id=_text(row, "id", where) if schema is SIMPLE and "id" in row else f"{file.path.stem}-{index}",
        images=(picture,),
        records=(record,),
        question=question,
        gold=_box(row["bbox"], schema, record, f"{where}, field bbox"),
        mode=_mode(row["mode"], where) if "mode" in row else mode,
        tags=tags,
    )


def _require_keys(row: Row, schema: Schema, where: str) -> None:
    if missing := sorted(schema.required - set(row)):
        raise UserError(f"{where}: field {missing[0]} is missing; a {schema.name} row needs it")
    if unknown := sorted(set(row) - schema.required - schema.optional):
        fields = ", ".join(sorted(schema.required | schema.optional))
        raise UserError(f"{where}: unknown field {unknown[0]}; a {schema.name} row has {fields}")


def _text(row: Row, key: str, where: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}, field {key}: must be a text that is not empty, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return reprlib.repr(value)


def _mode(value: Any, where: str) -> PromptMode:
    try:
        return PromptMode(value)
    except ValueError:
        modes = " or ".join(mode.value for mode in PromptMode)
        raise UserError(f"{where}, field mode: must be {modes}, not {_shown(value)}") from None


def _tags(row: Row, schema: Schema, where: str) -> Mapping[str, str]:
    for key in LABEL_KEYS & set(row):
        _text(row, key, where)
    if schema.kind is not None and row[schema.kind] not in KINDS:
        raise UserError(f"{where}, field {schema.kind}: must be text or icon, not {_shown(row[schema.kind])}")
    tags = schema.tags(row)
    if not isinstance(tags, Mapping) or not all(isinstance(value, str) for value in tags.values()):
        raise UserError(f'{where}, field tags: must map names to texts, e.g. {{"platform": "web"}}, not {_shown(tags)}')
    return tags


def _picture(file: RowFile, row: Row, schema: Schema, where: str, pictures: _Pictures) -> Path | bytes:
    if schema.container == "json":
        name = _text(row, schema.picture, where)
        return pictures.find(file.path, name, f"{where}, field {schema.picture}")
    image = row[schema.picture]
    encoded = image.get("bytes") if isinstance(image, Mapping) else None
    if not isinstance(encoded, bytes):
        raise UserError(f"{where}, field {schema.picture}: holds no encoded picture; export the set with its pictures")
    return pictures.shared(encoded)


def _numbers(value: Any, count: int, schema: Schema, where: str) -> list[float]:
    if isinstance(value, str) and "string" in schema.box_types:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: the text {_shown(value)} is not a JSON list: {error}") from error
    is_list = isinstance(value, list) and len(value) == count
    # Comparing before converting: a whole number may be too large for a float, and NaN fails every comparison.
    if not is_list or not all(type(n) in (int, float) and abs(n) < LARGEST for n in value):
        raise UserError(f"{where}: must be a list of {count} finite numbers, not {_shown(value)}")
    return [float(n) for n in value]


def _require_size(value: Any, size: Size, where: str, schema: Schema) -> None:
    width, height = _numbers(value, 2, schema, where)
    if (width, height) != (size.width, size.height):
        raise UserError(
            f"{where}: says {width:g}x{height:g} but the picture is {size}; boxes of one size do not fit a picture of "
            "another: use the picture that the boxes were drawn on"
        )


def _box(value: Any, schema: Schema, record: ImageRecord, where: str) -> Box:
    """The target in original pixels."""
    numbers = _numbers(value, 4, schema, where)
    box = _corners(numbers, schema.box, record)
    if problem := _misfit(box, record.original):
        fitting = [
            form
            for form in BOX_FORMS
            if form != schema.box and not _misfit(_corners(numbers, form, record), record.original)
        ]
        fix = "correct the box or drop the row"
        if fitting:
            fix = f"it would fit as {' or as '.join(map(str, fitting))}: if that is what the file holds, convert it"
        raise UserError(
            f"{where}: the box {value} ({schema.box}, by the schema {schema.name}) {problem} of {record.original}; "
            f"{fix}"
        )
    x1, y1, x2, y2 = box
    return Box(
        max(x1, 0.0),
        max(y1, 0.0),
        min(x2, float(record.original.width)),
        min(y2, float(record.original.height)),
        record.frame(Unit.ORIGINAL),
    )


def _corners(numbers: Sequence[float], form: BoxForm, record: ImageRecord) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in original pixels; not a Box yet, as the corners may be swapped."""
    x1, y1, x2, y2 = numbers
    if form.order is BoxOrder.CORNER_AND_SIZE:
        x2, y2 = x1 + x2, y1 + y2
    frame, size = record.frame(form.unit), record.original
    across, down = size.width / frame.width, size.height / frame.height
    return x1 * across, y1 * down, x2 * across, y2 * down


def _misfit(corners: tuple[float, float, float, float], size: Size) -> str | None:
    """What keeps a box from being a target on its picture, if anything does."""
    x1, y1, x2, y2 = corners
    if x2 <= x1 or y2 <= y1:
        return "has no area on a picture"
    if min(x1, y1) < -EDGE_SLACK or x2 > size.width + EDGE_SLACK or y2 > size.height + EDGE_SLACK:
        return "lies outside its picture"
    if min(x2, size.width) - max(x1, 0) < SMALLEST_SIDE or min(y2, size.height) - max(y1, 0) < SMALLEST_SIDE:
        return "is smaller than one pixel on its picture"
    return None
