"""The ScreenSpot benchmarks and OSWorld-G. The task's headline metric `hit` is their official score."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from vlmrl.evaluation.benchmark import Anchor, Benchmark
from vlmrl.types import Sample

from . import osworld_g
from .loaders import load_rows
from .schemas import (
    OSWORLD_G,
    OSWORLD_G_PARQUET,
    SCREENSPOT,
    SCREENSPOT_PARQUET,
    SCREENSPOT_PRO,
    SCREENSPOT_PRO_PARQUET,
    SCREENSPOT_V2_SIZED,
    GuiSchema,
)

RL = "reinforcement learning"
UNSTATED: Mapping[str, str] = {}


def _published(
    source: str, scores: Mapping[str, float], training: str = "", settings: Mapping[str, str] = UNSTATED
) -> tuple[Anchor, ...]:
    """Anchors of one source, from per cents."""
    return tuple(
        Anchor(model, round(score / 100, 4), source, training, settings=settings) for model, score in scores.items()
    )


QWEN_README = "README of QwenLM/Qwen2.5-VL"
UI_TARS_README = "README_v1 of bytedance/UI-TARS"
TUNED = "tuned on GUI data"
UI_R1_README = "README of lll6gg/UI-R1"
GUI_ACTOR_README = "README of microsoft/GUI-Actor"
GTA1 = "arXiv 2507.05791 (GTA1)"
GROUNDNEXT = "README of ServiceNow/GroundCUA"
KV_GROUND = "README of KV-Ground, a third party's run"

SCREENSPOT_ANCHORS = (
    *_published(QWEN_README, {"Qwen2.5-VL-3B": 55.5, "Qwen2.5-VL-7B": 84.7, "Qwen2.5-VL-72B": 87.1}),
    *_published(UI_TARS_README, {"Qwen2-VL-7B": 55.3}),
    *_published(UI_R1_README, {"Qwen2-VL-7B": 42.6}),
    *_published(UI_TARS_README, {"UI-TARS-2B": 82.3, "UI-TARS-7B": 89.5, "UI-TARS-72B": 88.4}, TUNED),
    *_published(UI_TARS_README, {"SeeClick": 53.4}, TUNED, {"average": "macro"}),
    *_published(UI_R1_README, {"UI-R1-3B": 83.3, "UI-R1-E-3B": 89.2}, RL),
    *_published("arXiv 2504.14239", {"InfiGUI-R1-3B": 87.5}, RL),
    *_published("README of Yuqi-Zhou/GUI-G1", {"GUI-G1-3B": 90.3}, RL),
    *_published("README of YXB-NKU/SE-GUI", {"SE-GUI-7B": 88.2}, RL),
)
SCREENSPOT_V2_ANCHORS = (
    *_published(GUI_ACTOR_README, {"Qwen2.5-VL-3B": 80.9, "Qwen2.5-VL-7B": 88.8}),
    *_published(KV_GROUND, {"Qwen3-VL-4B-Instruct": 93.1}),
    *_published(UI_TARS_README, {"UI-TARS-2B": 84.7, "UI-TARS-7B": 91.6, "UI-TARS-72B": 90.3}, TUNED),
    *_published(GUI_ACTOR_README, {"GUI-Actor-3B": 91.0, "GUI-Actor-7B": 92.1}, TUNED),
    *_published(UI_R1_README, {"UI-R1-3B": 85.4, "UI-R1-E-3B": 89.5}, RL),
    *_published(UI_R1_README, {"GUI-R1-3B": 85.0}, RL),
    *_published("README of YXB-NKU/SE-GUI", {"SE-GUI-7B": 90.3}, RL),
    *_published("README of Yan98/GTA1", {"GTA1-7B-2507": 92.4}, RL),
    *_published(GTA1, {"GTA1-32B": 95.2}, RL),
    *_published("README of InfiXAI/InfiGUI-G1", {"InfiGUI-G1-3B": 91.1, "InfiGUI-G1-7B": 93.5}, RL),
    *_published("README of inclusionAI/UI-Venus", {"UI-Venus-1.5-8B": 95.9}, RL),
)
SCREENSPOT_PRO_ANCHORS = (
    *_published(QWEN_README, {"Qwen2.5-VL-3B": 23.9, "Qwen2.5-VL-7B": 29.0, "Qwen2.5-VL-72B": 43.6}),
    *_published(GUI_ACTOR_README, {"Qwen2.5-VL-3B": 25.9, "Qwen2.5-VL-7B": 27.6}),
    *_published(KV_GROUND, {"Qwen3-VL-4B-Instruct": 59.5, "Qwen3-VL-8B-Instruct": 54.6}),
    *_published(UI_TARS_README, {"UI-TARS-2B": 27.7, "UI-TARS-7B": 35.7, "UI-TARS-72B": 38.1}, TUNED),
    *_published(UI_R1_README, {"UI-R1-3B": 17.8, "UI-R1-E-3B": 33.5, "GUI-R1-3B": 26.6}, RL),
    *_published("arXiv 2504.14239", {"InfiGUI-R1-3B": 35.7}, RL),
    *_published("README of Yuqi-Zhou/GUI-G1", {"GUI-G1-3B": 37.1}, RL),
    *_published("README of YXB-NKU/SE-GUI", {"SE-GUI-3B": 35.9, "SE-GUI-7B": 47.2}, RL),
    *_published("README of Yan98/GTA1", {"GTA1-7B-2507": 50.1}, RL),
    *_published(GTA1, {"GTA1-32B": 63.6}, RL),
    *_published(GROUNDNEXT, {"Qwen2.5-VL-7B": 29.7}),
    *_published(GROUNDNEXT, {"GroundNext-3B": 49.8, "GroundNext-7B": 52.9}, RL),
    *_published(
        "arXiv 2508.05731",
        {"InfiGUI-G1-3B": 45.2, "InfiGUI-G1-7B": 51.9},
        RL,
        {"answer": "points", "max_pixels": "12845056"},
    ),
    *_published("README of inclusionAI/UI-Venus", {"UI-Venus-1.5-2B": 57.7, "UI-Venus-1.5-8B": 68.4}, RL),
)
OSWORLD_G_ANCHORS = (
    *_published(KV_GROUND, {"Qwen3-VL-4B-Instruct": 63.3, "Qwen3-VL-8B-Instruct": 58.2}),
    *_published("README of Yan98/GTA1", {"GTA1-7B-2507": 55.1}, RL),
    *_published(GROUNDNEXT, {"Qwen2.5-VL-7B": 42.7}),
    *_published(GROUNDNEXT, {"GroundNext-3B": 64.2, "GroundNext-7B": 67.7}, RL),
    *_published("evaluation notes of Gelato, a third party's run", {"GTA1-7B-2507": 56.0}, RL),
    *_published("README of inclusionAI/UI-Venus", {"UI-Venus-1.5-2B": 59.4, "UI-Venus-1.5-8B": 69.7}, RL),
)
OSWORLD_G_REFINED_ANCHORS = (
    *_published(KV_GROUND, {"Qwen3-VL-4B-Instruct": 71.1}),
    *_published("README of Yan98/GTA1", {"GTA1-7B-2507": 67.7}, RL),
    *_published(GTA1, {"GTA1-32B": 72.2}, RL),
    *_published("evaluation notes of Gelato, a third party's run", {"GTA1-7B-2507": 66.3}, RL),
)


def _osworld_g(name: str, *schemas: GuiSchema) -> Callable[[Path], Sequence[Sample]]:
    def load(path: Path) -> Sequence[Sample]:
        file = osworld_g.annotation_file(path, name)
        return osworld_g.with_categories(load_rows(file, schemas=schemas), file.parent if file.is_file() else file)

    return load


OSWORLD_G_SCORER = (
    "evaluation/eval.py of xlang-ai/OSWorld-G, through its ports: edges of a box count, polygons by ray casting, a "
    "refusal is right where both coordinates are negative; over all rows, refusals included"
)

BENCHMARKS = [
    Benchmark(
        name="screenspot",
        description="clicks on mobile, desktop and web screens",
        files="the folder of screenspot_{mobile,desktop,web}.json with screenspot_imgs/, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT, SCREENSPOT_PARQUET)),
        cells=("platform", "kind"),
        scorer="pretrain/screenspot_test.py of njucckevin/SeeClick @0ef37ac4, which prints the macro average",
        rows=1272,
        anchors=SCREENSPOT_ANCHORS,
    ),
    Benchmark(
        name="screenspot-v2",
        description="ScreenSpot with corrected instructions and boxes",
        files="the folder of screenspot_{mobile,desktop,web}_v2.json with screenspotv2_image/, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT, SCREENSPOT_V2_SIZED, SCREENSPOT_PARQUET)),
        cells=("platform", "kind"),
        scorer="pretrain/screenspot_test.py of njucckevin/SeeClick @0ef37ac4",
        rows=1272,
        anchors=SCREENSPOT_V2_ANCHORS,
    ),
    Benchmark(
        name="screenspot-pro",
        description="clicks on high-resolution screens of professional applications",
        files="the annotations/ folder with images/ beside it, or the parquet file",
        load=partial(load_rows, schemas=(SCREENSPOT_PRO, SCREENSPOT_PRO_PARQUET)),
        cells=("group", "kind"),
        scorer="eval_screenspot_pro.py of likaixin2000/ScreenSpot-Pro-GUI-Grounding @bd8bbbb4",
        rows=1581,
        anchors=SCREENSPOT_PRO_ANCHORS,
    ),
    Benchmark(
        name="osworld-g",
        description="clicks on desktop screens; some targets are polygons, some are not there",
        files="the folder benchmark/ with OSWorld-G.json and images/, or the parquet file",
        load=_osworld_g(osworld_g.ORIGINAL, OSWORLD_G, OSWORLD_G_PARQUET),
        cells=("target",),
        scorer=OSWORLD_G_SCORER,
        figures=osworld_g.figures,
        rows=564,
        anchors=OSWORLD_G_ANCHORS,
    ),
    Benchmark(
        name="osworld-g-refined",
        description="OSWorld-G asked without knowledge of the software",
        files="the folder benchmark/ with OSWorld-G_refined.json and images/",
        load=_osworld_g(osworld_g.REFINED, OSWORLD_G),
        cells=("target",),
        scorer=OSWORLD_G_SCORER,
        figures=osworld_g.figures,
        rows=564,
        anchors=OSWORLD_G_REFINED_ANCHORS,
    ),
]
