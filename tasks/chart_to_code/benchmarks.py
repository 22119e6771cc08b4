"""ChartMimic and Plot2Code. Their scripts and the answers run in the sandbox only.

No published figures of small vision-language models stand beside them: none was found that could be confirmed.
"""

from dataclasses import replace
from pathlib import Path

from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.types import Sample

from .drawing import Studio
from .loaders import load_rows

WORKERS = 2


def load_chartmimic(path: Path) -> list[Sample]:
    """ChartMimic's folders hold TYPE_NUMBER.py; the type becomes a tag."""
    rows = load_rows(path, Studio(WORKERS), keep_failing=True)
    return [replace(row, tags={"type": row.id.rpartition("_")[0] or row.id}) for row in rows]


def load_plot2code(path: Path) -> list[Sample]:
    return load_rows(path, Studio(WORKERS), keep_failing=True)


BENCHMARKS = [
    Benchmark(
        name="chartmimic",
        description="direct mimic of ChartMimic (v2: 600 or 1,800 charts): low-level score and execution rate "
        "(executes); the high-level score with task.options.judge",
        files="the folder direct_600/ or direct_1800/ (v1: ori_500/) of TYPE_NUMBER.py with TYPE_NUMBER.png",
        load=load_chartmimic,
        cells=("type",),
        scorer="low-level score of chart2code/utils/evaluator, all rows in the denominator; facts are read in the "
        "sandbox after a script that did not fail (differences in the task's README)",
        metric="low_level",
    ),
    Benchmark(
        name="plot2code",
        description="Plot2Code's matplotlib charts: text match and pass rate (executes)",
        files="the folder data/python_matplotlib/test/ with metadata.jsonl and the pictures",
        load=load_plot2code,
        cells=(),
        scorer="text_match_score.py: over the charts that are drawn, scripts that fail are left out",
        metric="text_match",
    ),
]
