"""Rewards, metrics and attacks of GUI actions; loaders, scorers and drawn screens have files of their own."""

import random

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Action, Finish, Group, Prompt, PromptMode, Rollout, Sample

FOLDER = find_task("gui_action")
SPACES = FOLDER.submodule("spaces")
QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = {
    "qwen3": QWEN3,
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
    "internvl": Convention(Unit.NORM1000, "internvl_brackets"),
}
RECORD = ImageRecord(0, Size(1080, 2400), Size(644, 1484))
FRAME = RECORD.frame(Unit.ORIGINAL)
TARGET = Box(800, 100, 1000, 200, FRAME)
CLICK = Action("click", point=Point(900, 150, FRAME))
GOLDS = {
    "click": CLICK,
    "type": Action("type", text="Milk and eggs"),
    "open_app": Action("open_app", text="Notes"),
    "scroll": Action("scroll", direction="down"),
    "press_key": Action("press_key", text="back"),
    "wait": Action("wait"),
}
HIT = '{"action": "click", "point_2d": [833, 62]}'
MISS = '{"action": "click", "point_2d": [100, 900]}'
"""A right kind with a wrong place: kind and format only."""


def gui(**options: object) -> Task:
    return FOLDER.create(options)


def row(gold: Action = CLICK, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    target = TARGET if gold.point else None
    extra = {"actions": SPACES.ANDROID_CONTROL, "target": target, "candidates": (target,) if target else ()}
    return Sample("test-0", (), (RECORD,), "note the milk", gold, mode, extra=extra)


def scored(
    sample: Sample, text: str, convention: Convention = QWEN3, finish: Finish = Finish.STOP, **weights: float
) -> Rollout:
    task = gui()
    rollout = Rollout([], [], 0.0, text, finish, task.parse(text, finish, sample, convention))
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, weights))
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def success(sample: Sample, rollout: Rollout) -> float:
    return metric_values(gui(), sample, rollout)["step_success"]


def test_the_declared_weights() -> None:
    declared = {name: spec.weight for name, spec in gui().rewards().items()}
    assert declared == {"kind": 0.2, "argument": 0.8, "format": 0.1, "step": 0.0}
    assert gui().metrics() == ["step_success", "type_accuracy", "ac_osatlas", "ac_qwen", "odyssey_ams"]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", GOLDS)
@pytest.mark.parametrize("mode", list(PromptMode))
def test_the_gold_action_earns_full_marks(convention: str, name: str, mode: PromptMode) -> None:
    sample, family = row(GOLDS[name], mode), CONVENTIONS[convention]
    perfect = scored(sample, gui().render(sample, family), family)
    assert {part: score.value for part, score in perfect.scores.items()} == dict.fromkeys(perfect.scores, 1.0)
    assert perfect.reward == pytest.approx(1.1)
    assert set(metric_values(gui(), sample, perfect).values()) == {1.0}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", GOLDS)
def test_declared_attacks_do_not_pay(convention: str, name: str) -> None:
    sample, family = row(GOLDS[name]), CONVENTIONS[convention]
    for attack in gui().attacks(sample, family):
        outcome = scored(sample, attack.text, family)
        if not attack.guess:
            assert (outcome.reward, success(sample, outcome)) == (0.0, 0.0), attack


def mean_reward(name: str) -> float:
    """What an attack earns on average over the recorded kinds; 0 on rows that have no such attack."""
    total = 0.0
    for gold in GOLDS.values():
        texts = {attack.name: attack.text for attack in gui().attacks(row(gold), QWEN3)}
        total += scored(row(gold), texts.get(name, "")).reward
    return total / len(GOLDS)


def test_always_the_same_action_earns_less_than_gold() -> None:
    guesses = {attack.name for gold in GOLDS.values() for attack in gui().attacks(row(gold), QWEN3) if attack.guess}
    assert {"always click", "always scroll down", "always wait", "the right action with a wrong argument"} <= guesses
    for name in guesses:
        assert mean_reward(name) < 0.45


@pytest.mark.parametrize(
    ("gold", "wrong"),
    [
        ("click", MISS),
        ("type", '{"action": "type", "text": "something else"}'),
        ("scroll", '{"action": "scroll", "direction": "up"}'),
        ("press_key", '{"action": "press_key", "text": "home"}'),
        ("open_app", '{"action": "open_app", "text": "Clock"}'),
    ],
)
def test_the_right_kind_with_a_wrong_argument_earns_kind_and_format_only(gold: str, wrong: str) -> None:
    sample = row(GOLDS[gold])
    rollout = scored(sample, wrong)
    assert rollout.scores["kind"].value == 1.0
    assert rollout.reward == pytest.approx(0.3, abs=0.2)  # texts agree a little
    assert rollout.reward < 0.5
    assert success(sample, rollout) == 0.0


def honest_wrong(gold: Action) -> float:
    """What an honest wrong answer of the right kind earns."""
    return scored(row(gold), MISS if gold.kind == "click" else '{"action": "type", "text": "bread"}').reward


