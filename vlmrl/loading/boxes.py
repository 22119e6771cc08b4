"""Boxes of data files: which form the four numbers have is stated by the schema, never guessed from their size."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit

EDGE_SLACK = 1.0
"""Pixels by which a published box may reach over the picture's edge; it is cut there. ScreenSpot has such rows (in
v2's mobile file, one box ends at 2361 of 2360), and no answer on the picture is scored differently for it."""
SMALLEST_SIDE = 0.999
"""A target narrower than one pixel (with room for rounded fractions) cannot be hit; fractions look so when they are
taken for pixels."""


class BoxOrder(Enum):
    """What the four numbers of a box are."""

    CORNERS = "x1, y1, x2, y2"
    CORNER_AND_SIZE = "x, y, width, height"


@dataclass(frozen=True)
class BoxForm:
    """How a schema writes its boxes."""

    order: BoxOrder
    unit: Unit

    def __str__(self) -> str:
        return f"{self.order.value} in {'pixels' if self.unit is Unit.ORIGINAL else self.unit.value}"


PIXEL_CORNERS = BoxForm(BoxOrder.CORNERS, Unit.ORIGINAL)
PIXEL_CORNER_AND_SIZE = BoxForm(BoxOrder.CORNER_AND_SIZE, Unit.ORIGINAL)
FRACTION_CORNERS = BoxForm(BoxOrder.CORNERS, Unit.NORM1)
THOUSANDTH_CORNERS = BoxForm(BoxOrder.CORNERS, Unit.NORM1000)
BOX_FORMS = (PIXEL_CORNERS, PIXEL_CORNER_AND_SIZE, FRACTION_CORNERS, THOUSANDTH_CORNERS)


def target_box(numbers: Sequence[float], form: BoxForm, record: ImageRecord, schema: str, where: str) -> Box:
    """The box in original pixels. `where` names file, row and field.

    Raises UserError for a box without area, smaller than a pixel, or off its picture, naming the form it would fit.
    """
    box = _corners(numbers, form, record)
    if problem := _misfit(box, record.original):
        fitting = [
            other
            for other in BOX_FORMS
            if other != form and not _misfit(_corners(numbers, other, record), record.original)
        ]
        fix = "correct the box or drop the row"
        if fitting:
            fix = f"it would fit as {' or as '.join(map(str, fitting))}: if that is what the file holds, convert it"
        given = [int(n) if n.is_integer() else n for n in numbers]
        raise UserError(
            f"{where}: the box {given} ({form}, by the schema {schema}) {problem} of {record.original}; {fix}"
        )
    x1, y1, x2, y2 = box
    return Box(
        max(x1, 0.0),
        max(y1, 0.0),
        min(x2, float(record.original.width)),
        min(y2, float(record.original.height)),
        record.frame(Unit.ORIGINAL),
    )


def _corners(numbers: Sequence[float], form: BoxForm, record: ImageRecord) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in original pixels; not a Box yet, as the corners may be swapped."""
    x1, y1, x2, y2 = numbers
    if form.order is BoxOrder.CORNER_AND_SIZE:
        x2, y2 = x1 + x2, y1 + y2
    frame, size = record.frame(form.unit), record.original
    across, down = size.width / frame.width, size.height / frame.height
    return x1 * across, y1 * down, x2 * across, y2 * down


def _misfit(corners: tuple[float, float, float, float], size: Size) -> str | None:
    """What keeps a box from being a target on its picture, if anything does."""
    x1, y1, x2, y2 = corners
    if x2 <= x1 or y2 <= y1:
        return "has no area on a picture"
    if min(x1, y1) < -EDGE_SLACK or x2 > size.width + EDGE_SLACK or y2 > size.height + EDGE_SLACK:
        return "lies outside its picture"
    if min(x2, size.width) - max(x1, 0) < SMALLEST_SIDE or min(y2, size.height) - max(y1, 0) < SMALLEST_SIDE:
        return "is smaller than one pixel on its picture"
    return None
