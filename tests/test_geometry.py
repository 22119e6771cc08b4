import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Box, FrameError, ImageRecord, Point, Size, Unit

RECORD = ImageRecord(0, Size(1366, 768), Size(1372, 756))
ORIGINAL = RECORD.frame(Unit.ORIGINAL)
THOUSANDTHS = RECORD.frame(Unit.NORM1000)

sides = st.integers(1, 20_000)
records = st.builds(ImageRecord, st.integers(0, 3), st.builds(Size, sides, sides), st.builds(Size, sides, sides))
units = st.sampled_from(Unit)
fractions = st.floats(0, 1)


def test_points_convert_along_each_axis() -> None:
    point = Point(683, 384, ORIGINAL)
    assert point.to(THOUSANDTHS) == Point(500, 500, THOUSANDTHS)
    assert point.to(RECORD.frame(Unit.MODEL)) == Point(686, 378, RECORD.frame(Unit.MODEL))
    assert point.to(RECORD.frame(Unit.NORM1)) == Point(0.5, 0.5, RECORD.frame(Unit.NORM1))


@given(records, units, units, fractions, fractions)
def test_a_round_trip_through_another_frame_changes_nothing(
    record: ImageRecord, unit: Unit, other: Unit, x: float, y: float
) -> None:
    frame = record.frame(unit)
    point = Point(x * frame.width, y * frame.height, frame)
    back = point.to(record.frame(other)).to(frame)
    assert math.isclose(back.x, point.x, rel_tol=1e-12, abs_tol=1e-12)
    assert math.isclose(back.y, point.y, rel_tol=1e-12, abs_tol=1e-12)


@given(records, units, units)
def test_the_last_edge_stays_on_the_picture(record: ImageRecord, unit: Unit, other: Unit) -> None:
    frame = record.frame(unit)
    corner = Point(frame.width, frame.height, frame).to(record.frame(other))
    assert corner.in_image
    assert (corner.x, corner.y) == (record.frame(other).width, record.frame(other).height)


@pytest.mark.parametrize(
    "other",
    [
        RECORD.frame(Unit.NORM1000),
        ImageRecord(1, RECORD.original).frame(Unit.ORIGINAL),
        ImageRecord(0, Size(768, 1366)).frame(Unit.ORIGINAL),
    ],
    ids=["unit", "picture", "size"],
)
def test_mixed_frames_raise(other: object) -> None:
    box = Box(0, 0, 10, 10, ORIGINAL)
    with pytest.raises(FrameError, match="cannot mix"):
        box.contains(Point(1, 1, other))  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="cannot mix"):
        box.iou(Box(0, 0, 1, 1, other))  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="cannot mix"):
        Point(0, 0, ORIGINAL).distance(Point(1, 1, other))  # type: ignore[arg-type]


def test_conversion_to_another_picture_raises() -> None:
    with pytest.raises(FrameError, match="different pictures"):
        Point(1, 1, ORIGINAL).to(ImageRecord(1, RECORD.original).frame(Unit.NORM1000))
    resized_otherwise = ImageRecord(0, RECORD.original, Size(700, 392)).frame(Unit.MODEL)
    with pytest.raises(FrameError, match="disagree"):
        Point(1, 1, RECORD.frame(Unit.MODEL)).to(resized_otherwise)


def test_model_pixels_need_the_model_size() -> None:
    with pytest.raises(FrameError, match="after the processor"):
        ImageRecord(0, Size(10, 10)).frame(Unit.MODEL)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_are_finite(bad: float) -> None:
    with pytest.raises(FrameError, match="finite"):
        Point(bad, 0, ORIGINAL)
    with pytest.raises(FrameError, match="finite"):
        Box(0, 0, 1, bad, ORIGINAL)


def test_boxes_refuse_swapped_corners_and_sizes_need_area() -> None:
    with pytest.raises(FrameError, match="swapped"):
        Box(10, 0, 5, 5, ORIGINAL)
    with pytest.raises(FrameError, match="no area"):
        Size(0, 5)


def test_contains_includes_the_edges() -> None:
    box = Box(10, 20, 30, 40, ORIGINAL)
    assert box.contains(Point(10, 20, ORIGINAL))
    assert box.contains(Point(30, 40, ORIGINAL))
    assert not box.contains(Point(9.999, 30, ORIGINAL))
    assert not box.contains(Point(20, 40.001, ORIGINAL))


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ((0, 0, 10, 10), 1.0),
        ((5, 0, 15, 10), 50 / 150),
        ((0, 0, 5, 10), 0.5),
        ((10, 0, 20, 10), 0.0),  # touching
        ((20, 20, 30, 30), 0.0),
        ((3, 3, 3, 3), 0.0),  # no area
    ],
)
def test_iou(other: tuple[float, float, float, float], iou: float) -> None:
    box, second = Box(0, 0, 10, 10, ORIGINAL), Box(*other, ORIGINAL)
    assert box.iou(second) == pytest.approx(iou, abs=1e-15)
    assert second.iou(box) == box.iou(second)


def test_iou_of_two_boxes_without_area_is_zero() -> None:
    point = Box(3, 3, 3, 3, ORIGINAL)
    assert point.iou(point) == 0.0


def test_a_value_in_its_own_frame_is_exactly_itself() -> None:
    frame = ImageRecord(0, Size(200, 100)).frame(Unit.ORIGINAL)
    box = Box(0.1, 0.2, 1.0, 10.444680879865208, frame)  # 10.44... * 100 / 100 is another number
    assert box.to(frame) == box
    assert box.center.to(frame) == box.center
