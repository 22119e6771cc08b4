"""Reading data files into plain rows; nothing is interpreted here."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.types import Row

SUFFIXES = (".json", ".jsonl", ".parquet")
SPLIT_NAME = re.compile(r"(train|val|valid|validation|dev|test|held_?out)(?![a-z])")

SPLIT_IN_NAME = re.compile(r"(?:^|[_+-])(train|val|validation|testA|testB|test)(?![a-zA-Z])")


@dataclass(frozen=True)
class RowFile:
    """The rows of one data file, in its order."""

    path: Path
    rows: Sequence[Row]
    container: str = "json"
    """How the file holds its rows: json, parquet, or a form that only one task reads."""
    column_types: Mapping[str, str] = field(default_factory=dict)
    """Column -> Arrow type (list<double>, string, ...) of a parquet file; empty for others."""
    places: Sequence[str] = ()
    """Where each row stands in the file, if not simply at its index."""

    def where(self, index: int) -> str:
        """File and place of a row, for messages."""
        return f"{self.path} {self.places[index] if self.places else f'row {index}'}"


def data_files(path: Path) -> list[Path]:
    """The data files at `path`: the file itself, or every one in the folder, by name.

    Raises UserError if there is none, or if the folder holds several splits: a file's name is its split, and a folder
    of train.json and test.json read as one would put test rows into training.
    """
    if not path.exists():
        raise UserError(f"data {path} does not exist; give a .json, .jsonl or .parquet file or a folder of them")
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise UserError(
                f"data {path}: cannot read {path.suffix or 'this kind of'} files, only {', '.join(SUFFIXES)}"
            )
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not files:
        folders = ", ".join(sorted(folder.name for folder in path.iterdir() if folder.is_dir()))
        inside = f"; it has the folders {folders}: is one of them meant?" if folders else ""
        raise UserError(f"data {path} holds no {', '.join(SUFFIXES)} file{inside}")
    splits = {found[1]: file.name for file in files if (found := SPLIT_NAME.match(file.name))}
    if len(splits) > 1:
        raise UserError(f"data {path} holds several splits ({', '.join(splits.values())}); name the file to read")
    return files


def split_in_name(path: Path) -> str:
    """The split that a file's name states: refcoco_val.json, testA-00000-of-00001.parquet; "unnamed" if none."""
    split = SPLIT_IN_NAME.search(path.stem)
    return split[1].replace("validation", "val") if split else "unnamed"


def read_rows(path: Path, *, one_object: bool = False) -> RowFile:
    """All rows of a file. Raises UserError naming the file and the line or row that cannot be read.

    With `one_object`, a .json file may also be a single row, as in data sets with a file per episode.
    """
    file = _read_parquet(path) if path.suffix == ".parquet" else RowFile(path, _read_json(path, one_object))
    if not file.rows:
        raise UserError(f"{path} holds no rows: the data set is empty")
    for index, row in enumerate(file.rows):
        if not isinstance(row, dict):
            raise UserError(f"{file.where(index)}: expected an object with named fields, found {type(row).__name__}")
    return file


def _read_json(path: Path, one_object: bool) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if path.suffix == ".jsonl":
        lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
        return [_parsed(line, f"{path} line {number}") for number, line in lines]
    rows = _parsed(text, str(path))
    if one_object and isinstance(rows, dict):
        return [rows]
    if not isinstance(rows, list):
        raise UserError(
            f"{path}: expected a JSON list of rows, found {type(rows).__name__}; if it is no data file, name the "
            "one to read instead of its folder"
        )
    return rows


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object per line belongs into a .jsonl file" if error.msg == "Extra data" else ""
        raise UserError(f"{where} is not JSON: {error}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {error}") from error


def _read_parquet(path: Path) -> RowFile:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable parquet file: {error}") from error

    def named(kind: Any) -> str:
        if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind):
            return f"list<{kind.value_type}>"
        return "string" if pyarrow.types.is_large_string(kind) else str(kind)

    return RowFile(path, table.to_pylist(), "parquet", {column.name: named(column.type) for column in table.schema})
