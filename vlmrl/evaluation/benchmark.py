"""What a task's benchmarks.py declares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlmrl.types import Sample


@dataclass(frozen=True)
class Benchmark:
    """A public benchmark: how to read it and which averages its papers print. The task's headline metric scores it."""

    name: str
    description: str
    """One line: what it measures and which scorer the metric follows."""
    files: str
    """What `--data` must point at."""
    load: Callable[[Path], Sequence[Sample]]
    """Rows of a file or folder. Raises UserError naming file, row and field."""
    cells: tuple[str, ...]
    """Tags whose combinations are the benchmark's cells; the macro average is the unweighted mean over them."""
