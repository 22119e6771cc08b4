"""COCO val2017 and ODinW. Their official score is COCO's AP (`ap` on a score card); F1 at an IoU is beside it."""

from vlmrl.evaluation.benchmark import Anchor, Benchmark

from .loaders import load_coco, load_odinw

RULE = "every score 1 unless confidences are asked for: pictures by their id, boxes in the order they were written"
VENDORS = "evaluation/ODinW-13 of QwenLM/Qwen3-VL @96588727"
QWEN2_5, QWEN3 = "arXiv 2502.13923 (Qwen2.5-VL)", "arXiv 2511.21631 (Qwen3-VL)"
PERCEPTION, RL = "arXiv 2504.07954 (Perception-R1)", "reinforcement learning"
PERCEPTION_SETTINGS = {
    "scorer": "pycocotools, every score 1, the last picture unanswered",
    "coordinates": "those of the resized picture, taken for the original's",
}

BENCHMARKS = [
    Benchmark(
        name="coco-val",
        description="all objects of 80 classes in photographs",
        files="annotations/instances_val2017.json with val2017/ beside annotations/",
        load=load_coco,
        cells=("objects",),
        scorer=f"pycocotools' COCOeval on the published annotations; {RULE}",
        metric="ap",
        rows=5000,
        anchors=(
            Anchor("Qwen2.5-VL-3B", 0.161, PERCEPTION, settings=PERCEPTION_SETTINGS),
            Anchor("Perception-R1-3B", 0.319, PERCEPTION, RL, settings=PERCEPTION_SETTINGS),
            Anchor("Perception-R1-3B", 0.467, PERCEPTION, RL, metric="ap50", settings=PERCEPTION_SETTINGS),
            Anchor("Perception-R1-3B", 0.334, PERCEPTION, RL, metric="ap75", settings=PERCEPTION_SETTINGS),
        ),
    ),
    Benchmark(
        name="odinw",
        description="13 sets, each with its own classes",
        files="the folder of the sets' folders (test/annotations_without_background.json), or the parquet file",
        load=load_odinw,
        cells=("set",),
        scorer=f"{VENDORS}: pycocotools' COCOeval set by set, ap over 100 boxes per class and ap50, ap75 over 1000, "
        f"unweighted mean of the sets; {RULE}",
        metric="ap",
        rows=4608,
        anchors=(
            Anchor("Qwen2.5-VL-3B", 0.375, QWEN2_5),
            Anchor("Qwen2.5-VL-7B", 0.373, QWEN2_5),
            Anchor("Qwen2.5-VL-72B", 0.431, QWEN2_5),
            Anchor("InternVL2.5-78B", 0.317, QWEN2_5),
            Anchor("Qwen3-VL-235B-A22B-Thinking", 0.432, QWEN3),
            Anchor("Qwen3-VL-235B-A22B-Instruct", 0.486, QWEN3),
        ),
    ),
]
