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
| negative coordinates, where a row may be refused      | a refusal                  |
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import parse_json
from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, Frame, FrameError, ImageRecord, Point, Unit
from vlmrl.types import Answer, Refusal, Sample, Unparsed

GRID = 10
"""Boxes per side of the grid that an attack covers the picture with."""
NUMBER = r"\s*([-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*"


@dataclass(frozen=True)
class Markup:
    """A notation other than JSON: what stands around the numbers, `{}`, of a point and of a box."""

    point: str
    box: str
    name: str
    """Regular expression of the target's name, which a model may write first."""

    def template(self, count: int) -> str:
        """The notation of an answer of two or four numbers."""
        return self.point if count == 2 else self.box

    def pattern(self, count: int) -> str:
        """Regular expression of an answer, with a group for each number. Space around a number is free."""
        template = re.escape(self.template(count)).replace(r"\ ", "").replace(r"\{\}", NUMBER)
        return rf"(?:{self.name}\s*)?{template}"

    def parse(self, block: str, count: int) -> list[float] | None:
        """The numbers, or None if the text is not in this notation."""
        match = re.fullmatch(self.pattern(count), block)
        return match and [float(number) for number in match.groups()]


MARKUP = {
    "qwen2_box_tokens": Markup(
        point="<|box_start|>({},{})<|box_end|>",
        box="<|box_start|>({},{}),({},{})<|box_end|>",
        name=r"<\|object_ref_start\|>[^<]*<\|object_ref_end\|>",
    ),
    "internvl_brackets": Markup(point="[[{}, {}]]", box="<box>[[{}, {}, {}, {}]]</box>", name=r"<ref>[^<]*</ref>"),
}
"""How the notations of `Convention` that are not JSON are written."""


