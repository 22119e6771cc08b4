"""What a synthetic generator knows about a picture: the material of the embedded model's recipe (`embedded.py`)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box


@dataclass(frozen=True)
class Region:
    """A part of a picture and the words that describe it."""

    box: Box
    """Original pixels."""
    attributes: Mapping[str, str]
    """Attribute name -> the word as questions write it, leading space included: {"colour": " red", "word": "Save"}.

    Only a word's first token is learnt, so an attribute's words must differ in it.
    """


@dataclass(frozen=True)
class Turn:
    """One question about a picture, with its answer format, and the completion to learn."""

    request: str
    completion: str


@dataclass(frozen=True)
class Scene:
    """One picture with the labels of everything on it and questions about it."""

    image: Image.Image
    regions: tuple[Region, ...]
    turns: tuple[Turn, ...]
    """Asked in one conversation. No two have the same answer, or the second could be copied from the first."""


class SceneKind(Enum):
    """What scenes are drawn for."""

    CROWDED = "crowded"
    """Many regions, for dense supervision."""
    EXACT = "exact"
    """Like the task's own rows, with the right answers."""
    SCATTERED = "scattered"
    """Like the task's own rows, with answers scattered around the right ones: a model that learns them knows what is
    meant and is imprecise about it, so that rewards have something to teach."""


@runtime_checkable
class SceneSource(Protocol):
    """A task that can teach a model from random weights."""

    def scenes(self, seed: int, convention: Convention, kind: SceneKind) -> Iterator[Scene]:
        """Endless training scenes with answers in `convention`; none shares its picture with a held-out row."""
        ...
