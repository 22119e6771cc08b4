"""ChartQA and DocVQA, scored as their papers do; the published figures are those of the Qwen-VL reports."""

from functools import partial
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.evaluation.benchmark import Anchor, Benchmark
from vlmrl.types import Sample

from .loaders import load_rows
from .schemas import CHARTQA, CHARTQA_HUB, CHARTQA_JSON, DOCVQA

QWEN2 = "README of QwenLM/Qwen2-VL"
QWEN2_5 = "README of QwenLM/Qwen2.5-VL and arXiv 2502.13923"
QWEN3 = "arXiv 2511.21631"
RELEASED = {
    "Qwen2-VL-2B": (0.735, 0.901, QWEN2),
    "Qwen2-VL-7B": (0.830, 0.945, QWEN2),
    "Qwen2-VL-72B": (0.883, 0.965, QWEN2),
    "Qwen2.5-VL-3B": (0.840, 0.939, QWEN2_5),
    "Qwen2.5-VL-7B": (0.873, 0.957, QWEN2_5),
    "Qwen2.5-VL-72B": (0.895, 0.964, QWEN2_5),
    "Qwen3-VL-235B-A22B thinking": (0.903, 0.965, QWEN3),
    "Qwen3-VL-235B-A22B instruct": (0.903, 0.971, QWEN3),
}
"""Model -> ChartQA's average, DocVQA's test score, source."""


def load_chartqa(path: Path) -> list[Sample]:
    """ChartQA's rows, each of which is of one half. Raises UserError for a row of neither."""
    rows = load_rows(path, schemas=(CHARTQA, CHARTQA_HUB, CHARTQA_JSON))
    if unknown := next((row.id for row in rows if "split" not in row.tags), None):
        raise UserError(f"data {path}, row {unknown}: of no half; its file must end in _human or _augmented")
    return rows


BENCHMARKS = [
    Benchmark(
        name="chartqa",
        description="questions about charts, asked by people (human) or made from captions (augmented)",
        files="test_human.json and test_augmented.json beside png/, or the test parquet of lmms-lab/ChartQA or "
        "HuggingFaceM4/ChartQA",
        load=load_chartqa,
        cells=("split",),
        scorer="relaxed accuracy (pix2struct's relaxed_correctness, as in lmms-eval), every row in the denominator",
        metric="relaxed_accuracy",
        average="macro",
        splits={"human": 1250, "augmented": 1250},
        rows=2500,
        anchors=tuple(
            Anchor(model, score, source, settings={"average": "macro"})
            for model, (score, _, source) in RELEASED.items()
        ),
    ),
    Benchmark(
        name="docvqa",
        description="questions about pages of documents, answered with a part of their text",
        files="val_v1.0.json beside its pictures, or the validation parquet of lmms-lab/DocVQA",
        load=partial(load_rows, schemas=(DOCVQA,)),
        cells=(),
        scorer="ANLS with threshold 0.5 (lmms-eval), every row in the denominator",
        metric="anls",
        rows=5349,
        anchors=tuple(Anchor(model, score, source, cell="test") for model, (_, score, source) in RELEASED.items()),
    ),
]
