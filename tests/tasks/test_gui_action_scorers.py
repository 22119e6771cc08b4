"""The published scorers on hand-made steps; expected figures follow from the rules in their code."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.evaluation.statistics import wilson_interval
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import metric_values
from vlmrl.types import Action, Finish, Group, Prompt, Rollout, Sample, Unparsed

FOLDER = find_task("gui_action")
SCORERS = FOLDER.submodule("scorers")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
PICTURE = ImageRecord(0, Size(1080, 2400))
FRAME = PICTURE.frame(Unit.ORIGINAL)
NONE = Unparsed("no answer")


def click(x: float, y: float, kind: str = "click") -> Action:
    return Action(kind, point=Point(x, y, FRAME))


def typed(text: str) -> Action:
    return Action("type", text=text)


def opened(text: str) -> Action:
    return Action("open_app", text=text)


def scroll(direction: str) -> Action:
    return Action("scroll", direction=direction)


def key(text: str) -> Action:
    return Action("press_key", text=text)


def step(gold: Action, answer: Action | Unparsed, *boxes: tuple[float, float, float, float]) -> object:
    return SCORERS.ScoredStep(gold, answer, PICTURE, tuple(Box(*box, FRAME) for box in boxes))


def row(one: Any, id_: str, **extra: Any) -> tuple[Sample, Action | Unparsed]:
    return Sample(id_, (), (PICTURE,), "", one.gold, extra={"candidates": one.candidates, **extra}), one.answer


def figures(scorer: str, steps: Sequence[object]) -> tuple[float | None, float | None, float | None]:
    """Type, grounding and step success; None where the scorer divides by zero."""
    found = SCORERS.step_figures(scorer, steps)
    type_, grounding, right = (found[name].value if name in found else None for name in ("type", "grounding", "step"))
    return type_, grounding, right


GOLD = click(540, 1200)
BOX = (500, 1150, 600, 1250)


@pytest.mark.parametrize(
    ("gold", "answer", "osatlas", "qwen", "odyssey"),
    [
        # 151 of 1080 across is 0.1398, 152 is 0.1407; 0.04 of 2400 is 96 pixels
        (GOLD, click(691, 1200), True, False, True),
        (GOLD, click(692, 1200), False, False, False),
        (GOLD, click(540, 1296), True, True, True),
        (GOLD, click(540, 1297), True, False, True),
        (GOLD, click(540, 1200, "long_press"), False, False, False),
        (click(540, 1200, "long_press"), click(540, 1200, "long_press"), True, True, True),
        (GOLD, NONE, False, False, False),
        (GOLD, scroll("up"), False, False, False),
    ],
)
def test_places_without_boxes(gold: Action, answer: Action, osatlas: bool, qwen: bool, odyssey: bool) -> None:
    one = step(gold, answer)
    assert (SCORERS.osatlas_step(one), SCORERS.qwen_step(one), SCORERS.odyssey_step(one)) == (osatlas, qwen, odyssey)


@pytest.mark.parametrize(
    # enlarged 1.2 times, the box 500..600 reaches from 490 to 610; the far box holds no recorded click
    ("x", "y", "qwen", "odyssey"),
    [(610, 1200, True, True), (500, 1260, True, True), (50, 50, True, True), (5, 5, False, False)],
)
def test_places_with_boxes(x: float, y: float, qwen: bool, odyssey: bool) -> None:
    one = step(GOLD, click(x, y), BOX, (20, 20, 60, 60))
    assert (SCORERS.qwen_step(one), SCORERS.odyssey_step(one)) == (qwen, odyssey)


def test_qwen_measures_in_the_resized_picture() -> None:
    # 1000 x 1000 seen as 500 x 1000: 30 across are 15 there, within 0.04 * 1000 = 40; 80 across are 40, still
    square = ImageRecord(0, Size(1000, 1000), Size(500, 1000))
    frame = square.frame(Unit.ORIGINAL)
    gold = Action("click", point=Point(500, 500, frame))
    for x, expected in ((580, True), (581, False)):
        answer = Action("click", point=Point(x, 500, frame))
        assert SCORERS.qwen_step(SCORERS.ScoredStep(gold, answer, square)) is expected


@pytest.mark.parametrize(
    ("gold", "answer", "osatlas", "qwen", "odyssey"),
    [
        (typed("red hat"), typed("red hat"), True, True, True),
        (typed("red hat"), typed("Red shoes"), True, False, False),  # one first word; 3 of 9 letters are kept
        (typed("red hat"), typed("red"), False, True, True),  # first words are "[red" and "[red]"
        (typed("red hat"), typed("a red hat"), False, True, True),
        (typed("red hat"), typed("e"), False, True, True),
        (typed("red hat"), typed("RED HAT"), True, True, False),
        (typed("red hat"), typed("rod hat"), False, False, True),  # 6 of 7 letters
        (opened("Clock"), opened("clock"), True, True, False),
        (opened("Clock"), opened("lock"), False, True, False),
    ],
)
def test_texts(gold: Action, answer: Action, osatlas: bool, qwen: bool, odyssey: bool) -> None:
    one = step(gold, answer)
    assert (SCORERS.osatlas_step(one), SCORERS.qwen_step(one), SCORERS.odyssey_step(one)) == (osatlas, qwen, odyssey)


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (scroll("down"), scroll("down"), True),
        (scroll("down"), scroll("up"), False),
        (key("back"), key("back"), True),
        (key("back"), key("home"), False),
        (Action("wait"), Action("wait"), True),
        (Action("wait"), key("back"), False),
    ],
)
def test_actions_without_place_or_free_text(gold: Action, answer: Action, right: bool) -> None:
    one = step(gold, answer)
    assert [SCORERS.osatlas_step(one), SCORERS.qwen_step(one), SCORERS.odyssey_step(one)] == [right] * 3


def test_qwen_lets_a_click_open_an_app() -> None:
    icon = step(opened("Clock"), click(540, 1200), BOX)
    miss, unknown = step(opened("Clock"), click(5, 5), BOX), step(opened("Clock"), click(540, 1200))
    assert [SCORERS.qwen_type(s) for s in (icon, miss, unknown)] == [True, True, False]
    assert [SCORERS.qwen_step(s) for s in (icon, miss, unknown)] == [True, False, False]
    # the click that opened it is among the grounding hits and not among the clicks: 2 hits over 1 click
    assert figures("ac_qwen", [icon, step(GOLD, GOLD)]) == (1.0, 2.0, 1.0)


STEPS = [
    step(GOLD, GOLD),
    step(GOLD, click(5, 5)),
    step(GOLD, scroll("up")),
    step(typed("red hat"), typed("red hat")),
    step(typed("red hat"), NONE),
    step(scroll("down"), scroll("up")),
    step(key("back"), key("back")),
    step(Action("wait"), key("back")),
]


def test_osatlas_figures() -> None:
    assert figures("ac_osatlas", STEPS) == (5 / 8, 1 / 2, 3 / 8)  # grounding: of the two clicks whose type was right


def test_qwen_figures() -> None:
    assert figures("ac_qwen", STEPS) == (5 / 8, 1 / 3, 3 / 8)


def test_pitfall_guir1_leaves_out_kinds_without_a_hit() -> None:
    # type: wait vanishes; step: the scroll does, and keys and waits never count
    assert figures("ac_guir1", STEPS) == (5 / 7, 1 / 3, (1 + 1) / (3 + 2))


def test_pitfall_guir1_never_looks_at_the_type_of_a_right_place_or_text() -> None:
    pressed = step(GOLD, click(540, 1200, "long_press"))
    said = step(typed("Clock"), opened("Clock"))
    assert figures("ac_guir1", [pressed, said]) == (None, 1.0, 1.0)


def test_pitfall_guir1_takes_no_place_for_the_corner() -> None:
    assert figures("ac_guir1", [step(click(30, 30), NONE)])[1] == 1.0
    assert figures("ac_guir1", [step(GOLD, NONE)])[1] is None


def test_pitfall_three_scorers_call_different_figures_by_one_name() -> None:
    """The same eight answers; every figure of the benchmark carries its scorer's name."""
    answered = [row(one, str(i)) for i, one in enumerate(STEPS)]
    found = {name: figure.value for name, figure in BENCHMARKS["androidcontrol-low"].figures(answered).items()}
    assert found == {
        "ac_osatlas_type": 5 / 8, "ac_osatlas_grounding": 1 / 2, "ac_osatlas": 3 / 8,
        "ac_guir1_type": 5 / 7, "ac_guir1_grounding": 1 / 3, "ac_guir1": 2 / 5,
        "ac_qwen_type": 5 / 8, "ac_qwen_grounding": 1 / 3, "ac_qwen": 3 / 8,
    }  # fmt: skip


