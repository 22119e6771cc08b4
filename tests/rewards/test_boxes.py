"""Golden numbers are worked out from the formulas in the docstrings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Box, FrameError, ImageRecord, Point, Size, Unit
from vlmrl.rewards.boxes import click_point, closeness, edge_agreement, point_in_box

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
