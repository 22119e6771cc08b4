"""COCO's figures are compared with pycocotools used as its documentation says (json files, loadRes, summarize)."""

import contextlib
import io
import json
import random
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.rewards.average_precision import (
    CocoFigures,
    Detections,
    ScoreRule,
    average_precision,
    coco_figures,
    od_length,
    voc_average_precision,
)
from vlmrl.rewards.matching import NO_BOXES
from vlmrl.types import Boxes, LabelledBox

FRAME = ImageRecord(0, Size(640, 480)).frame(Unit.ORIGINAL)
LABELS = ("cat", "dog", "person", "tie")

Item = tuple[str, float, float, float, float]


def boxes(*items: Item) -> Boxes:
    return Boxes(tuple(LabelledBox(label, Box(*corners, FRAME)) for label, *corners in items))


A, B = ("cat", 0, 0, 100, 100), ("cat", 200, 0, 300, 100)
MISS, DOG = ("cat", 400, 300, 500, 400), ("dog", 400, 0, 500, 100)


def random_boxes(rng: random.Random, count: int, labels: tuple[str, ...] = LABELS) -> list[LabelledBox]:
    found = []
    for _ in range(count):
        x, y, width, height = rng.uniform(0, 500), rng.uniform(0, 400), rng.uniform(5, 140), rng.uniform(5, 80)
        found.append(LabelledBox(rng.choice(labels), Box(x, y, x + width, y + height, FRAME)))
    return found


def shaken(items: list[LabelledBox], rng: random.Random) -> list[LabelledBox]:
    def near(box: Box) -> Box:
        x, y = rng.uniform(-0.2, 0.2) * box.width, rng.uniform(-0.2, 0.2) * box.height
        return Box(box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y, FRAME)

    return [LabelledBox(item.label, near(item.box)) for item in items]


def random_pictures(seed: int, count: int) -> list[Detections]:
    rng = random.Random(seed)
    pictures = []
    for _ in range(count):
        gold, crowd = random_boxes(rng, rng.randint(0, 8)), random_boxes(rng, rng.randint(0, 2))
        found = shaken(gold + crowd * 2, rng) + random_boxes(rng, rng.randint(0, 4), (*LABELS, "unicorn"))
        rng.shuffle(found)
        pictures.append(Detections(Boxes(tuple(found)), Boxes(tuple(gold)), Boxes(tuple(crowd))))
    return pictures


def official(pictures: list[Detections], folder: Path, rule: ScoreRule) -> tuple[list[float], dict[str, float]]:
    """The twelve numbers of COCOeval.summarize, and AP per class, from files in COCO's two formats."""

    def xywh(box: Box) -> list[float]:
        return [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1]

    annotations, results = [], []
    for image, picture in enumerate(pictures):
        for crowd, items in ((0, picture.gold.items), (1, picture.ignored.items)):
            for item in items:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": LABELS.index(item.label),
                        "bbox": xywh(item.box),
                        "area": item.box.area,
                        "iscrowd": crowd,
                    }
                )
        for rank, item in enumerate(picture.predicted.items):
            if item.label in LABELS:
                score = 1.0 if rule is ScoreRule.ONES else 1 / (rank + 1)
                results.append(
                    {
                        "image_id": image,
                        "category_id": LABELS.index(item.label),
                        "bbox": xywh(item.box),
                        "score": score,
                    }
                )
    truth = {
        "images": [{"id": image} for image in range(len(pictures))],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(LABELS)],
        "info": {},
    }
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    per_class = {name: float(precision[:, :, k].mean()) for k, name in enumerate(LABELS)}
    return list(evaluation.stats), per_class


@pytest.mark.parametrize("rule", ScoreRule)
@pytest.mark.parametrize("seed", range(3))
def test_figures_are_pycocotools(tmp_path: Path, seed: int, rule: ScoreRule) -> None:
    pictures = random_pictures(seed, 12)
    figures = coco_figures(pictures, rule)
    stats, per_class = official(pictures, tmp_path, rule)
    assert 0.05 < figures.ap < 0.95
    assert (figures.ap, figures.ap50, figures.ap75, figures.ar100) == pytest.approx(
        (stats[0], stats[1], stats[2], stats[8]), abs=1e-12
    )
    assert figures.per_class == pytest.approx(per_class, abs=1e-12)


