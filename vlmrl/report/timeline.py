"""A clip as a time line: key frames, the gold span, and every answered span in a row of its own."""

from collections.abc import Callable, Sequence
from math import ceil

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
FRAMES_IN_A_ROW = 4
"""Key frames that are wider than high; of others twice as many."""
FRAME_GAP = 3
FRAME_HEIGHT = 120
"""Most height of a key frame."""
CAPTION = 15
"""Room for the time below a key frame."""
TICK = 5
"""Length of the mark on the axis where a key frame is shown."""
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
    bottom = rows + ROW * (len(answers) or bool(gold)) + 4
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
    """The key frames with their times, a tick on the axis for each, and where the axis below them is."""
    if size is None or not video.frames:
        return [], 4.0
    columns = FRAMES_IN_A_ROW if size.width > size.height else 2 * FRAMES_IN_A_ROW
    cell = (WIDTH - LEFT - 2) / columns
    scale = min((cell - FRAME_GAP) / size.width, FRAME_HEIGHT / size.height)
    width, height = size.width * scale, size.height * scale
    axis = ceil(len(video.frames) / columns) * (height + CAPTION) + TICK
    drawn = []
    for index, (name, second) in enumerate(zip(video.frames, video.seconds, strict=True)):
        row, column = divmod(index, columns)
        left, top = LEFT + cell * column, row * (height + CAPTION)
        outline = element("rect", class_="frame", width=size.width, height=size.height, stroke_width=1 / scale)
        place = f"translate({left:.2f} {top:.2f}) scale({scale:.4f})"
        drawn.append(element("g", shown(name, size), outline, transform=place))
        middle, bottom = left + width / 2, top + height
        drawn.append(element("text", f"{fixed(second, 1)} s", class_="time frame-time", x=middle, y=bottom + 11))
        drawn.append(element("path", class_="axis", d=f"M{x(second):.2f} {axis:.2f}v{-TICK}"))
    return drawn, axis
