"""A clip as a time line: key frames, the gold span, and every answered span in a row of its own."""

from collections.abc import Callable, Sequence

from vlmrl.geometry import Clip, Size, Span
from vlmrl.report.logged import LoggedRollout, LoggedVideo
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import fixed
from vlmrl.report.overlay import Kind, Target
from vlmrl.report.pictures import shown
from vlmrl.types import Answer, Spans, Unparsed

Scale = Callable[[float], float]
"""Seconds to page pixels."""

WIDTH = 480
"""Page pixels."""
LEFT = 22
"""Room for the numbers of the answers."""
FRAME_GAP = 3
FRAME_HEIGHT = 90
"""Most height of a key frame."""
JOIN = 14
"""Between key frames and axis, where lines lead from each frame to its time."""
ROW = 14
LEAST_WIDTH = 2
"""A span without length still shows."""
SAME = 0.5
"""From this temporal IoU on an answer is drawn as a hit."""


def spans_of(answer: Answer) -> tuple[Span, ...]:
    """The spans of an answer; none for one of another kind."""
    match answer:
        case Span():
            return (answer,)
        case Spans(items):
            return items
    return ()


def kind_of(answer: Answer, gold: Answer) -> Kind:
    """Whether every answered span has a temporal IoU of `SAME` or more with a gold one."""
    target = spans_of(gold)
    hit = all(any(span.tiou(other) >= SAME for other in target if other.clip == span.clip) for span in spans_of(answer))
    return "hit" if target and hit else "miss"


def timeline(
    video: LoggedVideo,
    size: Size | None,
    target: Target,
    rollouts: Sequence[LoggedRollout],
    *,
    numbered: bool,
) -> Html:
    """One clip. `size` is that of its key frames as kept; None where they cannot be shown."""
    answers = [
        (number, rollout.answer, spans)
        for number, rollout in enumerate(rollouts, start=1)
        if not isinstance(rollout.answer, Unparsed) and (spans := _on(video.clip, rollout.answer))
    ]
    gold = _on(video.clip, target.gold)
    end = max(video.clip.duration, *(span.end for _, _, spans in answers for span in spans), *(s.end for s in gold), 0)

    def x(second: float) -> float:
        return LEFT + (WIDTH - LEFT - 2) * second / end

    frames, axis = _frames(video, size, x)
    rows = axis + 6
    bottom = rows + ROW * max(1, len(answers)) + 4
    layers = [*frames, element("line", class_="axis", x1=LEFT, x2=WIDTH - 2, y1=axis, y2=axis)]
    layers += [
        element("rect", class_="gold-band", x=x(s.start), y=axis, width=_width(x, s), height=bottom - axis)
        for s in gold
    ]
    for row, (number, answer, spans) in enumerate(answers):
        top = rows + ROW * row
        kind = kind_of(answer, target.gold)
        bars = [
            element("rect", class_=f"{kind} bar", x=x(s.start), y=top + 2, width=_width(x, s), height=ROW - 5, rx=2)
            for s in spans
        ]
        name = element("text", str(number), class_="tick", x=LEFT - 6, y=top + ROW - 4) if numbered else None
        layers.append(element("g", name, *bars, data_answers=str(number)))
    for second in (0.0, end):
        anchor = "start" if second == 0 else "end"
        layers.append(
            element("text", f"{fixed(second, 1)} s", class_="time", x=x(second), y=bottom + 11, text_anchor=anchor)
        )
    return element(
        "svg",
        *layers,
        class_="timeline",
        viewBox=f"0 0 {WIDTH} {bottom + 14:.2f}",
        width=WIDTH,
        height=round(bottom + 14),
        role="img",
        aria_label=f"Clip of {fixed(video.clip.duration, 1)} seconds with the gold answer and {len(answers)} of "
        f"{len(rollouts)} answers drawn",
    )


def _on(clip: Clip, answer: Answer) -> list[Span]:
    return [span for span in spans_of(answer) if span.clip.video == clip.video]


def _width(x: Scale, span: Span) -> float:
    return max(x(span.end) - x(span.start), LEAST_WIDTH)


def _frames(video: LoggedVideo, size: Size | None, x: Scale) -> tuple[list[Html], float]:
    """The strip of key frames with a line from each to its time, and where the axis below is."""
    if size is None or not video.frames:
        return [], 4.0
    cell = (WIDTH - LEFT - 2) / len(video.frames)
    scale = min((cell - FRAME_GAP) / size.width, FRAME_HEIGHT / size.height)
    width, height = size.width * scale, size.height * scale
    drawn = []
    for index, (name, second) in enumerate(zip(video.frames, video.seconds, strict=True)):
        middle = LEFT + cell * (index + 0.5)
        place = f"translate({middle - width / 2:.2f} 0) scale({scale:.4f})"
        outline = element("rect", class_="frame", width=size.width, height=size.height, stroke_width=1 / scale)
        title = element("title", f"{fixed(second, 2)} s")
        drawn.append(element("g", title, shown(name, size), outline, transform=place))
        path = f"M{middle:.2f} {height + 1:.2f}V{height + 4:.2f}L{x(second):.2f} {height + JOIN:.2f}"
        drawn.append(element("path", class_="lead", d=path))
    return drawn, height + JOIN
