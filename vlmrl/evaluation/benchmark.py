"""What a task's benchmarks.py declares: how a public benchmark is read, which figure its papers print, and theirs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vlmrl.evaluation.statistics import Estimate
from vlmrl.task import ScoredRow
from vlmrl.types import Sample


@dataclass(frozen=True)
class Anchor:
    """A published figure, to be printed beside a user's own."""

    model: str
    """E.g. Qwen2.5-VL-7B."""
    score: float
    """In [0, 1]."""
    source: str
    """Paper and table, or the file of a repository, where the figure stands."""
    training: str = ""
    """What the model was trained with beyond its release; empty for a model as released."""
    metric: str = ""
    """Which metric it is; empty for the benchmark's own."""
    cell: str = ""
    """Which cell of the breakdown or which split it is about; empty for the whole benchmark."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """How it was measured, as far as the source says: max_pixels, mode, temperature, scorer, average, ..., named and
    written as on a score card where the card has them."""


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark. Its rows are asked, parsed and scored as those of the task whose folder declares it."""

    name: str
    description: str
    """One line: what it measures."""
    files: str
    """What `--data` must point at."""
    load: Callable[[Path], Sequence[Sample]]
    """Rows of a file or folder. Raises UserError naming file, row and field."""
    cells: tuple[str, ...]
    """Tags whose combinations are the benchmark's cells; the macro average is the unweighted mean over them."""
    scorer: str = ""
    """The official scorer that `metric` follows, with its revision where known, and what it leaves out of its
    denominators; empty if the metric is this project's own."""
    metric: str = ""
    """Name of the task's metric, corpus metric or figure (see `figures`) that papers print; empty for the headline."""
    average: Literal["micro", "macro"] = "micro"
    """Which average of it papers print: over rows, or over cells."""
    figures: Callable[[Sequence[ScoredRow]], Mapping[str, Estimate]] | None = None
    """The official scorer's figures over rows together, where they are no means over rows of the task's metrics."""
    splits: Mapping[str, int] = field(default_factory=dict)
    """Values that the tag `split` can have -> published number of rows; `--split` takes one of them."""
    rows: int | None = None
    """Published number of rows of all splits together."""
    anchors: tuple[Anchor, ...] = ()