def test_rates_have_wilsons_interval_and_others_a_bootstrapped_one() -> None:
    rate = SCORERS.step_figures("ac_osatlas", STEPS)["step"]
    assert (rate.low, rate.high, rate.n) == (*wilson_interval(3, 8), 8)
    ratio = SCORERS.step_figures("ac_guir1", STEPS * 20)["step"]
    assert 0.3 < ratio.low < ratio.value == 0.4 < ratio.high < 0.5  # deviation of a rate of 0.4 over 100: 0.05
    assert ratio.n == 100  # without the scrolls, none of which is a hit


def test_ten_thousand_steps_are_scored_in_seconds() -> None:
    answered = [row(one, str(i)) for i, one in enumerate(STEPS * 1250)]
    start = time.perf_counter()
    BENCHMARKS["androidcontrol-high"].figures(answered)
    assert time.perf_counter() - start < 8


def test_an_episode_is_a_success_if_all_its_steps_are_right() -> None:
    right, wrong = step(GOLD, GOLD), step(GOLD, NONE)
    episodes = {"a": ([right, right], 2), "b": ([right, wrong], 2), "c": ([right], 1), "d": ([right], 2)}
    rows = [
        row(one, f"{name}-{i}", episode=name, episode_steps=count)
        for name, (steps, count) in episodes.items()
        for i, one in enumerate(steps)
    ]
    success = BENCHMARKS["gui-odyssey"].figures(rows)["odyssey_sr"]
    assert (success.value, success.n) == (2 / 3, 3)  # "d" misses a step: officially such an episode is left out
    assert BENCHMARKS["gui-odyssey"].figures(rows[-1:]) == {}