@pytest.mark.parametrize(
    ("hack", "gold", "text"),
    [
        ("every action at once", "type", '[{"action": "type", "text": "Milk and eggs"}, {"action": "wait"}]'),
        ("gold twice", "click", f"[{HIT}, {HIT}]"),
        ("a grid of places", "click", '{"action": "click", "point_2d": [[833, 62], [100, 100]]}'),
        ("the centre", "click", '{"action": "click", "point_2d": [500, 500]}'),
        ("an unparsed place taken for (0, 0)", "click", '{"action": "click"}'),
        ("the corner", "click", '{"action": "click", "point_2d": [0, 0]}'),
        ("an empty text, contained in every text", "type", '{"action": "type", "text": ""}'),
        ("one letter of the text", "type", '{"action": "type", "text": "M"}'),
        ("the alphabet", "type", '{"action": "type", "text": "a b c d e f g h i j k l m n o p q r s t u v w x y z"}'),
        ("a text that contains the right one", "type", '{"action": "type", "text": "%s Milk and eggs"}' % ("x " * 400)),
        ("the type without its argument", "type", '{"action": "type"}'),
        ("GUI-R1's filler", "type", "[{'action': 'type', 'point': [-100, -100], 'input_text': 'no input text'}]"),
        ("format without an answer", "click", '{"action": "none"}'),
        ("a place in pixels of another frame", "click", '{"action": "click", "point_2d": [900, 150]}'),
        ("code", "click", "__import__('os').system('true')"),
        ("another kind at the right place", "click", '{"action": "long_press", "point_2d": [833, 62]}'),
    ],
)  # fmt: skip
def test_published_hacks_earn_no_more_than_an_honest_wrong_answer(hack: str, gold: str, text: str) -> None:
    sample = row(GOLDS[gold])
    attack = scored(sample, text)
    assert attack.reward <= honest_wrong(GOLDS[gold]) + 0.02, hack
    assert success(sample, attack) == 0.0


def test_an_action_in_the_thoughts_is_none() -> None:
    sample = row(mode=PromptMode.THINK)
    right = gui().render(row(), QWEN3)
    assert scored(sample, f"<think><answer>{right}</answer></think>").reward == 0.0
    hidden = scored(sample, f"<think>{right}</think><answer>{MISS}</answer>")
    assert hidden.reward == scored(row(), MISS).reward
    assert success(sample, hidden) == 0.0


def test_a_truncated_action_is_none() -> None:
    assert scored(row(), gui().render(row(), QWEN3), finish=Finish.LENGTH).reward == 0.0


def test_identical_answers_get_identical_scores() -> None:
    first, second = (scored(row(GOLDS["type"]), '{"action": "type", "text": "Milk"}') for _ in range(2))
    assert first.scores == second.scores
    assert 0.3 < first.reward < 1.1


@pytest.mark.parametrize(
    # UI-S1: 0.1 unparsed kind, 0.5 right kind, 1 right argument, on a scale of 0.9; InfiGUI-R1: 0.1 + 0.9 (0.2, 0.8)
    ("weights", "miss", "hit"),
    [
        ({"kind": 0.36, "argument": 0.0, "format": 0.19, "step": 0.45}, 0.55, 1.0),
        ({"kind": 0.18, "argument": 0.0, "format": 0.1, "step": 0.72}, 0.28, 1.0),
        ({"kind": 1.0, "argument": 1.0, "format": 1.0, "step": 0.0}, 2.0, 3.0),
        ({"kind": 0.0, "argument": 0.0, "format": 0.2, "step": 0.8}, 0.2, 1.0),
    ],
    ids=["UI-S1", "InfiGUI-R1", "UI-R1", "GUI-R1"],
)
def test_published_combinations_are_weights(weights: dict[str, float], miss: float, hit: float) -> None:
    assert scored(row(), MISS, **weights).reward == pytest.approx(miss)
    assert scored(row(), gui().render(row(), QWEN3), **weights).reward == pytest.approx(hit)


def test_scattered_answers_are_near_gold() -> None:
    task, sample = gui(), row()
    points = [task.scattered(sample, random.Random(seed)).point for seed in range(2000)]  # type: ignore[attr-defined]
    hits = sum(TARGET.contains(point) for point in points)
    assert 0.2 < hits / len(points) < 0.3  # uniform in a box of four times the area
    assert all(abs(point.x - 900) <= 200 and abs(point.y - 150) <= 100 for point in points)
    corner = row(Action("click", point=Point(1080, 0, FRAME)))
    assert all(task.scattered(corner, random.Random(s)).point.in_image for s in range(50))  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["scroll", "press_key", "type"])
def test_scattered_actions_without_a_place_are_sometimes_others(name: str) -> None:
    task, sample = gui(), row(GOLDS[name])
    drawn = [task.scattered(sample, random.Random(seed)) for seed in range(2000)]  # type: ignore[attr-defined]
    assert 0.2 < sum(answer != GOLDS[name] for answer in drawn) / len(drawn) < 0.3
    assert all(SPACES.ANDROID_CONTROL.fault(answer) is None for answer in drawn)


def test_benchmarks_declare_their_cells() -> None:
    benchmarks = {b.name: b.cells for b in FOLDER.submodule("benchmarks").BENCHMARKS}
    assert benchmarks == {
        "androidcontrol-low": ("action",),
        "androidcontrol-high": ("action",),
        "gui-odyssey": ("category",),
    }
