"""Gold and answers drawn into a picture's pixels, for programs that show no page: green is gold, blue hits, red misses.

The marks are those of the page (`overlay`): a box is outlined, its centre and a point marked, answers numbered from 1.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from vlmrl.geometry import Box, Clip, ImageRecord, Point
from vlmrl.media.pictures import open_picture
from vlmrl.report.overlay import MAX_ENLARGEMENT, Kind, Shape, Target, shapes
from vlmrl.report.timeline import kind_of, spans_of
from vlmrl.types import Answer, Group, Unparsed

MAX_SIDE = 640
"""Of one drawn picture."""
GAP = 8
"""Between the pictures of a row."""
LANE = 18
"""Height of one answer on a time line."""
FONT_SIZE = 13
GOLD = "#009e73"
COLOURS: dict[Kind, str] = {"hit": "#0072b2", "miss": "#d55e00", "answer": "#0072b2"}
HALO = "white"

Numbered = Sequence[tuple[int, Answer]]


def drawn_group(group: Group) -> Image.Image | None:
    """A row's pictures side by side, or the time lines of its videos, with gold and every answer; None without any."""
    answers = [
        (number, rollout.answer)
        for number, rollout in enumerate(group.rollouts, start=1)
        if not isinstance(rollout.answer, Unparsed)
    ]
    sample = group.sample
    box = sample.extra.get("target")
    target = Target(sample.gold, box if isinstance(box, Box) else None)
    parts = [
        drawn(open_picture(source, f"row {sample.id}, image {record.index}"), record, target, answers)
        for source, record in zip(sample.images, sample.records, strict=True)
    ]
    parts += [time_line(clip, sample.gold, answers) for clip in sample.clips]
    return _side_by_side(parts) if parts else None


def drawn(picture: Image.Image, record: ImageRecord, target: Target, answers: Numbered) -> Image.Image:
    """One picture, at most `MAX_SIDE` pixels long, with what of the target and the numbered answers lies on it."""
    width, height = record.original.width, record.original.height
    scale = min(MAX_SIDE / max(width, height), MAX_ENLARGEMENT)
    canvas = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(canvas)
    for shape in _on(record, target.shapes):
        _outline(draw, shape.place, scale, GOLD, width=3)
    for number, answer in answers:
        for shape in _on(record, shapes(answer)):
            colour = COLOURS[target.kind_of(shape)]
            if isinstance(shape.place, Box):
                _outline(draw, shape.place, scale, colour, width=2)
            position = shape.place.center if isinstance(shape.place, Box) else shape.place
            x = min(max(position.x * scale, 4), canvas.width - 4)
            y = min(max(position.y * scale, 4), canvas.height - 4)
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=HALO)
            _number(draw, (x + 6, y - 6), number, colour)
    return canvas


def time_line(clip: Clip, gold: Answer, answers: Numbered) -> Image.Image:
    """The clip from left to right: gold's spans in the first lane, each answer's in one of its own."""
    lanes = [(0, gold), *answers]
    canvas = Image.new("RGB", (MAX_SIDE, LANE * len(lanes) + GAP), HALO)
    draw = ImageDraw.Draw(canvas)
    for lane, (number, answer) in enumerate(lanes):
        top = GAP // 2 + lane * LANE
        colour = COLOURS[kind_of(answer, gold)] if number else GOLD
        for span in spans_of(answer):
            if span.clip == clip:
                left, right = (min(max(at / clip.duration, 0), 1) * (MAX_SIDE - 1) for at in (span.start, span.end))
                draw.rectangle((left, top + 2, max(right, left + 1), top + LANE - 3), fill=colour)
        if number:
            _number(draw, (2, top), number, colour)
    return canvas


def _on(record: ImageRecord, found: Sequence[Shape]) -> list[Shape]:
    return [shape for shape in found if shape.place.frame.image == record.index]


def _outline(draw: ImageDraw.ImageDraw, shape: Point | Box, scale: float, colour: str, width: int) -> None:
    if isinstance(shape, Point):
        x, y = shape.x * scale, shape.y * scale
        draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=colour, width=width)
        return
    corners = (shape.x1 * scale, shape.y1 * scale, shape.x2 * scale, shape.y2 * scale)
    draw.rectangle(corners, outline=HALO, width=width + 2)
    draw.rectangle(corners, outline=colour, width=width)


def _number(draw: ImageDraw.ImageDraw, place: tuple[float, float], number: int, colour: str) -> None:
    font = ImageFont.load_default(FONT_SIZE)
    draw.text(place, str(number), fill=colour, font=font, stroke_width=2, stroke_fill=HALO)


def _side_by_side(parts: Sequence[Image.Image]) -> Image.Image:
    if len(parts) == 1:
        return parts[0]
    width = sum(part.width for part in parts) + GAP * (len(parts) - 1)
    joined = Image.new("RGB", (width, max(part.height for part in parts)), HALO)
    left = 0
    for part in parts:
        joined.paste(part, (left, 0))
        left += part.width + GAP
    return joined
