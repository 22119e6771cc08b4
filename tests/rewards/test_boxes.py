"""Golden numbers are worked out from the formulas in the docstrings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Box, FrameError, ImageRecord, Point, Size, Unit
from vlmrl.rewards.boxes import (
    capped_iou,
    click_point,
    closeness,
    corners_near,
    edge_agreement,
    gaussian_coverage,
    gaussian_point,
    giou,
    inside_and_close,
    iou_reaches,
    point_in_box,
    point_strictly_in_box,
    squared_iou,
    staged_iou,
)

RECORD = ImageRecord(0, Size(200, 100))
FRAME = RECORD.frame(Unit.ORIGINAL)
TARGET = Box(20, 10, 60, 30, FRAME)


def point(x: float, y: float) -> Point:
    return Point(x, y, FRAME)


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(x1, y1, x2, y2, FRAME)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (point(40, 20), 1),
        (point(20, 10), 1),  # corner: edges are inside
        (point(60, 30), 1),
        (point(60.01, 30), 0),
        (point(19, 20), 0),
        (box(20, 10, 60, 30), 1),
        (box(0, 0, 40, 20), 1),  # its centre is the corner
        (box(0, 0, 200, 100), 0),  # the whole picture clicks its centre
    ],
)
def test_point_in_box(answer: Point | Box, score: float) -> None:
    assert point_in_box(answer, TARGET) == score


def test_a_box_clicks_its_centre() -> None:
    assert click_point(TARGET) == point(40, 20)
    assert click_point(point(1, 2)) == point(1, 2)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (point(40, 20), 1.0),
        # centre (0.2, 0.2) of the picture; its farthest corner is (1, 1), so d_max^2 = 0.64 + 0.64
        (point(200, 100), 0.0),
        (point(200, 20), 1 - 0.64 / 1.28),
        (point(0, 0), 1 - 0.08 / 1.28),
        (point(60, 20), 1 - 0.01 / 1.28),
        (box(50, 10, 70, 30), 1 - 0.01 / 1.28),
    ],
)
def test_closeness(answer: Point | Box, score: float) -> None:
    assert closeness(answer, TARGET) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (TARGET, 1.0),
        (box(20, 10, 60, 80), 4 / (1 + 1 + 1 + 1 / 0.5)),  # one edge off by half the height
        (box(0, 10, 60, 30), 4 / (3 + 1 / 0.9)),
        (box(0, 0, 200, 100), 4 / (1 / 0.9 + 1 / 0.9 + 1 / 0.3 + 1 / 0.3)),
    ],
)
def test_edge_agreement(answer: Box, score: float) -> None:
    assert edge_agreement(answer, TARGET) == pytest.approx(score, abs=1e-12)


def test_edge_agreement_is_zero_where_its_formula_has_no_value() -> None:
    left_edge = box(0, 10, 1, 30)
    assert edge_agreement(box(200, 10, 200, 30), left_edge) == 0.0  # one edge off by the whole width
    assert edge_agreement(box(300, 10, 400, 30), left_edge) == 0.0  # by more than the width


@pytest.mark.parametrize(
    ("answer", "score"),
    [(point(40, 20), 1), (point(20, 20), 0), (point(40, 30), 0), (point(20.01, 10.01), 1), (TARGET, 1)],
)
def test_point_strictly_in_box(answer: Point | Box, score: float) -> None:
    assert point_strictly_in_box(answer, TARGET) == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (point(40, 20), 2.0),
        (point(60, 20), 1 + 1 - 0.01 / 1.28),  # on the edge
        (point(61, 20), 1 - 0.105**2 / 1.28),
        (point(200, 20), 1 - 0.64 / 1.28),  # d = 0.8
        (point(200, 100), 0.0),  # d^2 = 1.28: cut
        (point(200, 80.01), 0.0),  # d^2 just above 1, where closeness is still 0.22
        (point(200, 79.99), 1 - (0.64 + 0.5999**2) / 1.28),
    ],
)
def test_inside_and_close(answer: Point | Box, score: float) -> None:
    assert inside_and_close(answer, TARGET) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (point(40, 20), 1.0),
        (point(60, 20), math.exp(-0.5)),  # sigma is 20 by 10
        (point(60, 30), math.exp(-1)),
        (point(80, 40), math.exp(-4)),
        (box(40, 10, 80, 30), math.exp(-0.5)),
        (point(200, 100), math.exp(-64)),
    ],
)
def test_gaussian_point(answer: Point | Box, score: float) -> None:
    assert gaussian_point(answer, TARGET) == pytest.approx(score, rel=1e-12)


def published_coverage(predicted: Box, target: Box) -> float:
    """exp(-D) with D = d' S^-1 d / 8 + ln(det S / sqrt(det P det T)) / 2 in two dimensions, as the paper writes it."""
    p, t = ([(0.5 * b.width) ** 2, (0.5 * b.height) ** 2] for b in (predicted, target))
    s = [(a + b) / 2 for a, b in zip(p, t, strict=True)]
    d = [predicted.center.x - target.center.x, predicted.center.y - target.center.y]
    mahalanobis = sum(shift**2 / variance for shift, variance in zip(d, s, strict=True))
    return math.exp(-mahalanobis / 8 - math.log(s[0] * s[1] / math.sqrt(p[0] * p[1] * t[0] * t[1])) / 2)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (TARGET, 1.0),
        (box(60, 10, 100, 30), math.exp(-0.5)),  # one width aside: d = 40, sigma = 20
        (box(0, 0, 80, 40), 0.8),  # twice as large about the same centre: (2 / 2.5) on both axes, under the root
        (box(40, 20, 40, 20), 0.0),
        (box(20, 20, 60, 20), 0.0),
    ],
)
def test_gaussian_coverage(answer: Box, score: float) -> None:
    assert gaussian_coverage(answer, TARGET) == pytest.approx(score, rel=1e-12)
    if answer.area:
        assert gaussian_coverage(answer, TARGET) == pytest.approx(published_coverage(answer, TARGET), rel=1e-9)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (TARGET, 1.0),
        (box(60, 10, 100, 30), 0.0),  # side by side: nothing between them
        (box(100, 10, 140, 30), -1 / 3),  # a gap as wide as either box
        (box(20, 10, 40, 30), 0.5),  # half of it
        (box(40, 20, 80, 40), 200 / 1400 - 400 / 1800),  # overlap 200, union 1400, hull 60 by 30
        (box(0, 0, 200, 100), 800 / 20000),
        (box(40, 20, 40, 20), 0.0),  # a dot inside: the hull is the target
    ],
)
def test_giou(answer: Box, score: float) -> None:
    assert giou(answer, TARGET) == pytest.approx(score, abs=1e-12)


