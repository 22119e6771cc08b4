"""AndroidControl and GUI-Odyssey. Their papers' scorers are further metrics and figures, named after them.

Published figures stand beside the scorer that they were made with; where the source names none, `scorer` says so.
"""

from collections import defaultdict
from collections.abc import Sequence
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
NOT_STATED = {"scorer": "not stated"}
TUNED = "fine-tuned on AndroidControl"


def _qwen(low: bool) -> list[Anchor]:
    scores = {"3B": (0.908, 0.637), "7B": (0.914, 0.601), "72B": (0.937, 0.674)}
    return [Anchor(f"Qwen2.5-VL-{size}", found[not low], QWEN, metric="ac_qwen") for size, found in scores.items()]


def _three(model: str, scorer: str, source: str, training: str, figures: Sequence[float | None]) -> list[Anchor]:
    """Type, grounding and step success of one model by one scorer."""
    names = (f"{scorer}_type", f"{scorer}_grounding", scorer)
    return [
        Anchor(model, score, source, training, metric)
        for metric, score in zip(names, figures, strict=True)
        if score is not None
    ]


LOW_ANCHORS = (
    *_qwen(low=True),
    *_three("OS-Atlas-7B", "ac_osatlas", UI_TARS, TUNED, (0.936, 0.880, 0.852)),
    *_three("GUI-R1-3B", "ac_guir1", REPRODUCTION, "GRPO on GUI-R1-3K", (0.969, 0.899, 0.873)),
    *_three("GUI-R1-7B", "ac_guir1", REPRODUCTION, "GRPO on GUI-R1-3K", (0.975, 0.917, 0.897)),
    Anchor("SeeClick", 0.750, UI_TARS, TUNED, "step_success", settings=NOT_STATED),
    Anchor("Qwen2-VL-7B", 0.826, UI_TARS, TUNED, "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-2B", 0.893, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-7B", 0.908, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-72B", 0.913, UI_TARS, "", "step_success", settings=NOT_STATED),
)
HIGH_ANCHORS = (
    *_qwen(low=False),
    *_three("OS-Atlas-7B", "ac_osatlas", UI_TARS, TUNED, (0.852, 0.785, 0.712)),
    *_three("GUI-R1-3B", "ac_guir1", HICON, "GRPO on GUI-R1-3K", (None, 0.5624, 0.4655)),
    *_three("GUI-R1-7B", "ac_guir1", HICON, "GRPO on GUI-R1-3K", (None, 0.6556, 0.5167)),
    Anchor("SeeClick", 0.591, UI_TARS, TUNED, "step_success", settings=NOT_STATED),
    Anchor("Qwen2-VL-7B", 0.697, UI_TARS, TUNED, "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-2B", 0.689, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-7B", 0.725, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-72B", 0.747, UI_TARS, "", "step_success", settings=NOT_STATED),
)
ODYSSEY_ANCHORS = (
    Anchor("SeeClick", 0.539, UI_TARS, "fine-tuned on GUI-Odyssey", "step_success", settings=NOT_STATED),
    Anchor("Qwen2-VL-7B", 0.602, UI_TARS, "fine-tuned on GUI-Odyssey", "step_success", settings=NOT_STATED),
    Anchor("OS-Atlas-7B", 0.620, UI_TARS, "fine-tuned on GUI-Odyssey", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-2B", 0.834, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-7B", 0.870, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("UI-TARS-72B", 0.886, UI_TARS, "", "step_success", settings=NOT_STATED),
    Anchor("GUI-R1-3B", 0.4133, HICON, "GRPO on GUI-R1-3K", "step_success", settings={"scorer": "GUI-R1's"}),
    Anchor("GUI-R1-7B", 0.3879, HICON, "GRPO on GUI-R1-3K", "step_success", settings={"scorer": "GUI-R1's"}),
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
