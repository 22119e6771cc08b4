"""COCO's evaluation of boxes, by pycocotools (`vlmrl[detection]`).

Models write no scores unless they are asked for a confidence. Where there is none, every score is 1, as in the
evaluations of Perception-R1, VLM-R1 and the Qwen team; COCOeval sorts stably, so the boxes are then ranked by picture
and, within one, as they were written: average precision depends on both orders.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlmrl.geometry import Unit
from vlmrl.types import Boxes, LabelledBox

AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""COCO's ranges of the area of an object in pixels, in the order of its summary."""
MAX_DETECTIONS = (1, 10, 100)
"""Boxes per picture and class that COCO's figures look at; further ones are left out."""


@dataclass(frozen=True)
class Target:
    """A gold box as COCO's files have it."""

    category: int
    box: tuple[float, float, float, float]
    """x, y, width, height in original pixels."""
    area: float
    """Of the object's outline, where that is known; the area ranges go by it."""
    crowd: bool = False
    """A region of several objects: boxes in it are neither right nor wrong."""


@dataclass(frozen=True)
class Picture:
    """One picture's predicted and gold boxes."""

    predicted: Boxes
    targets: Sequence[Target]


def targets_of(gold: Boxes, ignored: Boxes, categories: Mapping[str, int]) -> list[Target]:
    """Gold boxes and ignored regions of the named categories, with the area of the box for that of the object."""
    return [
        Target(categories[item.label], _corner_and_size(item), item.box.area, crowd)
        for crowd, boxes in ((False, gold), (True, ignored))
        for item in boxes.items
        if item.label in categories
    ]


def coco_evaluation(
    pictures: Sequence[Picture],
    categories: Mapping[str, int],
    areas: Mapping[str, tuple[float, float]] = AREAS,
    max_detections: Sequence[int] = MAX_DETECTIONS,
) -> COCOeval:
    """COCOeval after `evaluate`: every picture is matched, nothing is accumulated.

    Boxes with a label that is none of `categories` are left out, as in any file of COCO results. Raises ValueError for
    boxes that are not in original pixels.
    """
    gold = [
        _annotation(image, target.category, target.box, target.area) | {"iscrowd": int(target.crowd)}
        for image, picture in enumerate(pictures, start=1)
        for target in picture.targets
    ]
    predicted = []
    for image, picture in enumerate(pictures, start=1):
        for item in picture.predicted.items:
            if item.label in categories:
                box = _corner_and_size(item)
                score = 1.0 if item.confidence is None else item.confidence
                annotation = _annotation(image, categories[item.label], box, box[2] * box[3])
                predicted.append(annotation | {"iscrowd": 0, "score": score})
    images = [{"id": image} for image in range(1, len(pictures) + 1)]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress by print
        evaluation = COCOeval(_coco(images, categories, gold), _coco(images, categories, predicted), "bbox")
        evaluation.params.areaRng = [list(bounds) for bounds in areas.values()]
        evaluation.params.areaRngLbl = list(areas)
        evaluation.params.maxDets = list(max_detections)
        evaluation.evaluate()
    return evaluation


def _corner_and_size(item: LabelledBox) -> tuple[float, float, float, float]:
    if item.box.frame.unit is not Unit.ORIGINAL:
        raise ValueError(f"average precision needs boxes in original pixels, not in {item.box.frame}")
    return item.box.x1, item.box.y1, item.box.width, item.box.height


def _annotation(image: int, category: int, box: tuple[float, float, float, float], area: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(box), "area": area}


def _coco(images: list[dict[str, Any]], categories: Mapping[str, int], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": images,
        "categories": [{"id": id_, "name": name} for name, id_ in categories.items()],
        "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco
