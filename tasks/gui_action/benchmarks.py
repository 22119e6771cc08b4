"""AndroidControl and GUI-Odyssey. Their papers' scorers are further metrics and figures, named after them.

Published figures stand beside the scorer that they were made with; where the source names none, `scorer` says so.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial

from vlmrl.evaluation.benchmark import Anchor, Benchmark
from vlmrl.evaluation.statistics import Estimate, mean_estimate
from vlmrl.task import ScoredRow

from .loaders import ANDROID_CONTROL_EPISODES, GUI_R1_TEST_STEPS, UI_R1_TEST_STEPS, load_odyssey, load_rows
from .scorers import ANDROID_CONTROL_SCORERS, ScoredStep, odyssey_step, step_figures
from .steps import Shown

ALL_EARLIER = 1000
"""Benchmarks name every earlier action; no episode is this long."""

QWEN = "README of QwenLM/Qwen2.5-VL"
UI_TARS = "README_v1 of bytedance/UI-TARS"
HICON = "table of HiconAgent's paper, quoting GUI-R1"
REPRODUCTION = "published values as a public reproduction log quotes them"
TUNED = "fine-tuned on the training split"
GRPO = "GRPO on GUI-R1-3K"


def _published(
    metric: str, source: str, training: str, per_cent: Mapping[str, float], scorer: str = ""
) -> tuple[Anchor, ...]:
    """Figures of one source; `scorer` where the metric's name does not say it."""
    settings = {"scorer": scorer} if scorer else {}
    return tuple(
        Anchor(model, round(score / 100, 4), source, training, metric, settings=settings)
        for model, score in per_cent.items()
    )


def _ui_tars(tuned: Mapping[str, float], released: Mapping[str, float]) -> tuple[Anchor, ...]:
    """Step success in UI-TARS' table."""
    return (
        *_published("step_success", UI_TARS, TUNED, tuned, "not stated"),
        *_published("step_success", UI_TARS, "", released, "not stated"),
    )


LOW_ANCHORS = (
    *_published("ac_qwen", QWEN, "", {"Qwen2.5-VL-3B": 90.8, "Qwen2.5-VL-7B": 91.4, "Qwen2.5-VL-72B": 93.7}),
    *_published("ac_osatlas_type", UI_TARS, TUNED, {"OS-Atlas-7B": 93.6}),
    *_published("ac_osatlas_grounding", UI_TARS, TUNED, {"OS-Atlas-7B": 88.0}),
    *_published("ac_osatlas", UI_TARS, TUNED, {"OS-Atlas-7B": 85.2}),
    *_published("ac_guir1_type", REPRODUCTION, GRPO, {"GUI-R1-3B": 96.9, "GUI-R1-7B": 97.5}),
    *_published("ac_guir1_grounding", REPRODUCTION, GRPO, {"GUI-R1-3B": 89.9, "GUI-R1-7B": 91.7}),
    *_published("ac_guir1", REPRODUCTION, GRPO, {"GUI-R1-3B": 87.3, "GUI-R1-7B": 89.7}),
    *_ui_tars({"SeeClick": 75.0, "Qwen2-VL-7B": 82.6}, {"UI-TARS-2B": 89.3, "UI-TARS-7B": 90.8, "UI-TARS-72B": 91.3}),
)
HIGH_ANCHORS = (
    *_published("ac_qwen", QWEN, "", {"Qwen2.5-VL-3B": 63.7, "Qwen2.5-VL-7B": 60.1, "Qwen2.5-VL-72B": 67.4}),
    *_published("ac_osatlas_type", UI_TARS, TUNED, {"OS-Atlas-7B": 85.2}),
    *_published("ac_osatlas_grounding", UI_TARS, TUNED, {"OS-Atlas-7B": 78.5}),
    *_published("ac_osatlas", UI_TARS, TUNED, {"OS-Atlas-7B": 71.2}),
    *_published("ac_guir1_grounding", HICON, GRPO, {"GUI-R1-3B": 56.24, "GUI-R1-7B": 65.56}),
    *_published("ac_guir1", HICON, GRPO, {"GUI-R1-3B": 46.55, "GUI-R1-7B": 51.67}),
    *_ui_tars({"SeeClick": 59.1, "Qwen2-VL-7B": 69.7}, {"UI-TARS-2B": 68.9, "UI-TARS-7B": 72.5, "UI-TARS-72B": 74.7}),
)
ODYSSEY_ANCHORS = (
    *_ui_tars(
        {"SeeClick": 53.9, "Qwen2-VL-7B": 60.2, "OS-Atlas-7B": 62.0},
        {"UI-TARS-2B": 83.4, "UI-TARS-7B": 87.0, "UI-TARS-72B": 88.6},
    ),
    *_published("step_success", HICON, GRPO, {"GUI-R1-3B": 41.33, "GUI-R1-7B": 38.79}, "GUI-R1's"),
)