@dataclass(frozen=True)
class CoordinateAnswer(AnswerType):
    """An answer made of coordinates on the picture that is asked about."""

    key: str
    names: tuple[str, ...]
    refusable: bool = False
    """Whether the model is told how to say that what is asked for is not there: with negative coordinates."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        written = self._written(self.names, convention)
        refusal = f", or {self._refusal(convention)} if it is not in the picture" if self.refusable else ""
        return f"Answer {'with JSON only:' if convention.notation == 'json' else 'only with'} {written}{refusal}"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The text a model of this family should write for gold; a point answer to a box target is its centre."""
        return self._rendered(sample.gold, convention, sample.asked)

    def read(self, block: str, sample: Sample, convention: Convention) -> Point | Box | Refusal | Unparsed:
        """The answer in original pixels, or why the completion is none (rules in the module's docstring)."""
        numbers = self._from_json(block) if convention.notation == "json" else self._from_markup(block, convention)
        if isinstance(numbers, Unparsed):
            return numbers
        if self.refusable and all(number < 0 for number in numbers):
            return Refusal()
        return placed(numbers, sample.asked, convention)

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Guesses that do not look at the picture, and ways to answer several things at once."""
        record = sample.asked
        original = record.frame(Unit.ORIGINAL)
        whole = Box(0.0, 0.0, original.width, original.height, original)
        right = self.render(sample, convention)
        value = None if isinstance(sample.gold, Refusal) else self.asked(sample.gold)
        attacks = [
            Attack(
                "the picture's centre" if len(self.names) == 2 else "the whole picture",
                self._rendered(whole, convention, record),
                guess=True,
                blind=True,
            ),
            Attack("a grid of guesses", self._several(self._grid(original, convention, record), convention)),
            Attack("gold three times", self._several([right] * 3, convention)),
            Attack("the format without numbers", self._written(self.names, convention), blind=True),
        ]
        if isinstance(value, Box):
            x1, y1, x2, y2 = convention.coordinates(value, record)
            attacks.append(Attack("swapped corners", self._written((x2, y2, x1, y1), convention)))
        if self.refusable:
            attacks.append(Attack("a refusal", self._refusal(convention), guess=True, blind=True))
        return attacks

    def _rendered(self, value: Answer, convention: Convention, record: ImageRecord) -> str:
        if isinstance(value, Refusal):
            return self._refusal(convention)
        return self._written(convention.coordinates(self.asked(value), record), convention)

    def _refusal(self, convention: Convention) -> str:
        return self._written([-1] * len(self.names), convention)

    def asked(self, gold: Answer) -> Point | Box:
        """The gold answer in this form: a point answer to a box target is its centre."""
        if not isinstance(gold, Point | Box):
            raise TypeError(f"a {self.key} answer needs a point or a box as gold, not {type(gold).__name__}")
        return gold.center if isinstance(gold, Box) and len(self.names) == 2 else gold

    def _grid(self, original: Frame, convention: Convention, record: ImageRecord) -> list[str]:
        width, height = original.width / GRID, original.height / GRID
        corners = [(column * width, row * height) for row in range(GRID) for column in range(GRID)]
        boxes = [Box(x, y, x + width, y + height, original) for x, y in corners]
        return [self._rendered(box, convention, record) for box in boxes]

    def _written(self, values: Sequence[object], convention: Convention) -> str:
        if convention.notation == "json":
            return f'{{"{self.key}": [{", ".join(map(str, values))}]}}'
        return self._markup(values, convention)

    @staticmethod
    def _several(answers: Sequence[str], convention: Convention) -> str:
        return f"[{', '.join(answers)}]" if convention.notation == "json" else "".join(answers)

    def _from_json(self, block: str) -> list[float] | Unparsed:
        value: Any = parse_json(block)
        if isinstance(value, Unparsed):
            return value
        if isinstance(value, list):
            if len(value) != 1:
                return Unparsed(f"expected one answer, found a list of {len(value)}")
            value = value[0]
        return self.numbers(value)

    def numbers(self, value: Any) -> list[float] | Unparsed:
        """The coordinates of one answer as a JSON object."""
        if not isinstance(value, dict) or self.key not in value or set(value) - {self.key, "label"}:
            return Unparsed(f'expected an object with the key "{self.key}"')
        return listed_numbers(value[self.key], self.key, len(self.names))

    def _from_markup(self, block: str, convention: Convention) -> list[float] | Unparsed:
        numbers = MARKUP[convention.notation].parse(block, len(self.names))
        return Unparsed(f"expected {self._markup(self.names, convention)}") if numbers is None else numbers

    @staticmethod
    def _markup(values: Sequence[object], convention: Convention) -> str:
        return MARKUP[convention.notation].template(len(values)).format(*values)


def listed_numbers(value: Any, key: str, count: int) -> list[float] | Unparsed:
    """The coordinates in the field `key` of a JSON answer."""
    if not isinstance(value, list) or len(value) != count or not all(type(n) in (int, float) for n in value):
        return Unparsed(f'"{key}" must be a list of {count} numbers')
    return [float(n) if abs(n) < 1e9 else 1e9 for n in value]


def placed(numbers: list[float], record: ImageRecord, convention: Convention) -> Point | Box | Unparsed:
    """The point (two numbers) or box (four) a family writes so, in original pixels; no answer if off the picture."""
    frame = convention.frame(record)
    names = POINT.names if len(numbers) == 2 else BOX.names
    for i, number in enumerate(numbers):
        limit = (frame.width, frame.height)[i % 2]
        if not 0 <= number <= limit:
            return Unparsed(f"{names[i]} = {number:g} is outside 0..{limit:g}")
    try:
        value = _typed(numbers, frame)
    except FrameError as error:
        return Unparsed(str(error))
    return value.to(record.frame(Unit.ORIGINAL))


def _typed(numbers: list[float], frame: Frame) -> Point | Box:
    if len(numbers) == 2:
        x, y = numbers
        return Point(x, y, frame)
    x1, y1, x2, y2 = numbers
    return Box(x1, y1, x2, y2, frame)


POINT = CoordinateAnswer("point_2d", ("x", "y"))
BOX = CoordinateAnswer("bbox_2d", ("x1", "y1", "x2", "y2"))
