"""Ids of a data set's rows."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vlmrl.errors import UserError


def require_unique_ids(path: Path, ids: Iterable[str]) -> None:
    """Raises UserError naming an id that several rows have."""
    repeated = [id_ for id_, count in Counter(ids).items() if count > 1]
    if repeated:
        raise UserError(f"data {path}: the id {repeated[0]!r} is given to several rows; ids must be unique")