def android_control_figures(rows: Sequence[ScoredRow]) -> dict[str, Estimate]:
    """Type, grounding and step success by each of the three published scorers; `ac_NAME` alone is step success."""
    steps = [ScoredStep.of(sample, answer) for sample, answer in rows]
    return {
        scorer if figure == "step" else f"{scorer}_{figure}": estimate
        for scorer in ANDROID_CONTROL_SCORERS
        for figure, estimate in step_figures(scorer, steps).items()
    }


def odyssey_figures(rows: Sequence[ScoredRow]) -> dict[str, Estimate]:
    """Share of the episodes whose steps are all right. As officially, an episode that is not complete is left out."""
    episodes: dict[str, list[ScoredRow]] = defaultdict(list)
    for sample, answer in rows:
        episodes[sample.extra["episode"]].append((sample, answer))
    successes = [
        float(all(odyssey_step(ScoredStep.of(sample, answer)) for sample, answer in steps))
        for steps in episodes.values()
        if len(steps) == steps[0][0].extra["episode_steps"]
    ]
    return {"odyssey_sr": mean_estimate(successes)} if successes else {}


ANDROID_CONTROL_SCORER = (
    "OS-Atlas' evaluation_unify.py; beside it GUI-R1's eval_omni.py (ac_guir1, which leaves waits, key presses and "
    "kinds without a hit out) and that of Qwen2.5-VL and InfiGUI-R1 (ac_qwen); figures of two scorers do not compare"
)

BENCHMARKS = [
    Benchmark(
        name="androidcontrol-low",
        description="single steps of AndroidControl with the instruction of the step",
        files="the .jsonl of episodes with check_options, UI-R1's ac_test.json, or GUI-R1's androidcontrol_low_test "
        "parquet; screenshots in images/ beside it",
        load=partial(
            load_rows,
            shown_=Shown("low", ALL_EARLIER),
            schemas=(ANDROID_CONTROL_EPISODES, UI_R1_TEST_STEPS, GUI_R1_TEST_STEPS),
        ),
        cells=("action",),
        scorer=ANDROID_CONTROL_SCORER,
        metric="ac_osatlas",
        figures=android_control_figures,
        anchors=LOW_ANCHORS,
    ),
    Benchmark(
        name="androidcontrol-high",
        description="single steps of AndroidControl with the goal of the episode",
        files="the .jsonl of episodes with check_options, or GUI-R1's androidcontrol_high_test parquet; screenshots in "
        "images/ beside it",
        load=partial(
            load_rows, shown_=Shown("high", ALL_EARLIER), schemas=(ANDROID_CONTROL_EPISODES, GUI_R1_TEST_STEPS)
        ),
        cells=("action",),
        scorer=ANDROID_CONTROL_SCORER,
        metric="ac_osatlas",
        figures=android_control_figures,
        anchors=HIGH_ANCHORS,
    ),
    Benchmark(
        name="gui-odyssey",
        description="single steps of GUI-Odyssey with the goal of the episode",
        files="a split's file in splits/ beside annotations/, or the folder of one JSON file per episode; with "
        "screenshots/ beside annotations/",
        load=partial(load_odyssey, shown_=Shown("high", ALL_EARLIER)),
        cells=("category",),
        scorer="GUIOdyssey_action_matching.py (AMS; the official average of the random split is over the categories, "
        "of the others over rows); an empty text, which is right there, is unparsed here",
        metric="odyssey_ams",
        figures=odyssey_figures,
        anchors=ODYSSEY_ANCHORS,
    ),
]
