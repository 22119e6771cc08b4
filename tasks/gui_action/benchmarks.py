"""AndroidControl and GUI-Odyssey. Their papers' scorers are further metrics of the task, named after them."""

from functools import partial

from vlmrl.evaluation.benchmark import Benchmark

from .loaders import ANDROID_CONTROL_EPISODES, GUI_R1_TEST_STEPS, ODYSSEY_EPISODES, UI_R1_TEST_STEPS, load_rows
from .steps import Shown

ALL_EARLIER = 1000
"""Benchmarks name every earlier action; no episode is this long."""


BENCHMARKS = [
    Benchmark(
        name="androidcontrol-low",
        description="single steps of AndroidControl with the instruction of the step; ac_osatlas and ac_qwen beside it",
        files="the .jsonl of episodes with check_options, UI-R1's ac_test.json, or GUI-R1's androidcontrol_low_test "
        "parquet; screenshots in images/ beside it",
        load=partial(
            load_rows,
            shown_=Shown("low", ALL_EARLIER),
            schemas=(ANDROID_CONTROL_EPISODES, UI_R1_TEST_STEPS, GUI_R1_TEST_STEPS),
        ),
        cells=("action",),
    ),
    Benchmark(
        name="androidcontrol-high",
        description="single steps of AndroidControl with the goal of the episode; ac_osatlas and ac_qwen beside it",
        files="the .jsonl of episodes with check_options, or GUI-R1's androidcontrol_high_test parquet; screenshots in "
        "images/ beside it",
        load=partial(
            load_rows, shown_=Shown("high", ALL_EARLIER), schemas=(ANDROID_CONTROL_EPISODES, GUI_R1_TEST_STEPS)
        ),
        cells=("action",),
    ),
    Benchmark(
        name="gui-odyssey",
        description="single steps of GUI-Odyssey with the goal of the episode; odyssey_ams beside it",
        files="the folder of one JSON file per episode, with screenshots/ beside it",
        load=partial(load_rows, shown_=Shown("high", ALL_EARLIER), schemas=(ODYSSEY_EPISODES,)),
        cells=("category",),
    ),
]
