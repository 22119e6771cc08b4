"""Golden numbers are worked out from the formulas in the docstrings."""

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Box, FrameError, ImageRecord, Size, Unit
from vlmrl.rewards.average_precision import average_precision, od_length, voc_average_precision
from vlmrl.rewards.matching import (
    NO_BOXES,
    f1,
    hits_and_corners,
    iou_matrix,
    location_and_class,
    matched_iou,
)
from vlmrl.types import Boxes, LabelledBox

RECORD = ImageRecord(0, Size(840, 420))
FRAME = RECORD.frame(Unit.ORIGINAL)

Reward = Callable[[Boxes, Boxes], float]


def matched_iou_above_half(predicted: Boxes, gold: Boxes, ignored: Boxes = NO_BOXES) -> float:
    return matched_iou(predicted, gold, ignored, minimum=0.5)


MATCHED = (matched_iou, matched_iou_above_half, f1, location_and_class, hits_and_corners)
"""Rewards by one-to-one matching, which do not depend on the order of boxes."""
RANKED = (average_precision, voc_average_precision, od_length)
"""Rewards that rank boxes by their order."""


def boxes(*items: tuple[str, float, float, float, float]) -> Boxes:
    return Boxes(tuple(LabelledBox(label, Box(*corners, FRAME)) for label, *corners in items))


A, B = ("cat", 0, 0, 100, 100), ("cat", 200, 0, 300, 100)
DOG = ("dog", 400, 0, 500, 100)
HALF_A = ("cat", 0, 0, 50, 100)  # IoU 0.5 with A
MOST_A = ("cat", 0, 0, 80, 100)  # IoU 0.8
GOLD = boxes(A, B, DOG)


