"""Labelled box lists: typed answer -> text in the family's convention, and text -> typed answer.

json: `[{"bbox_2d": [x1, y1, x2, y2], "label": "cat"}, ...]`. qwen2_box_tokens: `<|object_ref_start|>cat
<|object_ref_end|><|box_start|>(x1,y1),(x2,y2)<|box_end|>` without the line break, repeated. internvl_brackets:
`<ref>cat</ref><box>[[x1, y1, x2, y2], ...]</box>`, repeated.

One strict rule set for training, evaluation and data checks:

| completion                                              | result                                                    |
|---------------------------------------------------------|-----------------------------------------------------------|
| a list in the declared notation (JSON: one fence)       | the boxes, in the order they were written                 |
| `[]`; in the two other notations `none`                 | no boxes, which is an answer                              |
| several boxes after one label in the other notations    | a box of that label each                                  |
| empty, other text, text around the list, `null`         | Unparsed                                                  |
| an object outside a list, a list in a list              | Unparsed                                                  |
| a missing key, an unknown key, one twice                | Unparsed                                                  |
| one box with swapped corners, off the picture, with NaN | the whole answer is Unparsed                              |
| an empty label, a label that is no text                 | Unparsed                                                  |
| more than MAX_BOXES boxes                               | Unparsed                                                  |
| a box without area                                      | a box (its IoU is 0)                                      |
| the same box twice                                      | two boxes: matching pays one and counts both              |
| an asked class in other letter case or spacing          | a box of that class                                       |
| a label that was not asked for                          | a box of that label: it matches nothing and is counted    |
| decimals                                                | the answer, not rounded                                   |

Unless a task asks for confidences, boxes carry no score, and a model ranks them by their order, which is the order that
average precision takes them in (`vlmrl.rewards.coco`). Confidences are asked for and read as JSON in every family,
`{"bbox_2d": [...], "label": "cat", "confidence": 0.87}`: the other notations have no place for them. One that is
missing or not from 0 to 1 makes the answer Unparsed.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from typing import Any

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import parse_json
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, GRID, NUMBER, listed_numbers, placed
from vlmrl.geometry import Box, ImageRecord, Unit
from vlmrl.types import Boxes, LabelledBox, Sample, Unparsed

MAX_BOXES = 1000
"""Boxes of the longest answer. COCO's pictures hold up to 93 objects and crowded data sets several hundred; matching
costs time with the cube of the number, so that a longer answer is refused instead of cut: cutting would forgive it."""
NONE = "none"
"""An answer without boxes in the notations that are not JSON."""
REPEATS = 3
"""How often an attack repeats each gold box."""

Written = tuple[str, list[float], float | None]
"""A label, four numbers and the confidence, if there is one, as a completion has them."""


@dataclass(frozen=True)
class ListMarkup:
    """A notation other than JSON for the boxes of one label; `{}` stands for the label and for the four numbers."""

    opening: str
    box: str
    separator: str
    closing: str

    def written(self, label: str, boxes: Iterable[Sequence[object]]) -> str:
        """The boxes of one label."""
        return (
            self.opening.format(label)
            + self.separator.join(self.box.format(*numbers) for numbers in boxes)
            + self.closing
        )

    def parse(self, block: str) -> list[Written] | None:
        """Labels and numbers, or None if the text is not in this notation. Space around numbers and parts is free."""
        opening, box, separator, closing = (
            re.escape(part).replace(r"\ ", "") for part in (self.opening, self.box, self.separator, self.closing)
        )
        box = box.replace(r"\{\}", NUMBER)
        unnamed = box.replace(NUMBER, NUMBER.replace("(", "(?:", 1))
        between = rf"\s*{separator}\s*" if separator else r"\s*"
        of_one_label = re.compile(
            opening.replace(r"\{\}", "([^<]+)").replace("><", r">\s*<")
            + rf"\s*({unnamed}(?:{between}{unnamed})*)\s*{closing}\s*"
        )
        written: list[Written] = []
        position = 0
        while position < len(block):
            match = of_one_label.match(block, position)
            if match is None:
                return None
            written += [(match[1], [float(n) for n in numbers], None) for numbers in re.findall(box, match[2])]
            position = match.end()
        return written


MARKUP = {
    "qwen2_box_tokens": ListMarkup(
        opening="<|object_ref_start|>{}<|object_ref_end|>",
        box="<|box_start|>({},{}),({},{})<|box_end|>",
        separator="",
        closing="",
    ),
    "internvl_brackets": ListMarkup(
        opening="<ref>{}</ref><box>[", box="[{}, {}, {}, {}]", separator=", ", closing="]</box>"
    ),
}
"""How the notations of `Convention` that are not JSON are written."""


def asked_classes(sample: Sample) -> tuple[str, ...]:
    """The classes a row asks for, from `extra["classes"]`; empty if it leaves them open."""
    return tuple(sample.extra.get("classes", ()))


def folded(label: str) -> str:
    """What two labels are compared by: letter case and spacing do not count."""
    return " ".join(label.split()).casefold()


@dataclass(frozen=True)
class BoxesAnswer(AnswerType):
    """All objects of the asked classes, each with its label. `sample.extra["classes"]` names the classes."""

    confident: bool = False
    """Whether every box has a confidence."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that asks the model for this format."""
        if self.confident:
            return (
                f"Answer with JSON only: [{_object(BOX.names, 'name', 'c')}, ...], or [] for none; c is how sure you "
                "are, from 0 to 1"
            )
        if convention.notation == "json":
            return f"Answer with JSON only: [{_object(BOX.names, 'name')}, ...], or [] for none"
        return f"Answer only with {_group('name', [BOX.names], convention)} for each object, or {NONE} for none"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The gold boxes in their order, as a model of this family should write them, with full confidence."""
        return self._rendered(_gold(sample), convention, sample.asked)

    def read(self, block: str, sample: Sample, convention: Convention) -> Boxes | Unparsed:
        """The boxes in original pixels, or why the completion is no answer (rules in the module's docstring)."""
        in_json = self.confident or convention.notation == "json"
        written = _from_json(block, self.confident) if in_json else _from_markup(block, convention)
        if isinstance(written, Unparsed):
            return written
        if len(written) > MAX_BOXES:
            return Unparsed(f"{len(written)} boxes; an answer has at most {MAX_BOXES}")
        asked = {folded(name): name for name in asked_classes(sample)}
        items = []
        for number, (label, numbers, confidence) in enumerate(written):
            box = placed(numbers, sample.asked, convention)
            if not isinstance(box, Box):
                return Unparsed(f"box {number}: {box.reason if isinstance(box, Unparsed) else 'is a point'}")
            if not folded(label):
                return Unparsed(f"box {number}: the label is empty")
            items.append(LabelledBox(asked.get(folded(label), label), box, confidence))
        return Boxes(tuple(items))

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Guesses that do not look at the picture, and ways to name one object several times."""
        gold, record = _gold(sample), sample.asked
        frame = record.frame(Unit.ORIGINAL)
        classes = asked_classes(sample) or tuple(dict.fromkeys(item.label for item in gold.items))
        whole = Box(0.0, 0.0, frame.width, frame.height, frame)
        width, height = frame.width / GRID, frame.height / GRID
        corners = [(column * width, row * height) for row in range(GRID) for column in range(GRID)]
        grid = [
            LabelledBox(label, Box(x, y, x + width, y + height, frame))
            for (x, y), label in zip(corners, cycle(classes), strict=False)
        ]

        def every_class(boxes: Sequence[Box]) -> str:
            items = [LabelledBox(label, box) for box in boxes for label in classes]
            return self._rendered(Boxes(tuple(items[:MAX_BOXES])), convention, record)

        attacks = [
            Attack("the whole picture as every class", every_class([whole]), guess=True, blind=True),
            Attack("a grid of guesses", self._rendered(Boxes(tuple(grid)), convention, record), guess=True),
            Attack("the format without numbers", self._written([("name", BOX.names)], convention, "c"), blind=True),
        ]
        if self.confident:
            unsure = self._rendered(Boxes((LabelledBox(classes[0], whole),)), convention, record, 0.0)
            attacks.append(Attack("the whole picture without confidence", unsure, guess=True, blind=True))
        if not gold.items:
            return attacks
        attacks.append(Attack("no objects", self._written([], convention), guess=True, blind=True))
        boxes = [item.box for item in gold.items]
        repeated = tuple(item for item in gold.items for _ in range(REPEATS))
        if len(repeated) <= MAX_BOXES:
            attacks.append(Attack("gold three times", self._rendered(Boxes(repeated), convention, record), guess=True))
        if len(classes) > 1:
            attacks.append(Attack("gold as every class", every_class(boxes), guess=True))
        written = [(item.label, convention.coordinates(item.box, record)) for item in gold.items]
        if all(x1 != x2 or y1 != y2 for _, (x1, y1, x2, y2) in written):
            swapped = [(label, (x2, y2, x1, y1)) for label, (x1, y1, x2, y2) in written]
            attacks.append(Attack("swapped corners", self._written(swapped, convention)))
        return attacks

    def _rendered(self, boxes: Boxes, convention: Convention, record: ImageRecord, confidence: float = 1.0) -> str:
        items = [(item.label, convention.coordinates(item.box, record)) for item in boxes.items]
        return self._written(items, convention, confidence)

    def _written(
        self, items: Sequence[tuple[str, Sequence[object]]], convention: Convention, confidence: object = 1.0
    ) -> str:
        if self.confident or convention.notation == "json":
            said = confidence if self.confident else None
            return f"[{', '.join(_object(numbers, label, said) for label, numbers in items)}]"
        groups = groupby(items, key=lambda item: item[0])
        return "".join(_group(label, [numbers for _, numbers in group], convention) for label, group in groups) or NONE


def _gold(sample: Sample) -> Boxes:
    if not isinstance(sample.gold, Boxes):
        raise TypeError(f"a list of boxes needs boxes as gold, not {type(sample.gold).__name__}")
    return sample.gold


def _object(numbers: Sequence[object], label: str, confidence: object = None) -> str:
    written = json.dumps(label, ensure_ascii=False)
    said = "" if confidence is None else f', "confidence": {confidence}'
    return f'{{"{BOX.key}": [{", ".join(map(str, numbers))}], "label": {written}{said}}}'


def _group(label: str, boxes: Iterable[Sequence[object]], convention: Convention) -> str:
    return MARKUP[convention.notation].written(label, boxes)


def _from_json(block: str, confident: bool) -> list[Written] | Unparsed:
    value: Any = parse_json(block)
    if isinstance(value, Unparsed):
        return value
    if not isinstance(value, list):
        return Unparsed("expected a list of objects")
    written: list[Written] = []
    for number, item in enumerate(value):
        keys = {BOX.key, "label", "confidence"} if confident else {BOX.key, "label"}
        if not isinstance(item, dict) or set(item) != keys:
            return Unparsed(f"box {number}: expected an object with the keys {', '.join(sorted(keys))}")
        numbers, label = listed_numbers(item[BOX.key], BOX.key, len(BOX.names)), item["label"]
        if isinstance(numbers, Unparsed):
            return Unparsed(f"box {number}: {numbers.reason}")
        if not isinstance(label, str):
            return Unparsed(f"box {number}: the label must be a text")
        confidence = item.get("confidence", 0)
        if type(confidence) not in (int, float) or not 0 <= confidence <= 1:
            return Unparsed(f"box {number}: the confidence must be from 0 to 1")
        written.append((label, numbers, float(confidence) if confident else None))
    return written


def _from_markup(block: str, convention: Convention) -> list[Written] | Unparsed:
    if block == NONE:
        return []
    written = MARKUP[convention.notation].parse(block)
    return Unparsed(f"expected {_group('name', [BOX.names], convention)} ...") if written is None else written


BOXES = BoxesAnswer()
