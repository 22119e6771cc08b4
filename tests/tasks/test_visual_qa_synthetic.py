"""Drawn bar charts: the picture shows what the answers say, and the splits share no picture."""

import random
from statistics import mean

import pytest

from vlmrl.registry import find_task
from vlmrl.rewards.short_answers import relaxed_accuracy

FOLDER = find_task("visual_qa")
TASK = FOLDER.create({})
synthetic = FOLDER.submodule("synthetic")
CHARTS = [synthetic.draw_chart(seed) for seed in range(300)]


def test_a_seed_decides_everything() -> None:
    again = synthetic.draw_chart(7)
    assert again.image.tobytes() == CHARTS[7].image.tobytes()
    assert (again.bars, again.question, again.split) == (CHARTS[7].bars, CHARTS[7].question, CHARTS[7].split)


@pytest.mark.parametrize("chart", CHARTS[:40], ids=range(40))
def test_bars_are_as_high_as_they_are_said_to_be(chart) -> None:
    pixels = chart.image.load()
    lefts = []
    for bar in chart.bars:
        colour = synthetic.COLOURS[bar.colour]
        own = [(x, y) for x in range(chart.image.width) for y in range(chart.image.height) if pixels[x, y] == colour]
        columns, rows = zip(*own, strict=True)
        assert max(rows) - min(rows) + 1 == bar.value * synthetic.UNIT
        assert len(own) == (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)
        lefts.append(min(columns))
    assert lefts == sorted(lefts)


def test_every_question_has_one_right_answer() -> None:
    bar = synthetic.Bar
    asked = {q.text: q.answer for q in synthetic.questions((bar("red", 4), bar("blue", 9), bar("green", 4)))}
    assert asked == {
        "how many units high is the red bar?": "4",
        "how many units high is the blue bar?": "9",
        "how many units high is the green bar?": "4",
        "how many bars are there?": "3",
        "which colour is the highest bar?": "blue",
        "how many units is the blue bar higher than the red bar?": "5",
        "how many units is the blue bar higher than the green bar?": "5",
    }


def test_no_neighbouring_number_is_taken_for_right() -> None:
    numbers = range(1, synthetic.TALLEST + 1)
    assert not any(relaxed_accuracy(str(a), [str(b)]) for a in numbers for b in numbers if a != b)


def test_questions_vary_and_no_fixed_answer_is_often_right() -> None:
    assert {chart.question.kind for chart in CHARTS} == {"value", "count", "name", "difference"}
    assert {chart.image.size for chart in CHARTS} == set(synthetic.SIZES)
    answers = [chart.question.answer for chart in CHARTS]
    assert max(map(answers.count, set(answers))) / len(answers) < 0.25


def test_splits_share_no_picture() -> None:
    pictures = {
        split: {row.images[0].tobytes() for seed in (0, 1) for row in TASK.synthetic(split, 100, seed)}
        for split in ("train", "held_out")
    }
    assert not pictures["train"] & pictures["held_out"]


def test_scattered_answers_are_sometimes_right() -> None:
    rng = random.Random(0)
    right = [TASK.scattered(row, rng) == row.gold for row in TASK.synthetic("train", 300, 0)]
    assert 0.25 < mean(right) < 0.55
