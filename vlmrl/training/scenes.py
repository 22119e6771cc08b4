"""What a synthetic generator knows about a picture: the material of the embedded model's recipe (`embedded.py`)."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box
from vlmrl.task import Split
from vlmrl.types import Answer, Sample


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
class RowTeacher(Protocol):
    """A task whose synthetic rows can teach the embedded model."""

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]: ...

    def request(self, sample: Sample, convention: Convention) -> str: ...

    def render(self, sample: Sample, convention: Convention) -> str: ...

    def scattered(self, sample: Sample, rng: random.Random) -> Answer:
        """An imprecise answer near gold (see `SceneKind.SCATTERED`)."""
        ...


@runtime_checkable
class SceneSource(Protocol):
    """A task whose scenes can teach a model from random weights."""

    def scenes(self, seed: int, convention: Convention, kind: SceneKind) -> Iterator[Scene]:
        """Endless training scenes with answers in `convention`; none shares its picture with a held-out row."""
        ...
