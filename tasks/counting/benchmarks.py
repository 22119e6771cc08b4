"""Benchmarks of counting. The task's headline metric `correct` is their official score: the very number."""

from functools import partial

from vlmrl.evaluation.benchmark import Anchor, Benchmark

from .loaders import load_rows
from .schemas import COUNTBENCH, PERCEPTION_R1, PIXMO

QWEN2_5, QWEN3 = "arXiv 2502.13923 (Qwen2.5-VL)", "arXiv 2511.21631 (Qwen3-VL)"
PERCEPTION = "arXiv 2504.07954 (Perception-R1)"
BY_BOXES = {"answer": "a box for each object, which are then counted"}

BENCHMARKS = [
    Benchmark(
        name="countbench",
        description="how many of the named objects a web picture shows, two to ten",
        files="the parquet file of vikhyatk/CountBenchQA",
        load=partial(load_rows, schemas=(COUNTBENCH,)),
        cells=("count",),
        scorer="equal numbers; the caption, which says the number, is not shown (lmms-eval shows it)",
        rows=491,
        anchors=(
            Anchor("Qwen2.5-VL-72B", 0.936, QWEN2_5),
            Anchor("Molmo-72B", 0.912, QWEN2_5),
            Anchor("GPT-4o", 0.879, QWEN2_5),
            Anchor("Qwen3-VL-235B-A22B-Thinking", 0.937, QWEN3),
            Anchor("Qwen3-VL-235B-A22B-Instruct", 0.930, QWEN3),
        ),
    ),
    Benchmark(
        name="pixmo-count",
        description="how many of the named objects a photograph shows",
        files="pixmo_count_val540.jsonl or pixmo_count_test540.jsonl with its pictures, or the parquet file",
        load=partial(load_rows, schemas=(PIXMO, PERCEPTION_R1)),
        cells=("count",),
        scorer="equal numbers; eval of linkangheng/PR1 @48d5558e counts boxes in place of asking for the number",
        splits={"val": 540, "test": 540},
        anchors=(
            Anchor("Qwen2-VL-2B", 0.602, PERCEPTION, cell="val", settings=BY_BOXES),
            Anchor("Qwen2-VL-2B", 0.505, PERCEPTION, cell="test", settings=BY_BOXES),
            Anchor("Perception-R1-2B", 0.781, PERCEPTION, "reinforcement learning", cell="val", settings=BY_BOXES),
            Anchor("Perception-R1-2B", 0.756, PERCEPTION, "reinforcement learning", cell="test", settings=BY_BOXES),
        ),
    ),
]
