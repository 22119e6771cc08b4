"""Rewards, metric and drawn rows of GUI grounding; its loaders are tested in test_gui_grounding_loaders.py."""

import json
from dataclasses import replace

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Finish, Group, Prompt, PromptMode, Rollout, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = {
    "qwen3": QWEN3,
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
}
RECORD = ImageRecord(0, Size(1920, 1080), Size(1932, 1092))
GOLD = Box(1500, 100, 1700, 160, RECORD.frame(Unit.ORIGINAL))
WATCHED = (
    "closeness",
    "point_strictly_in_box",
    "inside_and_close",
    "gaussian_point",
    "gaussian_coverage",
    "exploration",
)
HONEST_WRONG = '{"point_2d": [100, 900]}'


def gui(**options: str) -> Task:
    return find_task("gui_grounding").create(options)


def row(gold: Box = GOLD, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    return Sample("test-0", (), (RECORD,), "open the settings", gold, mode)


def scored(
    task: Task,
    sample: Sample,
    text: str,
    convention: Convention = QWEN3,
    finish: Finish = Finish.STOP,
    **weights: float,
) -> Rollout:
    rollout = Rollout(
        token_ids_T=[],
        logprobs_T=[],
        entropy=0.0,
        text=text,
        finish=finish,
        answer=task.parse(text, finish, sample, convention),
    )
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, weights))
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def hit(task: Task, sample: Sample, rollout: Rollout) -> float:
    return metric_values(task, sample, rollout)["hit"]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("answer", ["point", "box"])
@pytest.mark.parametrize("mode", ["direct", "think"])
def test_the_gold_answer_earns_full_marks(convention: str, answer: str, mode: str) -> None:
    task, sample = gui(answer=answer, mode=mode), row(mode=PromptMode(mode))
    family = CONVENTIONS[convention]
    perfect = scored(task, sample, task.render(sample, family), family)
    assert perfect.reward == pytest.approx(1.1 if answer == "point" else 1.475, abs=0.01)
    assert hit(task, sample, perfect) == 1.0
    assert perfect.scores["closeness"].value == pytest.approx(1, abs=1e-4)
    assert perfect.scores["point_strictly_in_box"].value == 1
    assert perfect.scores["inside_and_close"].value == pytest.approx(2, abs=1e-4)
    assert perfect.scores["gaussian_point"].value == pytest.approx(1, abs=0.01)
    for extent in ("iou", "box_size", "gaussian_coverage"):
        if answer == "box":
            assert perfect.scores[extent].value == pytest.approx(1, abs=0.05)  # rounded to the family's numbers
        else:
            assert perfect.scores[extent].value is None
            assert "answer=box" in (perfect.scores[extent].unscorable or "")


def test_the_declared_weights() -> None:
    declared = {name: spec.weight for name, spec in gui().rewards().items()}
    counted = {"point_in_box": 1.0, "format": 0.1, "iou": 0.25, "box_size": 0.125}
    assert declared == counted | dict.fromkeys(WATCHED, 0.0)
    assert gui().metrics() == ["hit"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot see it.",
        "{}",
        '{"point_2d": [NaN, NaN]}',
        '{"point_2d": [1e309, 100]}',
        '{"point_2d": [-5, 100]}',
        '{"bbox_2d": [0, 0, 1000, 1000]}',
        '{"bbox_2d": [781, 92, 886, 149]}',  # right, but not what was asked for
        json.dumps([{"point_2d": [x, y]} for x in range(0, 1001, 50) for y in range(0, 1001, 50)]),
        '{"point_2d": [833, 120]}{"point_2d": [100, 900]}',
        '<think>{"point_2d": [833, 120]}</think>',
        '<think></think><answer>{"point_2d": [833, 120]}</answer>',
        "point_2d" * 1000,
        "[" * 100_000,
    ],
    ids=lambda text: text[:30] or "empty",
)
def test_attacks_on_the_format_earn_nothing(text: str) -> None:
    task, sample = gui(), row()
    attack = scored(task, sample, text)
    assert attack.reward == 0.0
    assert hit(task, sample, attack) == 0.0
    assert attack.reward <= scored(task, sample, HONEST_WRONG).reward


@pytest.mark.parametrize("text", ['{"point_2d": [500, 500]}', '{"point_2d": [0, 0]}', '{"point_2d": [1000, 1000]}'])
def test_constant_clicks_earn_no_more_than_an_honest_miss(text: str) -> None:
    task, sample = gui(), row()
    attack = scored(task, sample, text)
    assert attack.reward == pytest.approx(scored(task, sample, HONEST_WRONG).reward)
    assert hit(task, sample, attack) == 0.0


