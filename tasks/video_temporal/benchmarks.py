"""Benchmarks of temporal grounding. The headline `correct` is R1@0.5, with IoU >= 0.5.

Rows whose window no answer can meet stay in and score 0, as in the official scores: TVGBench has 11 of 800 without
length. Windows are never cut to the clip.
"""

from functools import partial

from vlmrl.evaluation.benchmark import Anchor, Benchmark

from .loaders import Misfits, Reading, load_rows
from .qvhighlights import moment_retrieval
from .schemas import CAPTIONS, CHARADES, CHARADES_HUB, QVHIGHLIGHTS, TVGBENCH

AS_PUBLISHED = Reading(misfits=Misfits.KEPT)

QWEN2_5 = "README of QwenLM/Qwen2.5-VL and arXiv 2502.13923"
QWEN3 = "arXiv 2511.21631"
TIME_R1 = "README of xiaomi-research/time-r1"
STRICT = {"threshold": "IoU > t"}
ZERO_SHOT = "GRPO on Time-R1's 2,500 rows"


def _recalls(training: str, *scores: float) -> list[Anchor]:
    """R1@0.3, 0.5 and 0.7 of Time-R1-7B, which starts from Qwen2.5-VL-7B."""
    return [
        Anchor("Time-R1-7B", score, TIME_R1, training, metric, settings=STRICT)
        for metric, score in zip(("r1_at_03", "correct", "r1_at_07"), scores, strict=True)
    ]


BENCHMARKS = [
    Benchmark(
        name="charades-sta",
        description="sentences about indoor videos of half a minute; R1@0.3, 0.5, 0.7 and mIoU",
        files="charades_sta_test.txt, the test.json with durations, or the parquet of lmms-lab/charades_sta, with the "
        "videos in videos/ or Charades_v1*/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(CHARADES, CHARADES_HUB, CAPTIONS)),
        cells=(),
        scorer="R1@0.5, IoU >= 0.5, of every query, repeated ones too (TALL, VideoChat-R1)",
        metric="correct",
        rows=3720,
        anchors=(
            Anchor("Qwen2.5-VL-3B", 0.388, QWEN2_5, metric="miou"),
            Anchor("Qwen2.5-VL-7B", 0.436, QWEN2_5, metric="miou"),
            Anchor("Qwen2.5-VL-72B", 0.509, QWEN2_5, metric="miou"),
            Anchor("Qwen3-VL-235B-A22B thinking", 0.635, QWEN3, metric="miou"),
            Anchor("Qwen3-VL-235B-A22B instruct", 0.648, QWEN3, metric="miou"),
            *_recalls(ZERO_SHOT, 0.781, 0.608, 0.353),
            *_recalls(f"{ZERO_SHOT}, then fine-tuned on Charades-STA", 0.828, 0.722, 0.501),
        ),
    ),
    Benchmark(
        name="activitynet-captions",
        description="sentences about videos of two minutes; R1@0.3, 0.5, 0.7 and mIoU",
        files="val_2.json, which papers test on, with the videos in videos/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(CAPTIONS,)),
        cells=(),
        scorer="R1@0.5, IoU >= 0.5, of every query",
        metric="correct",
        rows=17031,
        anchors=(
            *_recalls(ZERO_SHOT, 0.586, 0.390, 0.214),
            *_recalls(f"{ZERO_SHOT}, then fine-tuned on ActivityNet Captions", 0.733, 0.556, 0.340),
        ),
    ),
    Benchmark(
        name="qvhighlights",
        description="queries with several windows each; mAP, and R1@0.5 and 0.7 of the first window named",
        files="highlight_val_release.jsonl with the clips in videos/ or clips/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(QVHIGHLIGHTS,)),
        cells=(),
        scorer="standalone_eval/eval.py of moment_detr: mAP over IoU 0.5 to 0.95, windows ranked in the order named",
        metric="map",
        figures=moment_retrieval,
        rows=1550,
    ),
    Benchmark(
        name="tvgbench",
        description="queries from five data sets of eleven kinds; R1@0.3, 0.5, 0.7 and mIoU",
        files="tvgbench.json with the videos in videos/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(TVGBENCH,)),
        cells=("type",),
        scorer="R1@0.5 of Time-R1's eval_all.py, but with IoU >= t where it has > t, and over all rows where it counts "
        "those of its result files",
        metric="correct",
        rows=800,
        anchors=tuple(_recalls(ZERO_SHOT, 0.418, 0.294, 0.164)),
    ),
]