def test_iou_of_all_pairs() -> None:
    ious = iou_matrix(boxes(HALF_A, B, ("cat", 50, 0, 50, 50)), GOLD)
    assert ious.tolist() == [[0.5, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert iou_matrix(NO_BOXES, GOLD).shape == (0, 3)
    assert iou_matrix(GOLD, NO_BOXES).shape == (3, 0)


@pytest.mark.parametrize(
    ("predicted", "matched", "above_half", "f1_50", "location", "corners"),
    [
        # exact
        ([A, B, DOG], 1, 1, 1, 1, 1),
        ([DOG, B, A], 1, 1, 1, 1, 1),
        # one box with IoU 0.8: its corners are off by (20 / 840) / 4 = 5 / 840 on average, within 10 / 840
        ([MOST_A, B, DOG], 2.8 / 3, 2.8 / 3, 1, (0.8 + 2) / 3, 1),
        # IoU 0.5 is a hit for F1 (>=), not for Visual-RFT (>); corners off by 12.5 / 840
        ([HALF_A, B, DOG], 2.5 / 3, 2 / 3, 1, (0.5 + 2) / 3, 2 / 3),
        # one missing; two missing
        ([A, B], 2 / 3, 2 / 3, 4 / 5, 2 / 3, 2 / 3),
        ([DOG], 1 / 3, 1 / 3, 2 / 4, 1 / 3, 1 / 3),
        ([], 0, 0, 0, 0, 0),
        # one box repeated: paid once, counted each time
        ([A, A, A], 1 / 4, 1 / 4, 2 / 6, 1 / 3, 1 / 4),
        ([A, A, B, B, DOG, DOG], 3 / 6, 3 / 6, 6 / 9, 3 / 6, 3 / 6),
        # a wrong label: class by class 2 cats and 2 dogs are needed
        ([("dog", *A[1:]), B, DOG], 2 / 4, 2 / 4, 4 / 6, (0.5 + 2) / 3, 2 / 4),
        # a label that was not asked for beside a right answer
        ([A, B, DOG, ("cow", 600, 0, 700, 100)], 3 / 4, 3 / 4, 6 / 7, 3 / 4, 3 / 4),
        # right labels in wrong places
        ([("cat", 0, 200, 100, 300), ("cat", 200, 200, 300, 300), ("dog", 400, 200, 500, 300)], 0, 0, 0, 0, 0),
    ],
)
def test_golden_numbers(
    predicted: list[tuple[str, float, float, float, float]],
    matched: float,
    above_half: float,
    f1_50: float,
    location: float,
    corners: float,
) -> None:
    answer = boxes(*predicted)
    assert matched_iou(answer, GOLD) == pytest.approx(matched)
    assert matched_iou(answer, GOLD, minimum=0.5) == pytest.approx(above_half)
    assert f1(answer, GOLD) == pytest.approx(f1_50)
    assert location_and_class(answer, GOLD) == pytest.approx(location)
    assert hits_and_corners(answer, GOLD) == pytest.approx(corners)


def test_the_best_matching_is_found_where_a_greedy_one_fails() -> None:
    """The first prediction overlaps both gold boxes, the second one only the box that the first likes best."""
    gold = boxes(("cat", 0, 0, 100, 100), ("cat", 60, 0, 160, 100))
    predicted = boxes(("cat", 20, 0, 120, 100), ("cat", 0, 0, 60, 100))
    first = 80 / 120, 60 / 140
    second = 60 / 100
    assert matched_iou(predicted, gold) == pytest.approx((first[1] + second) / 2)


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
def test_nothing_to_find(reward: Reward) -> None:
    assert reward(NO_BOXES, NO_BOXES) == 1
    assert reward(boxes(A), NO_BOXES) == 0
    assert reward(NO_BOXES, GOLD) == 0


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
def test_ignored_regions(reward: Callable[[Boxes, Boxes, Boxes], float]) -> None:
    crowd = boxes(("cat", 400, 200, 800, 400))
    inside, half_in, outside = ("cat", 500, 250, 550, 300), ("cat", 350, 200, 450, 300), ("cat", 300, 200, 440, 300)
    other = ("dog", 500, 250, 550, 300)
    gold = boxes(A)
    assert reward(boxes(A, inside), gold, crowd) == pytest.approx(1)
    assert reward(boxes(A, half_in), gold, crowd) == pytest.approx(1)  # half of its area: COCO's lowest threshold
    assert reward(boxes(inside), NO_BOXES, crowd) == 1
    assert reward(boxes(inside), gold, crowd) == 0
    assert reward(boxes(outside), NO_BOXES, crowd) == 0
    assert reward(boxes(other), NO_BOXES, crowd) == 0
    # a gold box in a crowd is found like any other
    assert reward(boxes(inside), boxes(inside), crowd) == pytest.approx(1)
    if reward in MATCHED or reward is od_length:
        assert reward(boxes(A, outside), gold, crowd) < 1
        assert reward(boxes(A, other), gold, crowd) < 1


@pytest.mark.parametrize("reward", [*MATCHED])
def test_frames(reward: Reward) -> None:
    thousandths = RECORD.frame(Unit.NORM1000)
    moved = Boxes(tuple(LabelledBox(item.label, item.box.to(thousandths)) for item in GOLD.items))
    assert reward(moved, GOLD) == pytest.approx(1)
    other = ImageRecord(1, RECORD.original).frame(Unit.ORIGINAL)
    with pytest.raises(FrameError):
        reward(Boxes((LabelledBox("cat", Box(0, 0, 1, 1, other)),)), GOLD)


labels = st.sampled_from(["cat", "dog", "cow"])
cells = st.tuples(st.integers(0, 7), st.integers(0, 3))
shares = st.floats(0, 0.99)


@st.composite
def scattered_boxes(draw: st.DrawFn) -> Boxes:
    found = []
    for _ in range(draw(st.integers(0, 6))):
        (x1, x2), (y1, y2) = (sorted((draw(st.floats(0, side)), draw(st.floats(0, side)))) for side in (840, 420))
        found.append((draw(labels), x1, y1, x2, y2))
    return boxes(*found)


@st.composite
def apart(draw: st.DrawFn, smallest: int = 0) -> Boxes:
    """Boxes with an area that do not overlap: one in each of some cells of 100 x 100."""
    places = draw(st.lists(cells, min_size=smallest, max_size=6, unique=True))
    return boxes(
        *((draw(labels), 100 * x + draw(st.floats(0, 40)), 100 * y, 100 * x + 90, 100 * y + 90) for x, y in places)
    )


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
@given(predicted=scattered_boxes(), gold=apart(), ignored=scattered_boxes())
def test_rewards_are_bounded(
    reward: Callable[[Boxes, Boxes, Boxes], float], predicted: Boxes, gold: Boxes, ignored: Boxes
) -> None:
    value = reward(predicted, gold, ignored)
    assert 0 <= value <= 1
    assert reward(predicted, gold, ignored) == value


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
@given(gold=apart(), ignored=scattered_boxes())
def test_gold_earns_the_maximum(reward: Callable[[Boxes, Boxes, Boxes], float], gold: Boxes, ignored: Boxes) -> None:
    assert reward(gold, gold, ignored) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("reward", MATCHED)
@given(predicted=scattered_boxes(), gold=apart(), order=st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(
    reward: Reward, predicted: Boxes, gold: Boxes, order: random.Random
) -> None:
    def shuffled(value: Boxes) -> Boxes:
        return Boxes(tuple(order.sample(value.items, len(value.items))))

    assert reward(shuffled(predicted), shuffled(gold)) == pytest.approx(reward(predicted, gold), abs=1e-9)


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
@given(gold=apart(1), predicted=apart(1), data=st.data())
def test_one_good_box_is_never_paid_twice(reward: Reward, gold: Boxes, predicted: Boxes, data: st.DataObject) -> None:
    """Gold boxes do not overlap here, so a box written again can be no other gold box's."""
    kept = gold.items[: data.draw(st.integers(1, len(gold.items)))]
    for answer in (Boxes(kept), predicted):
        again = data.draw(st.sampled_from(answer.items))
        if reward in MATCHED and max(iou_matrix(Boxes((again,)), gold).max(), 0) > 0:
            others = [item for item in answer.items if item is not again]
            if others and iou_matrix(Boxes(tuple(others)), Boxes((again,))).max() > 0:
                continue
        repeated = Boxes((*answer.items, again, again))
        assert reward(repeated, gold) <= reward(answer, gold) + 1e-12


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
@given(gold=apart(1), near=shares, far=shares)
def test_rewards_do_not_fall_when_the_iou_rises(reward: Reward, gold: Boxes, near: float, far: float) -> None:
    near, far = sorted((near, far))

    def shrunk(share: float) -> Boxes:
        first, *others = gold.items
        box = first.box
        cut = Box(box.x1 + share * box.width, box.y1, box.x2, box.y2, FRAME)
        return Boxes((LabelledBox(first.label, cut), *others))

    assert reward(shrunk(near), gold) >= reward(shrunk(far), gold) - 1e-12


@pytest.mark.parametrize("reward", [*MATCHED, *RANKED])
@given(predicted=apart(), gold=apart(), across=st.sampled_from([0.5, 2, 4]), down=st.sampled_from([0.5, 1, 2]))
def test_resizing_picture_and_boxes_together_changes_nothing(
    reward: Reward, predicted: Boxes, gold: Boxes, across: float, down: float
) -> None:
    frame = ImageRecord(0, Size(int(840 * across), int(420 * down))).frame(Unit.ORIGINAL)

    def resized(value: Boxes) -> Boxes:
        return Boxes(
            tuple(
                LabelledBox(
                    item.label,
                    Box(item.box.x1 * across, item.box.y1 * down, item.box.x2 * across, item.box.y2 * down, frame),
                )
                for item in value.items
            )
        )

    assert reward(resized(predicted), resized(gold)) == pytest.approx(reward(predicted, gold), abs=1e-9)


def test_ten_thousand_rewards_in_two_seconds() -> None:
    answer = boxes(MOST_A, B, DOG)
    start = time.process_time()
    for _ in range(10_000):
        matched_iou(answer, GOLD)
    assert time.process_time() - start < 2.0


def test_the_longest_answers_are_matched_in_bounded_time() -> None:
    rng = random.Random(0)
    items = [("cat", x := rng.uniform(0, 700), y := rng.uniform(0, 300), x + 100, y + 100) for _ in range(1000)]
    answer = boxes(*items)
    start = time.process_time()
    assert matched_iou(answer, boxes(*items[:100])) == pytest.approx(0.1)
    assert time.process_time() - start < 5.0
