"""What a run folder keeps of an answer is read back as the same answer."""

import json

import pytest

from vlmrl.geometry import Box, Clip, ImageRecord, Point, Size, Span, Unit
from vlmrl.records import answer_record, extra_record, recorded_answer
from vlmrl.types import Action, Answer, Boxes, Choice, Code, LabelledBox, Points, Refusal, Spans, Text, Unparsed

FRAMES = [ImageRecord(i, Size(100 + i, 50)).frame(Unit.ORIGINAL) for i in range(2)]
CLIPS = [Clip(0, 30.0), Clip(1, 12.5)]
BOX = Box(1.5, 2, 30, 40.25, FRAMES[1])
ANSWERS: dict[str, Answer | Unparsed] = {
    "point": Point(3.5, 4, FRAMES[1]),
    "box": BOX,
    "boxes": Boxes((LabelledBox("cat", BOX), LabelledBox("dog", Box(0, 0, 5, 5, FRAMES[0]), 0.25))),
    "no boxes": Boxes(()),
    "points": Points((Point(3.5, 4, FRAMES[1]), Point(0, 0, FRAMES[1]))),
    "refusal": Refusal(),
    "span": Span(1.5, 12, CLIPS[1]),
    "spans": Spans((Span(0, 1, CLIPS[0]), Span(5, 9.5, CLIPS[0]))),
    "click": Action("click", Point(3, 4, FRAMES[0])),
    "type": Action("type", text="hello"),
    "scroll": Action("scroll", direction="down"),
    "wait": Action("wait"),
    "choice": Choice("B"),
    "text": Text("a red bus"),
    "code": Code("import matplotlib\n"),
    "unparsed": Unparsed("empty completion"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_survives_its_record(name: str) -> None:
    line = json.dumps(answer_record(ANSWERS[name]))
    assert recorded_answer(json.loads(line), FRAMES, CLIPS) == ANSWERS[name]


@pytest.mark.parametrize("record", [{"type": "circle"}, {"type": "box", "image": 0, "coordinates": [1, 2, 3]}, {}])
def test_a_record_that_is_not_whole_is_refused(record: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        recorded_answer(record, FRAMES, CLIPS)


def test_what_a_row_brings_along_is_kept_as_far_as_it_is_plain() -> None:
    extra = {"preamble": "x = 1", "options": ("a", "b"), "target": BOX, "none": None, "kept": [BOX], "chart": object()}
    extra["mixed"] = ["a", object()]
    assert json.loads(json.dumps(extra_record(extra))) == {
        "preamble": "x = 1",
        "options": ["a", "b"],
        "target": answer_record(BOX),
        "none": None,
        "kept": [answer_record(BOX)],
    }


def test_spans_of_two_clips_and_reversed_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="ends before it starts"):
        Span(2, 1, CLIPS[0])
    with pytest.raises(ValueError, match="cannot compare a span of video 0"):
        Span(0, 1, CLIPS[0]).tiou(Span(0, 1, CLIPS[1]))


@pytest.mark.parametrize(
    ("first", "second", "tiou"),
    [((0, 10), (0, 10), 1.0), ((0, 10), (5, 15), 1 / 3), ((0, 1), (2, 3), 0.0), ((1, 1), (1, 1), 0.0)],
)
def test_tiou(first: tuple[float, float], second: tuple[float, float], tiou: float) -> None:
    assert Span(*first, CLIPS[0]).tiou(Span(*second, CLIPS[0])) == pytest.approx(tiou)
