"""The referring expression benchmarks. The task's headline metric `acc` is their official score: IoU >= 0.5."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vlmrl.evaluation.benchmark import Anchor, Benchmark
from vlmrl.types import Sample

from .loaders import load_rows
from .reasonseg import load_reasonseg
from .refer import load_refer, refs_file
from .schemas import JXU124, LMMS_LAB, MIG_BENCH, OFA, VLM_R1

FILES = (
    "refs({}).p with instances.json (all evaluation splits at once), or the files of the splits to score in one of the "
    "other forms"
)
SCORER = "IoU of continuous coordinates >= 0.5, one box per sentence; InternVL, lmms-eval and VLMEvalKit compare so too"


def _expressions(splits: Sequence[str]) -> Callable[[Path], Sequence[Sample]]:
    def load(path: Path) -> Sequence[Sample]:
        refs = refs_file(path)
        return load_rows(path, schemas=(OFA, VLM_R1, LMMS_LAB, JXU124)) if refs is None else load_refer(refs, splits)

    return load


QWEN2, QWEN2_5 = "arXiv 2409.12191 (Qwen2-VL)", "arXiv 2502.13923 (Qwen2.5-VL), table 6"
INTERNVL2_5 = "InternVL2.5's report, table 11"
REFERRED: Mapping[str, tuple[str, Mapping[str, tuple[float, ...]]]] = {
    "Qwen2-VL-2B": (QWEN2, {"": (87.6, 90.6, 82.3), "+": (79.0, 84.9, 71.0), "g": (81.2, 80.3)}),
    "Qwen2-VL-7B": (QWEN2, {"": (91.7, 93.6, 87.3), "+": (85.8, 90.5, 79.5), "g": (87.3, 87.8)}),
    "Qwen2-VL-72B": (QWEN2, {"": (93.2, 95.3, 90.7), "+": (90.1, 93.8, 85.6), "g": (89.9, 90.4)}),
    "Qwen2.5-VL-3B": (QWEN2_5, {"": (89.1, 91.7, 84.0), "+": (82.4, 88.0, 74.1), "g": (85.2, 85.7)}),
    "Qwen2.5-VL-7B": (QWEN2_5, {"": (90.0, 92.5, 85.4), "+": (84.2, 89.1, 76.9), "g": (87.2, 87.2)}),
    "Qwen2.5-VL-72B": (QWEN2_5, {"": (92.7, 94.6, 89.7), "+": (88.9, 92.2, 83.7), "g": (89.9, 90.3)}),
    "InternVL2-2B": (QWEN2, {"": (82.3, 88.2, 75.9), "+": (73.5, 82.8, 63.3), "g": (77.6, 78.3)}),
    "InternVL2-8B": (QWEN2, {"": (87.1, 91.1, 80.7), "+": (79.8, 87.9, 71.4), "g": (82.7, 82.7)}),
    "InternVL2.5-8B": (INTERNVL2_5, {"": (90.3, 94.5, 85.9), "+": (85.2, 91.5, 78.8), "g": (86.7, 87.6)}),
    "InternVL2.5-78B": (INTERNVL2_5, {"": (93.7, 95.6, 92.5), "+": (90.4, 94.7, 86.9), "g": (92.7, 92.2)}),
}
"""Models as released -> source, and per cent on the splits of RefCOCO, RefCOCO+ and RefCOCOg."""
PERCEPTION_R1 = {"": (0.868, 0.891), "+": (0.771, 0.817), "g": (0.833, 0.857)}
"""Rates on the val splits of Qwen2-VL-2B and of Perception-R1, which is trained from it."""


def _anchors(part: str, splits: Sequence[str]) -> tuple[Anchor, ...]:
    released = tuple(
        Anchor(model, round(score / 100, 4), source, cell=split)
        for model, (source, scores) in REFERRED.items()
        for split, score in zip(splits, scores[part], strict=True)
    )
    source, (base, trained) = "arXiv 2504.07954 (Perception-R1)", PERCEPTION_R1[part]
    return (
        *released,
        Anchor("Qwen2-VL-2B", base, source, cell="val"),
        Anchor("Perception-R1-2B", trained, source, "reinforcement learning", cell="val"),
    )


THREE, TWO = ("val", "testA", "testB"), ("val", "test")
LISA_SETTINGS = {"scorer": "IoU > 0.5 on whole numbers, an overlap of one pixel counts as none"}

BENCHMARKS = [
    Benchmark(
        name="refcoco",
        description="the box of what a short expression refers to",
        files=FILES.format("unc"),
        load=_expressions(THREE),
        cells=("split",),
        scorer=SCORER,
        splits={"val": 10834, "testA": 5657, "testB": 5095},
        rows=21586,
        anchors=_anchors("", THREE),
    ),
    Benchmark(
        name="refcoco+",
        description="the box of what a short expression without words of place refers to",
        files=FILES.format("unc"),
        load=_expressions(THREE),
        cells=("split",),
        scorer=SCORER,
        splits={"val": 10758, "testA": 5726, "testB": 4889},
        rows=21373,
        anchors=_anchors("+", THREE),
    ),
    Benchmark(
        name="refcocog",
        description="the box of what a long expression refers to",
        files=FILES.format("umd"),
        load=_expressions(TWO),
        cells=("split",),
        scorer=SCORER,
        splits={"val": 4896, "test": 9602},
        rows=14498,
        anchors=_anchors("g", TWO),
    ),
    Benchmark(
        name="lisa-grounding",
        description="the box that a question implies; VLM-R1's boxes for the test pictures of ReasonSeg",
        files="lisa_test.json with its pictures",
        load=partial(load_rows, schemas=(VLM_R1,)),
        cells=("split",),
        scorer="IoU of continuous coordinates >= 0.5; VLM-R1's src/eval asks for more than 0.5",
        anchors=(
            Anchor("Qwen2.5-VL-3B", 0.5482, "arXiv 2504.07615", "supervised, by VLM-R1", settings=LISA_SETTINGS),
            Anchor("VLM-R1-3B", 0.6316, "arXiv 2504.07615", "reinforcement learning", settings=LISA_SETTINGS),
        ),
    ),
    Benchmark(
        name="reasonseg-boxes",
        description="the box around the outlines that a question implies",
        files="ReasonSeg's folders val/ and test/, or one of them",
        load=partial(load_reasonseg, splits=TWO),
        cells=("split", "text"),
        splits={"val": 200, "test": 779},
        rows=979,
    ),
    Benchmark(
        name="mig-bench",
        description="the box in one of two to six pictures; ten tasks",
        files="MIG_data.json with its pictures",
        load=partial(load_rows, schemas=(MIG_BENCH,)),
        cells=("task",),
        scorer="eval/ of thunlp/Migician, Acc@0.5; there a coordinate of exactly 1 is divided by 1000, here it is 1",
        average="macro",
        rows=4295,
    ),
]