def test_the_two_rules_differ_over_pictures_and_agree_on_one() -> None:
    pictures = random_pictures(5, 12)
    ones, order = (coco_figures(pictures, rule) for rule in ScoreRule)
    assert ones.ap != order.ap
    for picture in pictures:
        if picture.gold.items:
            assert coco_figures([picture], ScoreRule.ONES) == coco_figures([picture], ScoreRule.ORDER)


def test_gold_has_figures_of_one_and_nothing_has_zero() -> None:
    gold = [Detections(picture.gold, picture.gold, picture.ignored) for picture in random_pictures(1, 12)]
    figures = coco_figures(gold, ScoreRule.ONES)
    assert (figures.ap, figures.ap50, figures.ap75, figures.ar100) == pytest.approx((1, 1, 1, 1))
    nothing = [Detections(NO_BOXES, picture.gold) for picture in gold]
    found = coco_figures(nothing, ScoreRule.ONES)
    assert found == CocoFigures(0, 0, 0, 0, dict.fromkeys(figures.per_class, 0))


def test_no_gold_box_anywhere_has_no_figure() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        coco_figures([Detections(boxes(A), NO_BOXES)], ScoreRule.ONES)


def test_boxes_must_be_in_original_pixels() -> None:
    thousandths = ImageRecord(0, Size(640, 480)).frame(Unit.NORM1000)
    answer = Boxes((LabelledBox("cat", Box(0, 0, 100, 100, thousandths)),))
    with pytest.raises(ValueError, match="original pixels"):
        coco_figures([Detections(answer, boxes(A))], ScoreRule.ONES)


def steps(*pairs: tuple[float, float]) -> float:
    """COCO's mean over recalls 0, 0.01, ..., 1 of precisions that hold up to a recall: (recall, precision), ..."""
    total = 0.0
    for i in range(101):
        total += next((precision for recall, precision in pairs if i / 100 <= recall + 1e-9), 0.0)
    return total / 101


@pytest.mark.parametrize(
    ("predicted", "coco", "voc", "length"),
    [
        ([A, B], 1, 1, 1),
        ([A], steps((0.5, 1)), 1 / 2, 1),
        ([A, MISS, B], steps((0.5, 1), (1, 2 / 3)), (1 + 2 / 3) / 2, 2 / 3),
        ([MISS, A, B], 2 / 3, 2 / 3, 2 / 3),  # the envelope holds the precision that follows
        ([A, B, MISS, MISS, MISS], 1, 1, 2 / 5),  # boxes after the good ones are free in AP
        ([A, A, A, B], steps((0.5, 1), (1, 2 / 4)), (1 + 2 / 4) / 2, 2 / 4),
        ([A, B, DOG], 1 / 2, 1 / 2, 2 / 3),  # a class that is not there has AP 0
        ([DOG], 0, 0, 1),
        ([], 0, 0, 1),
    ],
)
def test_one_picture(predicted: list[Item], coco: float, voc: float, length: float) -> None:
    answer, gold = boxes(*predicted), boxes(A, B)
    assert average_precision(answer, gold) == pytest.approx(coco)
    assert voc_average_precision(answer, gold) == pytest.approx(voc)
    assert od_length(answer, gold) == pytest.approx(coco * length)


def test_coco_averages_over_thresholds_and_voc_takes_one() -> None:
    overlap = ("cat", 0, 0, 72, 100)  # IoU 0.72 reaches 0.50, 0.55, 0.60, 0.65 and 0.70
    assert average_precision(boxes(overlap), boxes(A)) == pytest.approx(5 / 10)
    assert voc_average_precision(boxes(overlap), boxes(A)) == 1
    assert voc_average_precision(boxes(("cat", 0, 0, 50, 100)), boxes(A)) == 1  # the threshold itself is a hit
    assert voc_average_precision(boxes(("cat", 0, 0, 49, 100)), boxes(A)) == 0


def test_the_mean_over_classes() -> None:
    gold = boxes(A, B, DOG)
    assert average_precision(boxes(A, B), gold) == pytest.approx(1 / 2)
    assert voc_average_precision(boxes(A, B), gold) == pytest.approx(1 / 2)


def test_listing_everything_is_free_in_ap_and_not_in_od_length() -> None:
    """VLM-R1's hack: AP near 1 with many boxes after the good ones."""
    gold = boxes(A)
    spam = boxes(A, *(("cat", x, 300, x + 50, 400) for x in range(0, 560, 80)))
    assert average_precision(spam, gold) == pytest.approx(1)
    assert od_length(spam, gold) == pytest.approx(1 / 8)
