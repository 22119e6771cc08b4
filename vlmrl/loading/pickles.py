"""Pickles of plain data, read without running anything that stands in them."""

import pickle
from pathlib import Path
from typing import Any, NoReturn

from vlmrl.errors import UserError

PLAIN = (str, int, float, bool, bytes, type(None))
BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
)
"""What Python's unpickler raises for files that are damaged or no pickles at all."""


class _PlainUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists, tuples, texts and numbers, which need no name from any module."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and data needs no code")


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle, Python 2's too (its byte strings are read as latin-1).

    Raises UserError for a file that holds anything but plain containers, texts and numbers; no name that stands in it
    is ever imported or called.
    """
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except BROKEN as error:
        raise UserError(f"{path} is no pickle of plain data: {error}; nothing in it was run") from error
    _require_plain(content, path)
    return content


def _require_plain(content: Any, path: Path) -> None:
    pending, seen = [content], set()
    while pending:
        value = pending.pop()
        if isinstance(value, PLAIN):
            continue
        if not isinstance(value, dict | list | tuple):
            raise UserError(f"{path} holds a {type(value).__name__}; only containers, texts and numbers are read")
        if id(value) not in seen:
            seen.add(id(value))
            pending += [*value, *value.values()] if isinstance(value, dict) else value
