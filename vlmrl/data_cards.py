"""Cards of public data sets: where each comes from, what its files look like, and how to point vlmrl at them.

A card is a YAML file in ``data/``; its name is the file's. Cards describe data that the user brings: nothing is
downloaded. What no source confirms is marked ``verified: false``.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from vlmrl.errors import UserError
from vlmrl.paths import data_cards_dir
from vlmrl.yaml_dialect import Loader

T = TypeVar("T")


@dataclass(frozen=True)
class Fact:
    """Something about a data set, and who says so."""

    text: str
    source: str
    """A repository and file, a data set's card, or a paper."""
    verified: bool = True
    """Whether it was read there, not only repeated elsewhere."""


@dataclass(frozen=True)
class Split:
    """A part of the data set and how many rows (in the unit that is scored) it has."""

    name: str
    rows: int | None
    """None where no source gives a number."""
    source: str
    verified: bool = True


@dataclass(frozen=True)
class Form:
    """A published form of the data that a task reads."""

    task: str
    format: str
    """Name of the form among the task's `formats`."""
    files: str
    """What it is called where it is published, and what lies beside it."""
    frame: Fact
    """What the coordinates or times in the files are."""
    use: str
    """The command that reads it."""
    convert: str | None = None
    """What has to be done to the published files first, if anything."""


@dataclass(frozen=True)
class DataCard:
    """A public data set."""

    title: str
    about: str
    """One line: what a row asks."""
    origin: tuple[str, ...]
    """Repositories, hub ids and papers."""
    licence: Fact
    splits: tuple[Split, ...]
    forms: tuple[Form, ...]
    notes: tuple[Fact, ...] = ()
    """What to know before trusting a number."""

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(form.task for form in self.forms))


def find_cards() -> dict[str, DataCard]:
    """All cards by name. Raises UserError naming file and field for one that does not fit the schema."""
    return {path.stem: read_card(path) for path in sorted(data_cards_dir().glob("*.yaml"))}


def find_card(name: str) -> DataCard:
    """The card of that name. Raises UserError with suggestions if there is none."""
    cards = find_cards()
    if name not in cards:
        by_spelling = {spelling.lower(): known for known, card in cards.items() for spelling in (known, card.title)}
        close = difflib.get_close_matches(name.lower(), by_spelling, n=3, cutoff=0.5)
        meant = list(dict.fromkeys(by_spelling[spelling] for spelling in close))
        hint = f"did you mean {' or '.join(meant)}? " if meant else ""
        raise UserError(f"there is no data card {name!r}: {hint}`vlmrl data list` has all {len(cards)}")
    return cards[name]


def read_card(path: Path) -> DataCard:
    """A card's file, every field checked. Raises UserError naming the file and the field."""
    try:
        written = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    return _read(DataCard, written, str(path))


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as a `kind`: a dataclass (from a mapping of its fields), a tuple, or a plain type, None where allowed."""
    if dataclasses.is_dataclass(kind):
        return _section(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not value:
            raise UserError(f"{where}: must be a list that is not empty, not {value!r}")
        return tuple(_read(get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    plain = get_args(kind) or (kind,)
    if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain) or value == "":
        names = " or ".join("null" if one is NoneType else one.__name__ for one in plain)
        raise UserError(f"{where}: must be {names}, not {value!r}")
    return value


def _section(kind: type[T], value: Any, where: str) -> T:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: must have the fields {', '.join(fields)}, not be {value!r}")
    if unknown := sorted(set(map(str, value)) - set(fields)):
        raise UserError(f"{where}: unknown field {unknown[0]}; there are {', '.join(fields)}")
    needed = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in value]:
        raise UserError(f"{where}: field {missing[0]} is missing")
    kinds = get_type_hints(kind)
    return kind(**{name: _read(kinds[name], entry, f"{where}, field {name}") for name, entry in value.items()})
