"""Drawn pictures as rows of a data set, drawn when they are asked for; the two splits share no picture."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from PIL import Image

from vlmrl.task import Split
from vlmrl.types import Sample

ATTEMPTS = 4096
"""Drawing seeds reserved for each row; the first drawing of the right split is taken."""
HELD_OUT_BYTES = 32
"""A picture is held out when the first byte of its fingerprint is below this: one in eight."""


class Drawing(Protocol):
    """Something that was drawn from a seed."""

    @property
    def split(self) -> Split: ...


T = TypeVar("T", bound=Drawing)


def split_of(*pictures: Image.Image) -> Split:
    """The side that a picture (or all frames of a clip together) is on, whoever draws it and from whatever seed."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(b"%dx%d" % picture.size + picture.tobytes())
    return "held_out" if digest.digest()[0] < HELD_OUT_BYTES else "train"


class DrawnRows(Sequence[Sample], Generic[T]):
    """`rows` rows of one split, one drawing each. Row i of a seed is always the same.

    `draw` is a pure function of an integer seed; `sample` makes a row of a drawing and the row's id.
    """

    def __init__(
        self, split: Split, rows: int, seed: int, draw: Callable[[int], T], sample: Callable[[T, str], Sample]
    ) -> None:
        self.split, self.rows, self.seed, self.draw, self.sample = split, rows, seed, draw, sample

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < self.rows:
            raise IndexError(row)
        first = (self.seed * 2**20 + row) * ATTEMPTS
        drawings = (self.draw(first + attempt) for attempt in range(ATTEMPTS))
        return self.sample(next(d for d in drawings if d.split == self.split), f"{self.split}-{self.seed}-{row}")
