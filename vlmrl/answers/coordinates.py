"""Point and box answers: typed answer -> text in the family's convention, and text -> typed answer.

One strict rule set for training, evaluation and data checks:

| completion                                            | result                     |
|-------------------------------------------------------|----------------------------|
| one value in the declared notation                    | the answer                 |
| a JSON list with exactly one such object, or a fence  | the answer                 |
| empty, other text, text around the value              | Unparsed                   |
| several values, a key given twice, an unknown key     | Unparsed                   |
| wrong number of coordinates, a boolean, a string      | Unparsed                   |
| NaN, Infinity, a coordinate outside the picture       | Unparsed                   |
| a box with swapped corners                            | Unparsed                   |
| a box without area                                    | a box (its IoU is 0)       |
| decimals                                              | the answer, not rounded    |
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from vlmrl.answers.completion import answer_block, parse_json
from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, Frame, FrameError, ImageRecord, Point, Unit
from vlmrl.types import PromptMode, Unparsed

NUMBER = r"\s*([-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*"
PAIR = rf"\({NUMBER},{NUMBER}\)"
NAME = r"(?:<\|object_ref_start\|>[^<]*<\|object_ref_end\|>\s*)?"
QWEN2_POINT = re.compile(rf"{NAME}<\|box_start\|>{PAIR}<\|box_end\|>")
QWEN2_BOX = re.compile(rf"{NAME}<\|box_start\|>{PAIR},{PAIR}<\|box_end\|>")


@dataclass(frozen=True)
class CoordinateAnswer:
    """An answer made of coordinates on one picture."""

    key: str
    names: tuple[str, ...]
    pattern: re.Pattern[str]

    def request(self, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        if convention.notation == "json":
            return f'Answer with JSON only: {{"{self.key}": [{", ".join(self.names)}]}}'
        return f"Answer only with {self._box_tokens(self.names)}"

    def render(self, gold: Point | Box, convention: Convention, record: ImageRecord) -> str:
        """The text a model of this family should write for `gold`; a point answer to a box target is its centre."""
        value = gold.center if isinstance(gold, Box) and len(self.names) == 2 else gold
        numbers = convention.coordinates(value, record)
        if convention.notation == "json":
            return json.dumps({self.key: list(numbers)})
        return self._box_tokens(tuple(map(str, numbers)))

    def parse(
        self, text: str, convention: Convention, record: ImageRecord, mode: PromptMode = PromptMode.DIRECT
    ) -> Point | Box | Unparsed:
        """The answer in original pixels, or why the completion is none (rules in the module's docstring)."""
        block = answer_block(text, mode)
        if isinstance(block, Unparsed):
            return block
        numbers = self._from_json(block) if convention.notation == "json" else self._from_box_tokens(block)
        if isinstance(numbers, Unparsed):
            return numbers
        frame = convention.frame(record)
        for i, number in enumerate(numbers):
            limit = (frame.width, frame.height)[i % 2]
            if not 0 <= number <= limit:
                return Unparsed(f"{self.names[i]} = {number:g} is outside 0..{limit:g}")
        try:
            value = _typed(numbers, frame)
        except FrameError as error:
            return Unparsed(str(error))
        return value.to(record.frame(Unit.ORIGINAL))

    def _from_json(self, block: str) -> list[float] | Unparsed:
        value: Any = parse_json(block)
        if isinstance(value, Unparsed):
            return value
        if isinstance(value, list):
            if len(value) != 1:
                return Unparsed(f"expected one answer, found a list of {len(value)}")
            value = value[0]
        if not isinstance(value, dict) or self.key not in value or set(value) - {self.key, "label"}:
            return Unparsed(f'expected an object with the key "{self.key}"')
        numbers = value[self.key]
        is_list = isinstance(numbers, list) and len(numbers) == len(self.names)
        if not is_list or not all(type(n) in (int, float) for n in numbers):
            return Unparsed(f'"{self.key}" must be a list of {len(self.names)} numbers')
        return [float(n) if abs(n) < 1e9 else 1e9 for n in numbers]

    def _from_box_tokens(self, block: str) -> list[float] | Unparsed:
        match = self.pattern.fullmatch(block)
        if match is None:
            return Unparsed(f"expected {self._box_tokens(self.names)}")
        return [float(n) for n in match.groups()]

    @staticmethod
    def _box_tokens(values: tuple[str, ...]) -> str:
        pairs = ",".join(f"({x},{y})" for x, y in zip(values[::2], values[1::2], strict=True))
        return f"<|box_start|>{pairs}<|box_end|>"


def _typed(numbers: list[float], frame: Frame) -> Point | Box:
    if len(numbers) == 2:
        x, y = numbers
        return Point(x, y, frame)
    x1, y1, x2, y2 = numbers
    return Box(x1, y1, x2, y2, frame)


POINT = CoordinateAnswer("point_2d", ("x", "y"), QWEN2_POINT)
BOX = CoordinateAnswer("bbox_2d", ("x1", "y1", "x2", "y2"), QWEN2_BOX)
