"""Drawn shapes: exact boxes, complete answers, and splits that share no picture."""

import random
from statistics import mean

import pytest

from vlmrl.geometry import Unit
from vlmrl.registry import find_task
from vlmrl.rewards.matching import iou_matrix
from vlmrl.types import Boxes

FOLDER = find_task("detection")
synthetic = FOLDER.submodule("synthetic")
DRAWINGS = [synthetic.draw(seed) for seed in range(300)]


def test_a_seed_decides_everything() -> None:
    again = synthetic.draw(7)
    assert again.image.tobytes() == DRAWINGS[7].image.tobytes()
    assert (again.shapes, again.question, again.split) == (
        DRAWINGS[7].shapes,
        DRAWINGS[7].question,
        DRAWINGS[7].split,
    )


@pytest.mark.parametrize("drawing", DRAWINGS[:40], ids=range(40))
def test_a_shape_fills_its_box_and_nothing_beyond(drawing) -> None:
    pixels, background = drawing.image.load(), drawing.image.getpixel((0, 0))
    painted = {
        (x, y) for x in range(drawing.image.width) for y in range(drawing.image.height) if pixels[x, y] != background
    }
    for shape in drawing.shapes:
        left, top, right, bottom = shape.box
        own = {(x, y) for x, y in painted if left <= x < right and top <= y < bottom}
        columns, rows = zip(*own, strict=True)
        slack = 0.15 * (bottom - top)  # the tips of a star do not reach every edge
        assert min(columns) <= left + slack
        assert max(columns) >= right - 1 - slack
        assert min(rows) <= top + slack
        assert max(rows) >= bottom - 1 - slack
        assert {pixels[place] for place in own} == {synthetic.COLOURS[shape.colour]}
        painted -= own
    assert not painted


def test_answers_are_complete_and_in_reading_order() -> None:
    for drawing in DRAWINGS:
        words = drawing.question.text.split()
        meant = [
            shape
            for shape in drawing.shapes
            if shape.name in words and (shape.colour in words or not set(words) & set(synthetic.COLOURS))
        ]
        assert sorted(meant, key=lambda shape: (shape.box[1], shape.box[0])) == list(drawing.question.targets)
        assert 1 <= len(meant) <= synthetic.MOST_TARGETS
        assert {shape.name for shape in meant} <= set(drawing.question.classes)
        assert all(name in words for name in drawing.question.classes)


def test_questions_vary() -> None:
    counts = [len(drawing.question.targets) for drawing in DRAWINGS]
    assert set(counts) == {1, 2, 3}
    assert any(len(drawing.question.classes) == 2 for drawing in DRAWINGS)
    assert mean(len(drawing.shapes) > len(drawing.question.targets) for drawing in DRAWINGS) > 0.8
    assert {drawing.image.size for drawing in DRAWINGS} == set(synthetic.SIZES)


def test_rows_bring_classes_and_original_pixels() -> None:
    task = FOLDER.create({})
    for row in task.synthetic("train", 30, 0):
        assert isinstance(row.gold, Boxes)
        assert all(item.box.frame == row.records[0].frame(Unit.ORIGINAL) for item in row.gold.items)
        assert {item.label for item in row.gold.items} <= set(row.extra["classes"])


def test_splits_share_no_picture() -> None:
    task = FOLDER.create({})
    pictures = {
        split: {row.images[0].tobytes() for seed in (0, 1) for row in task.synthetic(split, 100, seed)}
        for split in ("train", "held_out")
    }
    assert not pictures["train"] & pictures["held_out"]


def test_scattered_answers_lie_near_gold() -> None:
    task, rng = FOLDER.create({}), random.Random(0)
    ious = []
    for row in task.synthetic("train", 300, 0):
        answer = task.scattered(row, rng)
        assert isinstance(answer, Boxes)
        assert isinstance(row.gold, Boxes)
        assert [item.label for item in answer.items] == [item.label for item in row.gold.items]
        assert all(item.box.in_image for item in answer.items)
        ious += list(iou_matrix(answer, row.gold).diagonal())
    assert mean(ious) == pytest.approx(0.5, abs=0.03)
    assert min(ious) > 0
