"""Forms of data files are recognised by the keys of their rows, and what deviates is named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vlmrl.errors import UserError
from vlmrl.loading.row_files import RowFile
from vlmrl.loading.schemas import Schema, common_schema, schema_of

SHORT = Schema(name="short", description="two keys", required=frozenset({"a", "b"}), optional=frozenset({"c"}))
LONG = Schema(name="long", description="three keys", required=frozenset({"a", "b", "d"}))
OPEN = Schema(name="open", description="any more keys", required=frozenset({"a"}), open=True)
TYPED = Schema(
    name="typed",
    description="a column of fractions",
    required=frozenset({"a", "b"}),
    containers=("parquet",),
    column_types={"b": frozenset({"list<double>"})},
)
SCHEMAS = (SHORT, LONG, OPEN, TYPED)


def rows(*keys: str, name: str = "x.json", **about: Any) -> RowFile:
    return RowFile(Path(name), [dict.fromkeys(row, 1) for row in keys], **about)


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        (rows("ab"), SHORT),
        (rows("ab", "abc"), SHORT),
        (rows("abd"), LONG),
        (rows("az"), OPEN),
        (rows("ab", container="parquet", column_types={"b": "list<double>"}), TYPED),
    ],
)
def test_a_file_is_in_the_schema_of_its_keys(file: RowFile, schema: Schema) -> None:
    assert schema_of(file, SCHEMAS) is schema


CLOSED = (SHORT, LONG, TYPED)


@pytest.mark.parametrize(
    ("file", "readable", "message"),
    [
        (rows("ab", "abx"), None, r"x\.json row 1: unknown field x; a short row has a, b, c"),
        (rows("abd", "ad", places=("line 1", "line 4")), None, r"x\.json line 4: field b is missing; a long row"),
        (rows("ab", "abd"), None, "mixes rows of the schemas short and long"),
        (rows("abd"), (SHORT,), r"is in the schema long, which is not read here; .*\n  short \(json\): a, b \[c\]; "),
        (rows("abe"), None, r"nearest: short; missing keys: none; keys that it does not have: e\)"),
        (rows("ab", container="parquet", column_types={"b": "string"}), None, "keys of typed, but its b column is str"),
        (rows("ab", container="lines"), None, "has rows with the keys a, b, which is no known schema; the schemas"),
    ],
)  # fmt: skip
def test_what_deviates_is_named(file: RowFile, readable: Sequence[Schema] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        schema_of(file, CLOSED, readable)


def test_files_of_one_folder_are_in_one_schema() -> None:
    one, other = rows("ab", name="data/one.json"), rows("abd", name="data/other.json")
    assert common_schema(Path("data"), [one, one], SCHEMAS) is SHORT
    with pytest.raises(UserError, match=r"data data mixes schemas: one\.json is short, other\.json is long"):
        common_schema(Path("data"), [one, other], SCHEMAS)
