"""The chart-to-code benchmarks; the task's headline metric is ChartMimic's low-level score."""

from dataclasses import replace
from pathlib import Path

from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.types import Sample

from .drawing import Studio
from .loaders import load_rows

WORKERS = 2


def load_chartmimic(path: Path) -> list[Sample]:
    """ChartMimic's folders hold TYPE_NUMBER.py; the type becomes a tag."""
    rows = load_rows(path, Studio(WORKERS))
    return [replace(row, tags={"type": row.id.rpartition("_")[0] or row.id}) for row in rows]


def load_plot2code(path: Path) -> list[Sample]:
    return load_rows(path, Studio(WORKERS))


BENCHMARKS = [
    Benchmark(
        name="chartmimic",
        description="direct mimic of ChartMimic (v2: 600 or 1,800 charts); low-level score, facts read in the sandbox",
        files="the folder direct_600/ or direct_1800/ (v1: ori_500/) of TYPE_NUMBER.py with TYPE_NUMBER.png",
        load=load_chartmimic,
        cells=("type",),
    ),
    Benchmark(
        name="plot2code",
        description="Plot2Code's matplotlib charts; ChartMimic's low-level score instead of its own text match",
        files="the folder data/python_matplotlib/test/ with metadata.jsonl and the pictures",
        load=load_plot2code,
        cells=(),
    ),
]
