"""A picture with labelled boxes, from whatever file -> a sample."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from vlmrl.answers.boxes import MAX_BOXES, folded
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Size
from vlmrl.loading.boxes import BoxForm, target_box
from vlmrl.types import Boxes, LabelledBox, PromptMode, Sample

from .figures import CocoTruth
from .schemas import Labelled, Labels

COUNTS = ((0, "0"), (1, "1"), (5, "2-5"), (15, "6-15"))
"""Largest number of gold boxes -> value of the tag `objects`; beyond the last one it is MORE."""
MORE = "16+"


def question(classes: Sequence[str]) -> str:
    """What is asked for, without the answer's format."""
    return f"Find every {classes[0]}." if len(classes) == 1 else f"Find every object of: {', '.join(classes)}."


def count_tag(count: int) -> str:
    """The tag `objects` of a row with so many gold boxes."""
    return next((name for largest, name in COUNTS if count <= largest), MORE)


def labelled_sample(
    *,
    id_: str,
    picture: Path | bytes,
    size: Size,
    labels: Labels,
    form: BoxForm,
    schema: str,
    mode: PromptMode,
    where: str,
    tags: Mapping[str, str],
    coco: CocoTruth | None = None,
) -> Sample:
    """The row of a picture. `extra` holds the asked `classes`, the `ignored` regions, and what a COCO file says.

    Raises UserError for a label that is not asked for, a box that does not fit the picture, and too many boxes.
    """
    record = ImageRecord(0, size)
    names = {folded(name): name for name in labels.classes}

    def typed(items: Sequence[Labelled]) -> Boxes:
        found = []
        for item in items:
            if folded(item.label) not in names:
                asked = ", ".join(labels.classes)
                raise UserError(f"{item.where}: the label {item.label!r} is none of the asked classes: {asked}")
            box = target_box(item.numbers, form, record, schema, item.where)
            found.append(LabelledBox(names[folded(item.label)], box))
        return Boxes(tuple(found))

    if len(labels.objects) > MAX_BOXES:
        raise UserError(f"{where}: {len(labels.objects)} boxes; an answer has at most {MAX_BOXES}: drop the row")
    gold = typed(labels.objects)
    return Sample(
        id=id_,
        images=(picture,),
        records=(record,),
        question=question(labels.classes),
        gold=gold,
        mode=mode,
        tags={"objects": count_tag(len(gold.items)), **tags},
        extra={"classes": labels.classes, "ignored": typed(labels.ignored)} | ({"coco": coco} if coco else {}),
    )
