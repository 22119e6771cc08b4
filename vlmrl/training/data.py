"""Which rows a run trains on and which it holds out, and in what order they come."""

import bisect
import itertools
import random
from collections.abc import Sequence
from typing import Any

import torch

from vlmrl.errors import UserError
from vlmrl.loading.hub import local_data
from vlmrl.media.pictures import MediaKey, split_key
from vlmrl.task import Task
from vlmrl.task_mix import TaskPart
from vlmrl.types import Sample

SYNTHETIC_ROWS = 100_000
"""Rows of a synthetic training set; they are drawn when they are asked for."""
HELD_OUT_SHARE = 0.2
"""At most this share of a file's pictures is held out."""


class Joined(Sequence[Sample]):
    """Several sequences of rows, one after the other."""

    def __init__(self, sources: Sequence[Sequence[Sample]]) -> None:
        self.sources = sources
        self.ends = list(itertools.accumulate(map(len, sources)))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < len(self):
            raise IndexError(i)
        source = bisect.bisect_right(self.ends, i)
        return self.sources[source][i - self.ends[source] + len(self.sources[source])]


class Subset(Sequence[Sample]):
    """Some rows of another sequence, in a given order."""

    def __init__(self, rows: Sequence[Sample], indices: Sequence[int]) -> None:
        self.rows, self.indices = rows, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: Any) -> Any:
        return self.rows[self.indices[i]]


def load_rows(task: Task, path: str, download: bool = False) -> Sequence[Sample]:
    """Rows of a file, a folder or a hub data set. Raises UserError if it does not exist or holds none.

    With `download` a hub data set that is not on this machine is fetched.
    """
    rows = task.load(local_data(path, download))
    if not len(rows):
        raise UserError(f"data {path} holds no rows")
    return rows


def held_out_rows(part: TaskPart) -> Sequence[Sample]:
    """All rows at data.held_out: those of the benchmark's split, or the task's own. Raises UserError if there are
    none."""
    path, benchmark = part.data.held_out, part.benchmark
    assert path is not None
    if benchmark is None:
        return load_rows(part.task, path, part.data.download)
    try:
        place = local_data(path, part.data.download)
    except UserError as error:
        raise UserError(f"{error}; benchmark {benchmark.name} reads {benchmark.files}") from error
    rows = benchmark.load(place)
    if part.split is not None:
        chosen = [i for i in range(len(rows)) if rows[i].tags.get("split") == part.split]
        if not chosen:
            known = ", ".join(benchmark.splits) or "none"
            raise UserError(f"eval.split={part.split}: no row of {path} is in it; {benchmark.name} has: {known}")
        rows = Subset(rows, chosen)
    if not len(rows):
        raise UserError(f"data {path} holds no rows")
    return rows


def split_rows(part: TaskPart, seed: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Training rows and held-out rows; the two never share a picture."""
    task, config = part.task, part.data
    wanted = config.held_out_rows
    if config.train is None:
        train = task.synthetic("train", SYNTHETIC_ROWS, seed)
        # the same held-out rows for every seed, so that runs can be compared
        held_out = task.synthetic("held_out", wanted, 0) if config.held_out is None and wanted else []
    else:
        rows = load_rows(task, config.train, config.download)
        if config.max_rows is not None:
            rows = Subset(rows, range(min(config.max_rows, len(rows))))
        train, held_out = rows, []
        if config.held_out is None and wanted:
            train, held_out = _hold_out_pictures(rows, wanted)
    if config.held_out is not None and wanted:
        rows = held_out_rows(part)
        chosen = sorted(random.Random(0).sample(range(len(rows)), min(wanted, len(rows))))
        held_out = Subset(rows, chosen)
    return train, held_out


def _hold_out_pictures(rows: Sequence[Sample], wanted: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
    by_picture: dict[MediaKey, list[int]] = {}
    for i, row in enumerate(rows):
        by_picture.setdefault(split_key(row.media[0]), []).append(i)
    pictures = list(by_picture)
    random.Random(0).shuffle(pictures)
    held: list[int] = []
    for picture in pictures[: int(len(pictures) * HELD_OUT_SHARE)]:
        if len(held) >= wanted:
            break
        held += by_picture[picture]
    if not held:
        raise UserError(
            f"the data has {len(pictures)} pictures, too few to hold some out; give --data more, name held-out rows "
            "with data.held_out=PATH, or switch evaluation off with data.held_out_rows=0"
        )
    kept = set(range(len(rows))) - set(held)
    return Subset(rows, sorted(kept)), Subset(rows, sorted(held)[:wanted])


class RowOrder:
    """An endless order over row indices: each epoch is one permutation made from the seed and the epoch's number."""

    def __init__(self, row_count: int, seed: int) -> None:
        self.row_count, self.seed = row_count, seed
        self.epoch, self.position = 0, 0
        self._order = self._permutation()

    def _permutation(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return torch.randperm(self.row_count, generator=generator).tolist()

    @property
    def taken(self) -> int:
        """How many indices have been given out."""
        return self.epoch * self.row_count + self.position

    def next(self, count: int) -> list[int]:
        """The next `count` row indices."""
        indices: list[int] = []
        while len(indices) < count:
            if self.position == self.row_count:
                self.epoch, self.position = self.epoch + 1, 0
                self._order = self._permutation()
            taken = self._order[self.position : self.position + count - len(indices)]
            indices += taken
            self.position += len(taken)
        return indices

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position, "row_count": self.row_count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues where a saved order stood. Raises UserError if the data has another number of rows now."""
        if state["row_count"] != self.row_count:
            raise UserError(
                f"the run was started on {state['row_count']} training rows and finds {self.row_count} now; "
                "resume with the data it was started on"
            )
        self.epoch, self.position = state["epoch"], state["position"]
        self._order = self._permutation()


class MixedOrder:
    """An endless order over the joined rows of several sources, which keeps to their ratios.

    The next index comes from the source that is furthest behind by the method of Sainte-Lague: the smallest
    (2 n + 1) / ratio, where n counts what it gave. So each stretch of the order is as close to the ratios as whole rows
    can be, without chance. Inside a source the order is `RowOrder`'s.
    """

    def __init__(self, row_counts: Sequence[int], ratios: Sequence[float], seed: int) -> None:
        self.ratios = ratios
        self.orders = [RowOrder(count, seed) for count in row_counts]
        self._starts = [0, *itertools.accumulate(row_counts)][:-1]

    def next(self, count: int) -> list[int]:
        """The next `count` indices into the joined rows."""
        return [self._next() for _ in range(count)]

    def _next(self) -> int:
        return self.next_of(min(range(self.sources), key=lambda i: (2 * self.orders[i].taken + 1) / self.ratios[i]))

    @property
    def sources(self) -> int:
        return len(self.orders)

    def next_of(self, source: int) -> int:
        """The next index of one source, whatever the ratios."""
        return self._starts[source] + self.orders[source].next(1)[0]

    def source_of(self, index: int) -> int:
        return bisect.bisect_right(self._starts, index) - 1

    def state_dict(self) -> dict[str, Any]:
        return {"sources": [order.state_dict() for order in self.orders]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where a saved order stood. Raises UserError if a source has another number of rows now."""
        for order, saved in zip(self.orders, state["sources"], strict=True):
            order.load_state_dict(saved)
