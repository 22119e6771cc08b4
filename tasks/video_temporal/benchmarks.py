"""Benchmarks of temporal grounding. The headline `correct` is R1@0.5, with IoU >= 0.5.

Rows whose window no answer can meet stay in and score 0, as in the official scores: TVGBench has 11 of 800 without
length. Windows are never cut to the clip.
"""

from functools import partial

from vlmrl.evaluation.benchmark import Benchmark

from .loaders import Misfits, Reading, load_rows
from .schemas import CAPTIONS, CHARADES, QVHIGHLIGHTS, TVGBENCH

AS_PUBLISHED = Reading(misfits=Misfits.KEPT)

BENCHMARKS = [
    Benchmark(
        name="charades-sta",
        description="3,720 sentences about indoor videos of half a minute; R1@0.3, 0.5, 0.7 and mIoU",
        files="charades_sta_test.txt, or the test.json with durations, with the videos in videos/ or Charades_v1*/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(CHARADES, CAPTIONS)),
        cells=("kind",),
    ),
    Benchmark(
        name="activitynet-captions",
        description="17,031 sentences about videos of two minutes; R1@0.3, 0.5, 0.7 and mIoU",
        files="val_2.json, which papers test on, with the videos in videos/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(CAPTIONS,)),
        cells=("kind",),
    ),
    Benchmark(
        name="qvhighlights",
        description="1,550 queries with several windows each; R1 of standalone_eval/eval.py: the first window named",
        files="highlight_val_release.jsonl with the clips in videos/ or clips/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(QVHIGHLIGHTS,)),
        cells=("kind",),
    ),
    Benchmark(
        name="tvgbench",
        description="800 queries from five data sets; Time-R1's eval_all.py, but with IoU >= t where it has > t",
        files="tvgbench.json with the videos in videos/",
        load=partial(load_rows, reading=AS_PUBLISHED, schemas=(TVGBENCH,)),
        cells=("type",),
    ),
]
