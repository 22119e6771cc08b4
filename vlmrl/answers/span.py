"""Time span answers, in seconds from the start of the clip: typed answer -> text, and text -> typed answer.

The notation is the same for every family: {"time": [start, end]}, and a JSON list of such objects where several spans
are asked for. One strict rule set for training, evaluation and data checks:

| completion                                             | one span asked for | several asked for  |
|--------------------------------------------------------|--------------------|--------------------|
| one object, bare or as a list of one, or in a fence    | the span           | one span           |
| a list of several objects                              | Unparsed           | the spans, in order |
| empty, other text, text around the value, no object    | Unparsed           | Unparsed           |
| more than `MOST_SPANS` objects, one span twice         | Unparsed           | Unparsed           |
| a key given twice, an unknown key, not two numbers     | Unparsed           | Unparsed           |
| NaN, Infinity, a time before 0                         | Unparsed           | Unparsed           |
| a time more than `OVERHANG` seconds after the clip     | Unparsed           | Unparsed           |
| a span that ends before it starts                      | Unparsed           | Unparsed           |
| a span without length                                  | a span (tIoU is 0) | a span (tIoU is 0) |
| decimals, an end up to `OVERHANG` after the clip       | as written         | as written         |

Answers are never cut to the clip, and neither are published targets: the official scorers compare both as they stand.
"""

from dataclasses import dataclass
from typing import Any

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import parse_json
from vlmrl.answers.convention import Convention
from vlmrl.geometry import Clip, Span
from vlmrl.types import Answer, Sample, Spans, Unparsed

KEY = "time"
OVERHANG = 2.0
"""Seconds that a span may reach beyond its clip. In the test set of Charades-STA 562 of 3,720 windows end after the
stated duration, by up to 1.5 s."""
MOST_SPANS = 40
"""Most spans of one answer. QVHighlights marks up to 25 windows of a clip, in steps that leave room for 38."""
DECIMALS = 2
"""Decimals that times are written with, as in VideoChat-R1; zeros at the end are left out."""
GRID = 10
"""Spans of the grid that an attack covers the clip with."""


def written(span: Span) -> str:
    """The notation of a span."""
    return f'{{"{KEY}": [{_seconds(span.start)}, {_seconds(span.end)}]}}'


def _seconds(value: float) -> str:
    text = f"{value:.{DECIMALS}f}"
    return text.rstrip("0").rstrip(".")


def read_span(value: Any, clip: Clip) -> Span | Unparsed:
    """The span of one parsed JSON object, or why it is none."""
    if not isinstance(value, dict) or set(value) != {KEY}:
        return Unparsed(f'expected an object with the key "{KEY}"')
    times = value[KEY]
    if not isinstance(times, list) or len(times) != 2 or not all(type(time) in (int, float) for time in times):
        return Unparsed(f'"{KEY}" must be a list of two numbers')
    start, end = times
    last = clip.duration + OVERHANG
    # comparing before converting: a whole number may be too large for a float
    if not all(0 <= time <= last for time in times):
        return Unparsed(f"times must lie in 0..{last:g} s")
    if start > end:
        return Unparsed("the span ends before it starts")
    return Span(float(start), float(end), clip)


def gold_spans(gold: Answer) -> tuple[Span, ...]:
    """The target spans of a row. Raises TypeError for a target of another kind."""
    match gold:
        case Span():
            return (gold,)
        case Spans(items):
            return items
    raise TypeError(f"a span answer needs a span or several as gold, not {type(gold).__name__}")


@dataclass(frozen=True)
class SpanAnswer(AnswerType):
    """One span of the row's first clip, or several of them."""

    several: bool = False

    def request(self, sample: Sample, convention: Convention) -> str:
        one = f'{{"{KEY}": [start, end]}}'
        return f"Answer with JSON only, in seconds: {f'[{one}, ...]' if self.several else one}"

    def render(self, sample: Sample, convention: Convention) -> str:
        spans = [written(span) for span in gold_spans(sample.gold)]
        return _listed(spans) if self.several else spans[0]

    def read(self, block: str, sample: Sample, convention: Convention) -> Span | Spans | Unparsed:
        """The answer in seconds, or why the completion is none (rules in the module's docstring)."""
        value: Any = parse_json(block)
        if isinstance(value, Unparsed):
            return value
        values = value if isinstance(value, list) else [value]
        most = MOST_SPANS if self.several else 1
        if not 1 <= len(values) <= most:
            return Unparsed(f"expected {f'1 to {most} spans' if self.several else 'one span'}, found {len(values)}")
        spans = []
        for item in values:
            span = read_span(item, sample.clips[0])
            if isinstance(span, Unparsed):
                return span
            spans.append(span)
        if len(set(spans)) < len(spans):
            return Unparsed("the same span is named twice")
        return Spans(tuple(spans)) if self.several else spans[0]

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Guesses that do not look at the video, and ways to answer several times."""
        clip = sample.clips[0]
        gold = [written(span) for span in gold_spans(sample.gold)]
        step = clip.duration / GRID
        grid = [written(Span(i * step, (i + 1) * step, clip)) for i in range(GRID)]
        first = gold_spans(sample.gold)[0]
        attacks = [
            Attack("the whole clip", written(Span(0.0, clip.duration, clip)), guess=True, blind=True),
            Attack(
                "the middle half", written(Span(clip.duration / 4, clip.duration * 3 / 4, clip)), guess=True, blind=True
            ),
            Attack("a grid of guesses", _listed(grid), guess=self.several),
            Attack("gold three times", _listed(gold * 3)),
            Attack("the format without numbers", f'{{"{KEY}": [start, end]}}', blind=True),
        ]
        if first.length > 0:
            reversed_gold = f'{{"{KEY}": [{_seconds(first.end)}, {_seconds(first.start)}]}}'
            attacks.append(Attack("start and end swapped", reversed_gold))
        return attacks


def _listed(spans: list[str]) -> str:
    return f"[{', '.join(spans)}]"


SPAN = SpanAnswer()
SPANS = SpanAnswer(several=True)
