"""Time spans: the documented result of every kind of completion, and that gold survives being written and read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.convention import Convention
from vlmrl.answers.span import MOST_SPANS, OVERHANG, SPAN, SPANS, SpanAnswer
from vlmrl.geometry import Clip, Span, Unit
from vlmrl.types import Sample, Spans, Unparsed

CONVENTIONS = {
    "qwen3": Convention(Unit.NORM1000, "json"),
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
    "internvl": Convention(Unit.NORM1000, "internvl_brackets"),
}
QWEN3 = CONVENTIONS["qwen3"]
CLIP = Clip(0, 30.0)


def span(start: float, end: float) -> Span:
    return Span(start, end, CLIP)


def sample(*gold: Span) -> Sample:
    target = gold[0] if len(gold) == 1 else Spans(gold)
    return Sample("s", (), (), "when?", target, clips=(CLIP,))


ONE = sample(span(2, 5.5))
TWO = sample(span(2, 4), span(8, 10))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"time": [2, 5.5]}', span(2, 5.5)),
        ('[{"time": [2, 5.5]}]', span(2, 5.5)),
        ('```json\n{"time": [2, 5.5]}\n```', span(2, 5.5)),
        ('{"time": [2.123, 5.987]}', span(2.123, 5.987)),
        ('{"time": [3, 3]}', span(3, 3)),
        ('{"time": [20, 31.5]}', span(20, 31.5)),  # as published targets: neither cut nor refused
    ],
)
def test_one_span_is_read(text: str, expected: Span) -> None:
    assert SPAN.read(text, ONE, QWEN3) == expected


REFUSED = [
    "2 to 5.5",
    "[2, 5.5]",
    '{"time": [2, 5.5]} seconds',
    '{"time": [5.5, 2]}',
    '{"time": [2]}',
    '{"time": [2, 4, 5]}',
    '{"time": "2-5"}',
    '{"time": ["2", "5"]}',
    '{"time": [true, 5]}',
    '{"time": [null, 5]}',
    '{"time": [[2, 5], [7, 8]]}',
    '{"time": {"start": 2, "end": 5}}',
    '{"start": 2, "end": 5}',
    '{"time": [2, 5], "label": "a"}',
    '{"time": [2, 5], "time": [7, 9]}',
    '{"time": [NaN, 5]}',
    '{"time": [2, Infinity]}',
    '{"time": [2, 1e309]}',
    '{"time": [2, ' + "9" * 400 + "]}",
    '{"time": [-1, 5]}',
    '{"time": [2, 32.5]}',
    '{"time": [\uff12, 5]}',
    '{"time": [2, \u22125]}',
    '{"time": [0:02, 0:05]}',
    "[]",
    "[[[[",
    "[" * 100_000,
    "x" * 10_000,
]


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("answers", [SPAN, SPANS], ids=["one", "several"])
def test_anything_else_is_unparsed(answers: SpanAnswer, text: str) -> None:
    assert isinstance(answers.read(text, ONE, QWEN3), Unparsed)


def test_several_spans_are_read_in_their_order() -> None:
    text = '[{"time": [8, 10]}, {"time": [2, 4]}]'
    assert SPANS.read(text, TWO, QWEN3) == Spans((span(8, 10), span(2, 4)))
    assert isinstance(SPAN.read(text, ONE, QWEN3), Unparsed)
    assert SPANS.read('{"time": [8, 10]}', TWO, QWEN3) == Spans((span(8, 10),))


@pytest.mark.parametrize(
    "text",
    [
        '[{"time": [2, 4]}, {"time": [2, 4]}]',
        '[{"time": [2, 4]}, {"time": [2.0, 4.00]}]',
        json.dumps([{"time": [i, i + 1]} for i in range(MOST_SPANS + 1)]),
        '[{"time": [2, 4]}, {"time": [9, 8]}]',
    ],
    ids=["twice", "twice in other digits", "too many", "one reversed"],
)
def test_impossible_lists(text: str) -> None:
    assert isinstance(SPANS.read(text, TWO, QWEN3), Unparsed)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("answers", "row"), [(SPAN, ONE), (SPANS, TWO)], ids=["one", "several"])
def test_gold_is_written_alike_for_every_family(answers: SpanAnswer, row: Sample, convention: str) -> None:
    family = CONVENTIONS[convention]
    text = answers.render(row, family)
    assert text == answers.render(row, QWEN3)
    assert answers.read(text, row, family) == row.gold


def test_whole_seconds_are_written_without_decimals() -> None:
    assert SPAN.render(sample(span(10, 20)), QWEN3) == '{"time": [10, 20]}'
    assert SPAN.render(sample(span(0, 0.25)), QWEN3) == '{"time": [0, 0.25]}'


@given(st.floats(0, CLIP.duration + OVERHANG), st.floats(0, CLIP.duration + OVERHANG))
def test_gold_comes_back_within_the_rounding(a: float, b: float) -> None:
    row = sample(span(min(a, b), max(a, b)))
    read = SPAN.read(SPAN.render(row, QWEN3), row, QWEN3)
    assert isinstance(read, Span)
    assert abs(read.start - min(a, b)) <= 0.005 + 1e-9
    assert abs(read.end - max(a, b)) <= 0.005 + 1e-9


@pytest.mark.parametrize(("answers", "row"), [(SPAN, ONE), (SPANS, TWO)], ids=["one", "several"])
def test_attacks_are_guesses_or_unparsed(answers: SpanAnswer, row: Sample) -> None:
    attacks = answers.attacks(row, QWEN3)
    assert {"the whole clip", "a grid of guesses", "gold three times", "start and end swapped"} <= {
        attack.name for attack in attacks
    }
    for attack in attacks:
        assert isinstance(answers.read(attack.text, row, QWEN3), Unparsed) != attack.guess