def test_giou_of_two_dots_is_the_least() -> None:
    assert giou(box(5, 5, 5, 5), box(5, 5, 5, 5)) == -1
    assert giou(box(5, 5, 5, 5), box(9, 9, 9, 9)) == pytest.approx(-1)


@pytest.mark.parametrize(("width", "iou"), [(40, 1.0), (36, 0.9), (30, 0.75), (24, 0.6), (20, 0.5), (16, 0.4)])
def test_variants_of_iou(width: float, iou: float) -> None:
    answer = box(20, 10, 20 + width, 30)
    assert squared_iou(answer, TARGET) == pytest.approx(iou**2)
    assert iou_reaches(answer, TARGET, 0.5) == (iou >= 0.5)
    assert capped_iou(answer, TARGET) == pytest.approx(min(1, iou / 0.7))
    assert staged_iou(answer, TARGET, 0.5, 0.75) == pytest.approx(1 if iou >= 0.75 else iou if iou >= 0.5 else 0)
    assert staged_iou(answer, TARGET, 0.75, 0.9) == pytest.approx(1 if iou >= 0.9 else iou if iou >= 0.75 else 0)


@pytest.mark.parametrize(
    ("shift", "score"),
    [(0, 1), (9.9, 1), (10.1, 0)],
)
def test_corners_near_is_visionreasoners_ten_pixels(shift: float, score: float) -> None:
    frame = ImageRecord(0, Size(840, 840)).frame(Unit.ORIGINAL)
    target = Box(100, 100, 300, 300, frame)
    assert corners_near(Box(100 + shift, 100 + shift, 300 + shift, 300 + shift, frame), target) == score
    assert corners_near(Box(100, 100, 300 + 4 * shift, 300, frame), target) == score  # the mean over the four edges


