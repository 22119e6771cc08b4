"""Published forms of data files, told apart by the complete set of a row's keys.

The same field name holds different things in different forms (x, y, width, height here and two corners there), so the
form is recognised from which keys a row has, never from the values.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from vlmrl.errors import UserError
from vlmrl.loading.fields import require_keys
from vlmrl.loading.row_files import RowFile


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One published form of a data file. Tasks add how its rows are read."""

    name: str
    description: str
    """Where such files come from and what their coordinates are, for lists of schemas."""
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    open: bool = False
    """Whether rows may have further keys, which are not read: their complete set is published nowhere."""
    containers: tuple[str, ...] = ("json",)
    """What `RowFile.container` may be."""
    column_types: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Column -> Arrow types that it may have in a parquet file, where another type means other values."""

    def matches(self, keys: frozenset[str]) -> bool:
        """Whether a row with these keys is complete and has none that the schema does not know."""
        return self.required <= keys and not self.unknown(keys)

    def unknown(self, keys: frozenset[str]) -> frozenset[str]:
        """The keys that rows of this schema do not have."""
        return frozenset() if self.open else keys - self.required - self.optional

    def wrong_column(self, file: RowFile) -> str | None:
        """A column of another type than this schema's."""
        return next(
            (name for name, types in self.column_types.items() if file.column_types.get(name) not in types), None
        )

    def __str__(self) -> str:
        optional = f" [{', '.join(sorted(self.optional))}]" if self.optional else ""
        keys = ", ".join(sorted(self.required)) + optional + (", ..." if self.open else "")
        return f"{self.name} ({' or '.join(self.containers)}): {keys}; {self.description}"


S = TypeVar("S", bound=Schema)


def schema_of(file: RowFile, known: Sequence[S], readable: Sequence[S] | None = None) -> S:
    """The one of `known` that at least one row of a file matches completely; it must be one of `readable`, if given.

    Raises UserError naming the nearest schema for a file in none, and row and field for a row that deviates from its
    file's schema.
    """
    readable = known if readable is None else readable
    key_sets = Counter(frozenset(row) for row in file.rows)
    matching = [s for s in known if file.container in s.containers and any(map(s.matches, key_sets))]
    # A schema whose key set is complete is the better match: an open one may share all of its keys.
    by_keys = [schema for schema in matching if not schema.open] or matching
    found = [schema for schema in by_keys if schema.wrong_column(file) is None]
    if len(found) > 1:
        names = " and ".join(schema.name for schema in found)
        raise UserError(f"{file.path} mixes rows of the schemas {names}; split it into one file for each")
    if not found or found[0] not in readable:
        if found:
            problem = f"is in the schema {found[0].name}, which is not read here"
        elif by_keys:
            column = by_keys[0].wrong_column(file)
            problem = f"has the keys of {by_keys[0].name}, but its {column} column is {file.column_types[str(column)]}"
        else:
            problem = _unknown(key_sets.most_common(1)[0][0], [s for s in readable if file.container in s.containers])
        raise UserError("\n  ".join([f"{file.path} {problem}; the schemas read here are", *map(str, readable)]))
    schema = found[0]
    for index, row in enumerate(file.rows):
        if not schema.matches(frozenset(row)):
            require_keys(row, schema.required, schema.optional, schema.name, file.where(index))
    return schema


def common_schema(path: Path, files: Sequence[RowFile], known: Sequence[S], readable: Sequence[S] | None = None) -> S:
    """The schema of all files at `path`. Raises UserError as `schema_of` does, and for files in different ones."""
    found = [schema_of(file, known, readable) for file in files]
    require_one_schema(path, {file.path: schema.name for file, schema in zip(files, found, strict=True)})
    return found[0]


def require_one_schema(path: Path, names: Mapping[Path, str]) -> None:
    """Raises UserError if the files of a folder are in different schemas."""
    if len(set(names.values())) > 1:
        found = ", ".join(f"{file.name} is {name}" for file, name in names.items())
        raise UserError(f"data {path} mixes schemas: {found}; name one file or split the folder")


def _unknown(keys: frozenset[str], schemas: Sequence[Schema]) -> str:
    problem = f"has rows with the keys {', '.join(sorted(keys))}, which is no known schema"
    if not schemas:
        return problem
    nearest = min(schemas, key=lambda s: len(s.required - keys) + len(keys - s.required - s.optional))
    missing = ", ".join(sorted(nearest.required - keys)) or "none"
    unknown = ", ".join(sorted(nearest.unknown(keys))) or "none"
    return f"{problem} (nearest: {nearest.name}; missing keys: {missing}; keys that it does not have: {unknown})"
