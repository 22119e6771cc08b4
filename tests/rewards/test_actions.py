"""Rewards of one action: the gate of the kind, places by box or distance, and nothing in full but the right action."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.rewards.actions import argument_agreement, fraction_distance, on_target, step_success
from vlmrl.types import Action

RECORD = ImageRecord(0, Size(1000, 2000), Size(500, 800))
FRAME = RECORD.frame(Unit.ORIGINAL)
TARGET = Box(400, 900, 600, 1100, FRAME)


def at(x: float, y: float) -> Point:
    return Point(x, y, FRAME)


def click(x: float, y: float) -> Action:
    return Action("click", point=at(x, y))


GOLD = click(500, 1000)
RIGHT = [GOLD, Action("type", text="red hat"), Action("scroll", direction="up"), Action("press_key", text="back"),
         Action("wait")]  # fmt: skip


@pytest.mark.parametrize("gold", RIGHT, ids=str)
@pytest.mark.parametrize("target", [TARGET, None], ids=["box", "no box"])
def test_only_the_right_action_is_paid_in_full(gold: Action, target: Box | None) -> None:
    texts = [Action("type", text=text) for text in ("red", "hat red", "red hat red hat", "e")]
    wrong = [click(10, 10), *texts, Action("scroll", direction="down"), Action("press_key", text="home")]
    assert argument_agreement(gold, gold, target) == 1
    assert step_success(gold, gold, target)
    for answer in wrong + [other for other in RIGHT if other != gold]:
        assert argument_agreement(answer, gold, target) < 1
        assert not step_success(answer, gold, target)
        if answer.kind != gold.kind:
            assert argument_agreement(answer, gold, target) == 0


@pytest.mark.parametrize(
    ("x", "y", "expected"), [(400, 900, True), (600, 1100, True), (399, 1000, False), (500, 1101, False)]
)
def test_a_target_box_includes_its_edges(x: float, y: float, expected: bool) -> None:
    assert on_target(at(x, y), at(500, 1000), TARGET) is expected


@pytest.mark.parametrize(
    # 0.14 of each own side: 140 of 1000 across, 280 of 2000 down
    ("x", "y", "expected"), [(640, 1000, True), (641, 1000, False), (500, 1280, True), (500, 1281, False),
                             (600, 1200, False), (598, 1196, True)],
)  # fmt: skip
def test_without_a_box_the_distance_decides(x: float, y: float, expected: bool) -> None:
    # hypot(0.1, 0.1) = 0.1414 is out of reach, hypot(0.098, 0.098) = 0.1386 is not
    assert on_target(at(x, y), at(500, 1000), None) is expected


def test_a_click_may_be_in_another_frame() -> None:
    model = at(500, 1000).to(RECORD.frame(Unit.MODEL))
    assert on_target(model, at(500, 1000), TARGET)
    assert fraction_distance(model, at(500, 1000)) == pytest.approx(0)


@given(x=st.floats(0, 1), y=st.floats(0, 1), factor=st.floats(0.1, 10))
def test_resizing_picture_and_labels_changes_nothing(x: float, y: float, factor: float) -> None:
    frame = ImageRecord(0, Size(max(1, round(1000 * factor)), max(1, round(2000 * factor)))).frame(Unit.ORIGINAL)
    small, large = Point(x * 1000, y * 2000, FRAME), Point(x * frame.width, y * frame.height, frame)
    recorded = Point(frame.width / 2, frame.height / 2, frame)
    assert fraction_distance(small, at(500, 1000)) == pytest.approx(fraction_distance(large, recorded), abs=1e-9)


@given(answer=st.sampled_from(RIGHT), gold=st.sampled_from(RIGHT))
def test_rewards_are_bounded_and_agree_with_success(answer: Action, gold: Action) -> None:
    value = argument_agreement(answer, gold, TARGET)
    assert 0 <= value <= 1
    assert (value == 1) == step_success(answer, gold, TARGET)


def test_a_recorded_kind_without_its_argument_is_right_by_kind() -> None:
    """UI-R1's rows record no text."""
    assert step_success(Action("type"), Action("type"), None)
    assert argument_agreement(Action("type"), Action("type"), None) == 1
    assert argument_agreement(Action("type"), Action("type", text="red hat"), None) == 0
