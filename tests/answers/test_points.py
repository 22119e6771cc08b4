"""Several candidates for a point, and refusals, in each family's notation."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT, CoordinateAnswer
from vlmrl.answers.points import MOST_POINTS, POINTS, PointsAnswer
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.types import Points, Refusal, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
QWEN2 = Convention(Unit.NORM1000, "qwen2_box_tokens")
INTERNVL = Convention(Unit.NORM1000, "internvl_brackets")
CONVENTIONS = (QWEN3, QWEN2, INTERNVL)
RECORD = ImageRecord(0, Size(2000, 500))
FRAME = RECORD.frame(Unit.ORIGINAL)
TARGET = Sample("row", (), (RECORD,), "where?", Box(200, 100, 400, 200, FRAME))
ABSENT = Sample("row", (), (RECORD,), "where?", Refusal())


def read(text: str, convention: Convention = QWEN3, answer: PointsAnswer = POINTS) -> Points | Refusal | Unparsed:
    return answer.read(text, TARGET, convention)


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        (QWEN3, '[{"point_2d": [150, 300]}, {"point_2d": [10, 20]}]'),
        (QWEN2, "<|box_start|>(150,300)<|box_end|> <|box_start|>(10,20)<|box_end|>"),
        (INTERNVL, "[[150, 300]][[10, 20]]"),
    ],
)
def test_candidates_keep_their_order(convention: Convention, text: str) -> None:
    assert read(text, convention) == Points((Point(300, 150, FRAME), Point(20, 10, FRAME)))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gold_is_the_one_candidate(convention: Convention) -> None:
    assert read(POINTS.render(TARGET, convention), convention) == Points((Point(300, 150, FRAME),))


def listed(*points: tuple[int, int]) -> str:
    return json.dumps([{"point_2d": point} for point in points])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "0 points"),
        ('{"point_2d": [150, 300]}', "expected a list"),
        (listed((1, 1), (2, 5), (1, 1)), "the same point twice"),
        (listed((1, 1), (2, 2), (9, 3), (5, 5)), "three points on one line"),
        (listed((1, 1), (1001, 2)), r"point 1: x = 1001 is outside"),
        (listed((-1, -1)), "outside"),
        (listed(*((i, i * i % 997) for i in range(MOST_POINTS + 1))), f"{MOST_POINTS + 1} points"),
        ('[{"point_2d": [1, 2, 3, 4]}]', "point 0"),
        ('[{"bbox_2d": [1, 2]}]', "point 0"),
        ("the button", "not JSON"),
    ],
)
def test_refused_lists(text: str, reason: str) -> None:
    answer = read(text)
    assert isinstance(answer, Unparsed)
    assert reason in answer.reason


@pytest.mark.parametrize("text", ["", "<|box_start|>(1,2)<|box_end|> and", "<|box_start|>(1,2),(3,4)<|box_end|>"])
def test_refused_box_tokens(text: str) -> None:
    assert isinstance(read(text, QWEN2), Unparsed)


@given(st.text(max_size=80), st.sampled_from(CONVENTIONS))
def test_any_text_is_read(text: str, convention: Convention) -> None:
    assert isinstance(read(text, convention), Points | Unparsed)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_attacks_that_are_no_guesses_are_unparsed(convention: Convention) -> None:
    for attack in POINTS.attacks(TARGET, convention):
        assert isinstance(read(attack.text, convention), Points if attack.guess else Unparsed), attack.name


REFUSABLE = (
    CoordinateAnswer(POINT.key, POINT.names, refusable=True),
    CoordinateAnswer(BOX.key, BOX.names, refusable=True),
    PointsAnswer(refusable=True),
)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("answer", REFUSABLE, ids=["point", "box", "points"])
def test_a_refusal_is_read_back_where_it_may_be_given(
    answer: CoordinateAnswer | PointsAnswer, convention: Convention
) -> None:
    text = answer.render(ABSENT, convention)
    assert answer.read(text, ABSENT, convention) == Refusal()
    assert text in answer.request(TARGET, convention)
    assert not isinstance(answer.read(answer.render(TARGET, convention), TARGET, convention), Refusal | Unparsed)


@pytest.mark.parametrize("answer", [POINT, BOX, POINTS])
def test_a_refusal_is_no_answer_elsewhere(answer: CoordinateAnswer | PointsAnswer) -> None:
    for convention in CONVENTIONS:
        text = answer.render(ABSENT, convention)
        assert isinstance(answer.read(text, TARGET, convention), Unparsed)
        assert text not in answer.request(TARGET, convention)


def test_one_negative_coordinate_is_off_the_picture() -> None:
    assert isinstance(REFUSABLE[0].read('{"point_2d": [-1, 3]}', TARGET, QWEN3), Unparsed)


def test_guessing_that_nothing_is_there_is_an_attack() -> None:
    for sample in (TARGET, ABSENT):
        (refusal,) = [attack for attack in REFUSABLE[0].attacks(sample, QWEN3) if attack.name == "a refusal"]
        assert refusal.guess
        assert refusal.blind
