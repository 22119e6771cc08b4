"""Reading single fields of a data file's row; every message names file, row and field."""

import json
import reprlib
from collections.abc import Collection, Mapping
from typing import Any

from vlmrl.errors import UserError
from vlmrl.types import PromptMode, Row

LARGEST = 1e9
"""Numbers beyond it are no coordinates, sizes or times."""


def require_keys(row: Row, required: Collection[str], optional: Collection[str], schema: str, where: str) -> None:
    """Raises UserError for a missing field and for one that the schema does not know."""
    if missing := sorted(set(required) - set(row)):
        raise UserError(f"{where}: field {missing[0]} is missing; a {schema} row needs it")
    if unknown := sorted(set(row) - set(required) - set(optional)):
        fields = ", ".join(sorted({*required, *optional}))
        raise UserError(f"{where}: unknown field {unknown[0]}; a {schema} row has {fields}")


def text_field(row: Row, key: str, where: str) -> str:
    """A text that is not empty. `where` names file and row."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}, field {key}: must be a text that is not empty, not {shown(value)}")
    return value


def id_field(row: Row, key: str, where: str) -> str:
    """A published id, a number or a text, as text. `where` names file and row."""
    value = row.get(key)
    if type(value) not in (int, str) or value == "":
        raise UserError(f"{where}, field {key}: must be a number or a text, not {shown(value)}")
    return str(value)


def tags_field(row: Row, where: str) -> Mapping[str, str]:
    """The optional field `tags`: names -> texts that metrics are broken down by. `where` names file and row."""
    tags = row.get("tags", {})
    if not isinstance(tags, Mapping) or not all(isinstance(value, str) for value in tags.values()):
        raise UserError(f'{where}, field tags: must map names to texts, e.g. {{"place": "street"}}, not {shown(tags)}')
    return tags


def number_list(value: Any, count: int, where: str) -> list[float]:
    """`count` finite numbers. `where` names file, row and field."""
    is_list = isinstance(value, list) and len(value) == count
    # Comparing before converting: a whole number may be too large for a float, and NaN fails every comparison.
    if not is_list or not all(type(n) in (int, float) and abs(n) < LARGEST for n in value):
        raise UserError(f"{where}: must be a list of {count} finite numbers, not {shown(value)}")
    return [float(n) for n in value]


def json_text(value: str, where: str) -> Any:
    """The value of a field that holds JSON as text."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: the text {shown(value)} is not JSON: {error}") from error


def prompt_mode(value: Any, where: str) -> PromptMode:
    try:
        return PromptMode(value)
    except ValueError:
        modes = " or ".join(mode.value for mode in PromptMode)
        raise UserError(f"{where}: must be {modes}, not {shown(value)}") from None


def shown(value: Any) -> str:
    """A value for a message, cut to a readable length."""
    return reprlib.repr(value)