spans = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@given(spans, spans, st.floats(0, 1), st.floats(0, 1))
def test_rewards_are_bounded_and_do_not_depend_on_the_picture_size(
    xs: list[float], ys: list[float], x: float, y: float
) -> None:
    scores = []
    for size in (Size(1000, 1000), Size(4000, 500)):
        frame = ImageRecord(0, size).frame(Unit.ORIGINAL)
        width, height = frame.width, frame.height
        answer_box = Box(xs[0] * width, ys[0] * height, xs[1] * width, ys[1] * height, frame)
        answer_point = Point(x * width, y * height, frame)
        target = Box(0.25 * width, 0.5 * height, 0.5 * width, 0.75 * height, frame)
        scores.append(
            (
                closeness(answer_point, target),
                closeness(answer_box, target),
                edge_agreement(answer_box, target),
                (giou(answer_box, target) + 1) / 2,
                gaussian_point(answer_point, target),
                gaussian_coverage(answer_box, target),
                inside_and_close(answer_point, target) / 2,
                squared_iou(answer_box, target),
                capped_iou(answer_box, target),
            )
        )
    assert all(0 <= score <= 1 for values in scores for score in values)
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)


@given(st.floats(0, 1), st.floats(0, 1))
def test_closeness_falls_with_distance(near: float, far: float) -> None:
    near, far = sorted((near, far))
    scores = [closeness(point(40 + share * 160, 20 + share * 80), TARGET) for share in (near, far)]
    assert scores[0] >= scores[1]


def test_an_answer_in_another_frame_of_the_picture_is_converted() -> None:
    thousandths = RECORD.frame(Unit.NORM1000)
    assert point_in_box(Point(200, 200, thousandths), TARGET) == 1
    assert edge_agreement(TARGET.to(thousandths), TARGET) == pytest.approx(1)
    other_picture = ImageRecord(1, RECORD.original).frame(Unit.ORIGINAL)
    with pytest.raises(FrameError):
        point_in_box(Point(40, 20, other_picture), TARGET)


EXTENT_REWARDS = (giou, squared_iou, capped_iou, gaussian_coverage, edge_agreement, corners_near, gaussian_point)


@given(st.floats(0, 150), st.floats(0, 70), st.floats(1, 50), st.floats(1, 30))
def test_the_target_itself_earns_the_most(x: float, y: float, width: float, height: float) -> None:
    target = box(x, y, x + width, y + height)
    for reward in EXTENT_REWARDS:
        assert reward(target, target) == 1
    assert staged_iou(target, target, 0.75, 0.9) == iou_reaches(target, target, 1.0) == 1
    assert inside_and_close(target, target) == 2


@given(st.floats(0, 40), st.floats(0, 40))
def test_a_box_pushed_farther_away_never_earns_more(near: float, far: float) -> None:
    near, far = sorted((near, far))
    closer, farther = (box(20 + shift, 10 + shift, 60 + shift, 30 + shift) for shift in (near, far))
    assert farther.iou(TARGET) <= closer.iou(TARGET)
    for reward in EXTENT_REWARDS:
        assert reward(farther, TARGET) <= reward(closer, TARGET) + 1e-12
    assert staged_iou(farther, TARGET, 0.5, 0.75) <= staged_iou(closer, TARGET, 0.5, 0.75)


@given(spans, spans, st.floats(0, 1), st.floats(0, 1))
def test_giou_is_symmetric_and_never_above_iou(xs: list[float], ys: list[float], x: float, y: float) -> None:
    first = box(xs[0] * 200, ys[0] * 100, xs[1] * 200, ys[1] * 100)
    second = box(min(x, 0.9) * 200, min(y, 0.9) * 100, min(x, 0.9) * 200 + 20, min(y, 0.9) * 100 + 10)
    assert giou(first, second) == pytest.approx(giou(second, first), abs=1e-12)
    assert -1 <= giou(first, second) <= first.iou(second) + 1e-12
