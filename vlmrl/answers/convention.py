"""How a model family writes coordinates; set by the family's adapter, never guessed from the size of a number."""

from dataclasses import dataclass
from typing import Literal

from vlmrl.geometry import Box, Frame, ImageRecord, Point, Unit


@dataclass(frozen=True)
class Convention:
    """The coordinate frame and the notation of a family's answers."""

    unit: Unit
    """Frame the family's numbers are in."""
    notation: Literal["json", "qwen2_box_tokens", "internvl_brackets"]
    """json: {"point_2d": [x, y]}; qwen2_box_tokens: <|box_start|>(x,y)<|box_end|>; internvl_brackets: [[x, y]], with
    <box>...</box> around a box."""

    def frame(self, record: ImageRecord) -> Frame:
        """The frame in which this family answers about one picture."""
        return record.frame(self.unit)

    def coordinates(self, value: Point | Box, record: ImageRecord) -> tuple[int, ...]:
        """Integer coordinates as the family writes them: (x, y) or (x1, y1, x2, y2).

        Rounded to the nearest integer. 0-1000 values stay within 0..1000 and model pixels within 0..side-1, as in the
        Qwen team's own conversion of training targets (QwenLM/Qwen3-VL, process_bbox.ipynb).
        """
        frame = self.frame(record)
        moved = value.to(frame)
        numbers = (moved.x, moved.y) if isinstance(moved, Point) else (moved.x1, moved.y1, moved.x2, moved.y2)
        last = 1 if self.unit is Unit.MODEL else 0
        limits = (int(frame.width) - last, int(frame.height) - last)
        return tuple(min(max(round(n), 0), limits[i % 2]) for i, n in enumerate(numbers))