def test_pitfall_an_empty_text_is_not_contained_in_every_text() -> None:
    """GUI-Odyssey's matcher counts it as right."""
    task, qwen3 = FOLDER.create({}), Convention(Unit.NORM1000, "json")
    space = FOLDER.submodule("spaces").GUI_ODYSSEY
    sample = Sample("a", (), (PICTURE,), "", typed("Milk"), extra={"actions": space, "target": None, "candidates": ()})
    for text in ("", " "):
        answer = task.parse(json.dumps({"action": "type", "text": text}), Finish.STOP, sample, qwen3)
        assert isinstance(answer, Unparsed)
        assert not SCORERS.odyssey_step(SCORERS.ScoredStep.of(sample, answer))


def test_pitfall_both_averages_are_on_the_card_under_their_own_names() -> None:
    """GUI-Odyssey's script calls the mean over steps macro and that over the six categories micro."""
    task, benchmark, evaluated = FOLDER.create({}), BENCHMARKS["gui-odyssey"], []
    for i, (category, right) in enumerate([("Tools", True), ("Tools", True), ("Tools", False), ("Shopping", False)]):
        sample, answer = row(step(GOLD, GOLD if right else NONE), str(i), episode=str(i), episode_steps=1)
        sample = replace(sample, tags={"category": category})
        rollout = Rollout([], [], 0.0, "", Finish.STOP, answer)
        group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
        evaluated.append(Evaluated(group, metric_values(task, sample, rollout)))
    card = score_card(task, evaluated, benchmark.cells, benchmark.metric, benchmark.figures)
    assert (card.metric, card.score, card.macro) == ("odyssey_ams", 1 / 2, pytest.approx((2 / 3 + 0) / 2))


def test_published_figures_have_a_source_and_the_name_of_a_figure() -> None:
    names = {
        "androidcontrol-low": BENCHMARKS["androidcontrol-low"].figures([row(one, "a") for one in STEPS]),
        "androidcontrol-high": BENCHMARKS["androidcontrol-high"].figures([row(one, "a") for one in STEPS]),
        "gui-odyssey": {},
    }
    for name, benchmark in BENCHMARKS.items():
        known = {*FOLDER.task_class.metrics(), *names[name]}
        assert benchmark.metric in known
        assert all(anchor.metric in known and anchor.source and 0 < anchor.score < 1 for anchor in benchmark.anchors)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("hat", "hats", 1.0),  # single words, one contains the other
        ("e", "shoes", 1.0),
        ("red hat", "hat", 2 / 3),
        ("red hat hat", "red hat", 1.0),  # sets
        ("[red] hat", "red hat", 1.0),
        ("red!", "red hat", 0.0),
        ("", "hat", 0.0),
        ("", "", 0.0),
    ],
)
def test_guir1_f1(first: str, second: str, expected: float) -> None:
    assert SCORERS.guir1_f1(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["ac_osatlas", "ac_guir1", "ac_qwen"])
def test_gold_earns_full_marks_and_no_steps_have_no_figure(name: str) -> None:
    golds = [GOLD, typed("a"), opened("b"), scroll("up"), key("home"), Action("wait")]
    assert figures(name, [step(gold, gold) for gold in golds]) == (1.0, 1.0, 1.0)
    assert figures(name, []) == (None, None, None)