def test_an_answer_in_the_thoughts_is_none() -> None:
    task, sample = gui(mode="think"), row(mode=PromptMode.THINK)
    right, wrong = '{"point_2d": [833, 120]}', HONEST_WRONG
    assert scored(task, sample, f"<think><answer>{right}</answer></think>").reward == 0.0
    hidden = scored(task, sample, f"<think><answer>{right}</answer></think><answer>{wrong}</answer>")
    assert hidden.reward == pytest.approx(0.1)
    assert hit(task, sample, hidden) == 0.0


def test_a_truncated_answer_is_none() -> None:
    task, sample = gui(), row()
    assert scored(task, sample, task.render(sample, QWEN3), finish=Finish.LENGTH).reward == 0.0


def test_the_whole_picture_as_a_box_clicks_its_centre() -> None:
    task, sample = gui(answer="box"), row()
    attack = scored(task, sample, '{"bbox_2d": [0, 0, 1000, 1000]}')
    assert hit(task, sample, attack) == 0.0
    assert attack.scores["iou"].value == pytest.approx(GOLD.area / (1920 * 1080))
    honest_miss = scored(task, sample, '{"bbox_2d": [781, 200, 886, 256]}')  # right size, wrong row
    assert attack.reward < honest_miss.reward < 0.3


@pytest.mark.parametrize("text", ['{"bbox_2d": [0, 0, 1000, 1000]}', '{"bbox_2d": [500, 500, 500, 500]}'])
def test_grown_and_shrunk_boxes_earn_less_than_the_gold(text: str) -> None:
    """On a target around the picture's centre, where the click alone cannot tell them apart."""
    task, sample = gui(answer="box"), row(replace(GOLD, x1=900, y1=500, x2=1020, y2=580))
    attack, gold = (scored(task, sample, t) for t in (text, task.render(sample, QWEN3)))
    assert attack.scores["point_in_box"].value == 1.0
    assert attack.reward < gold.reward - 0.2


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [(1500, 100, 1.0), (1700, 160, 1.0), (1600, 130, 1.0), (1499, 130, 0.0), (1600, 161, 0.0)],
)
def test_the_official_score_includes_the_edges(x: float, y: float, expected: float) -> None:
    task, sample = gui(), row()
    rollout = scored(task, sample, HONEST_WRONG)
    rollout.answer = Point(x, y, GOLD.frame)
    assert hit(task, sample, rollout) == expected


def test_scoring_twice_gives_the_same() -> None:
    task, sample = gui(answer="box"), row()
    first, second = (scored(task, sample, '{"bbox_2d": [700, 50, 900, 200]}') for _ in range(2))
    assert first.scores == second.scores


def test_drawn_rows_answer_to_their_own_boxes() -> None:
    for answer in ("point", "box"):
        task = gui(answer=answer, mode="think")
        for sample in task.synthetic("train", 20, 0):
            perfect = scored(task, sample, task.render(sample, QWEN3))
            assert hit(task, sample, perfect) == 1.0
            assert sample.mode is PromptMode.THINK
            assert set(sample.tags) == {"platform", "kind"}


def test_benchmarks_declare_their_cells() -> None:
    benchmarks = {b.name: b for b in find_task("gui_grounding").submodule("benchmarks").BENCHMARKS}
    assert {name: b.cells for name, b in benchmarks.items()} == {
        "screenspot": ("platform", "kind"),
        "screenspot-v2": ("platform", "kind"),
        "screenspot-pro": ("group", "kind"),
        "osworld-g": ("target",),
        "osworld-g-refined": ("target",),
    }


@pytest.mark.parametrize(
    ("points", "earned"),
    [
        ([(833, 120)], 1.0),
        ([(833, 120), (100, 900)], 1 / 2**0.5),
        ([(100, 900), (833, 120)], 1 / 2),  # N = 2, k = 2
        ([(100, 900), (833, 120), (840, 130)], 1 / 6**0.5),
        ([(100, 900)], -1.0),
        ([(100, 900), (10, 10)], -1 / 2),
        ([(833, 120), (833, 121), (833, 122)], -1.0),  # on one line: unparsed
        ([], -1.0),
    ],
)
def test_exploration_pays_candidates_by_number_and_rank(points: list[tuple[int, int]], earned: float) -> None:
    """InfiGUI-G1's reward (arXiv 2508.05731), with the weights that its code has."""
    task, sample = gui(answer="points"), row()
    answer = scored(task, sample, json.dumps([{"point_2d": point} for point in points]), exploration=1, format=1)
    assert answer.scores["exploration"].value == pytest.approx(earned)
    parsed = not isinstance(answer.answer, Unparsed)
    assert answer.scores["format"].value == float(parsed)
    assert hit(task, sample, answer) == float(parsed and points[0] == (833, 120))
