"""The referring expression benchmarks. The task's headline metric `acc` is their official score."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from vlmrl.evaluation.benchmark import Benchmark
from vlmrl.types import Sample

from .loaders import load_rows
from .refer import load_refer, refs_file
from .schemas import JXU124, LMMS_LAB, MIG_BENCH, OFA, VLM_R1

FILES = (
    "refs({}).p with instances.json (all evaluation splits at once), or the files of the splits to score in one of the "
    "other forms"
)


def _expressions(splits: Sequence[str]) -> Callable[[Path], Sequence[Sample]]:
    def load(path: Path) -> Sequence[Sample]:
        refs = refs_file(path)
        return load_rows(path, schemas=(OFA, VLM_R1, LMMS_LAB, JXU124)) if refs is None else load_refer(refs, splits)

    return load


BENCHMARKS = [
    Benchmark(
        name="refcoco",
        description="21,586 expressions of val, testA and testB; right at IoU >= 0.5",
        files=FILES.format("unc"),
        load=_expressions(("val", "testA", "testB")),
        cells=("split",),
    ),
    Benchmark(
        name="refcoco+",
        description="21,373 expressions without words of place, val, testA and testB; right at IoU >= 0.5",
        files=FILES.format("unc"),
        load=_expressions(("val", "testA", "testB")),
        cells=("split",),
    ),
    Benchmark(
        name="refcocog",
        description="14,498 long expressions of val and test; right at IoU >= 0.5",
        files=FILES.format("umd"),
        load=_expressions(("val", "test")),
        cells=("split",),
    ),
    Benchmark(
        name="lisa-grounding",
        description="VLM-R1's boxes for the ReasonSeg test pictures; right at IoU >= 0.5 (its own scorer: > 0.5)",
        files="lisa_test.json with its pictures",
        load=partial(load_rows, schemas=(VLM_R1,)),
        cells=("split",),
    ),
    Benchmark(
        name="mig-bench",
        description="4,295 questions about two to six pictures, ten tasks; right at IoU >= 0.5",
        files="MIG_data.json with its pictures",
        load=partial(load_rows, schemas=(MIG_BENCH,)),
        cells=("task",),
    ),
]
