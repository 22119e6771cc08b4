"""COCO's figures are, bit for bit, those of pycocotools as its documentation uses it: files, loadRes, summarize."""

import contextlib
import io
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vlmrl.geometry import Box, Unit
from vlmrl.registry import find_task
from vlmrl.rewards.coco import AREAS, Picture, coco_evaluation
from vlmrl.task import ScoredRow
from vlmrl.types import Boxes, LabelledBox, Sample, Unparsed

FOLDER = find_task("detection")
FIGURES = FOLDER.submodule("figures")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
LABELS = {7: "tie", 1: "person", 90: "cat", 18: "dog"}
"""Categories with gaps and out of order, as files may have them."""
WIDTH, HEIGHT = 640, 480
NAMES = (
    "ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large",
    "ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large",
)  # fmt: skip
"""In the order of COCOeval.summarize."""


def random_truth(folder: Path, seed: int, pictures: int) -> Path:
    """A COCO file with crowds, outlines smaller than their boxes, objects too narrow to be answered, and no order."""
    rng = random.Random(seed)
    (folder / "val2017").mkdir(parents=True)
    images = [
        {"id": id_, "file_name": f"{id_:012d}.png", "width": WIDTH, "height": HEIGHT}
        for id_ in rng.sample(range(1, 10_000), pictures)
    ]
    annotations: list[dict[str, Any]] = []
    for image in images:
        Image.new("1", (WIDTH, HEIGHT)).save(folder / "val2017" / str(image["file_name"]))
        for _ in range(rng.randint(0, 8)):
            x, y, width, height = (round(rng.uniform(*span), 2) for span in ((0, 400), (0, 300), (5, 230), (5, 170)))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": rng.choice(list(LABELS)),
                    "bbox": [x, y, width, height],
                    "area": round(width * height * rng.uniform(0.3, 1), 3),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
    annotations[0].update(bbox=[10.0, 10.0, 0.4, 20.0], area=5.0, iscrowd=0)
    file = folder / "annotations" / "instances_val2017.json"
    file.parent.mkdir()
    categories = [{"id": id_, "name": name} for id_, name in LABELS.items()]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories, "info": {}}))
    return file


def answered(sample: Sample, rng: random.Random, confident: bool) -> Boxes | Unparsed:
    """Gold shaken, some boxes twice, some made up, in any order; now and then no answer at all."""
    if rng.random() < 0.1:
        return Unparsed("not JSON")
    frame = sample.records[0].frame(Unit.ORIGINAL)
    assert isinstance(sample.gold, Boxes)
    found = []
    for item in [*sample.gold.items, *sample.extra["ignored"].items * 2]:
        x, y = rng.uniform(-0.2, 0.2) * item.box.width, rng.uniform(-0.2, 0.2) * item.box.height
        box = Box(item.box.x1 + x, item.box.y1 + y, item.box.x2 + x, item.box.y2 + y, frame)
        found += [LabelledBox(item.label, box)] * rng.choice((1, 1, 2))
    for _ in range(rng.randint(0, 4)):
        x, y = rng.uniform(0, 500), rng.uniform(0, 400)
        found.append(LabelledBox(rng.choice([*LABELS.values(), "unicorn"]), Box(x, y, x + 60, y + 50, frame)))
    rng.shuffle(found)
    if confident:
        found = [replace(item, confidence=round(rng.random(), 2)) for item in found]
    return Boxes(tuple(found))


def rows(file: Path, seed: int, confident: bool = False) -> list[ScoredRow]:
    rng = random.Random(seed)
    return [(sample, answered(sample, rng, confident)) for sample in BENCHMARKS["coco-val"].load(file)]


def official(file: Path, scored: Sequence[ScoredRow], folder: Path) -> list[float]:
    """The twelve numbers of COCOeval.summarize on the published file and a file of results."""
    ids = {name: id_ for id_, name in LABELS.items()}
    results = []
    for sample, answer in scored:
        for item in answer.items if isinstance(answer, Boxes) else ():
            if item.label in ids:
                box = item.box
                results.append(
                    {
                        "image_id": sample.extra["coco"].image_id,
                        "category_id": ids[item.label],
                        "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
                        "score": 1.0 if item.confidence is None else item.confidence,
                    }
                )
    (folder / "results.json").write_text(json.dumps(results))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(file))
        evaluation = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_twelve_figures_are_pycocotools_bit_for_bit(tmp_path: Path, seed: int, confident: bool) -> None:
    file = random_truth(tmp_path, seed, 14)
    scored = rows(file, seed, confident)
    found = FOLDER.create({}).corpus_metrics(scored)
    stats = official(file, scored, tmp_path)
    assert {name: figure.value for name, figure in found.items()} == dict(zip(NAMES, stats, strict=True))
    assert 0.05 < found["ap"].value < 0.95
    assert all(figure.low <= figure.value <= figure.high for figure in found.values())
    assert found["ap"].high - found["ap"].low < 0.6


def test_equal_scores_rank_pictures_by_their_ids(tmp_path: Path) -> None:
    """COCOeval sorts pictures by id, so the order of rows, and of the file, does not matter."""
    scored = rows(random_truth(tmp_path, 4, 14), 4)
    one, other = (FIGURES.coco_estimates(part, resamples=1)["ap"].value for part in (scored, scored[::-1]))
    assert one == other


def accumulated(pictures: Sequence[Picture], categories: dict[str, int], limits: Sequence[int]) -> dict[str, float]:
    return dict(FIGURES._summary(coco_evaluation(pictures, categories, AREAS, limits)))


@pytest.mark.parametrize("confident", [False, True])
@pytest.mark.parametrize("limits", [(1, 10, 100), (100, 300, 1000)])
def test_a_resample_is_what_pycocotools_makes_of_its_pictures(
    tmp_path: Path, confident: bool, limits: tuple[int, ...]
) -> None:
    """Also where a picture has more boxes than `ap` looks at."""
    pictures, categories = FIGURES._pictures(rows(random_truth(tmp_path, 5, 10), 5, confident))
    many = max(pictures, key=lambda picture: len(picture.predicted.items))
    spam = [
        LabelledBox("cat", replace(item.box, x2=item.box.x2 + i)) for item in many.predicted.items for i in range(30)
    ]
    pictures[pictures.index(many)] = Picture(Boxes((*spam, *many.predicted.items)), many.targets)
    matched = FIGURES._Matched(coco_evaluation(pictures, categories, AREAS, limits))
    random_ = np.random.default_rng(1)
    for _ in range(5):
        times = np.bincount(random_.integers(10, size=10), minlength=10)
        again = [picture for picture, count in zip(pictures, times, strict=True) for _ in range(count)]
        assert matched.figures(times) == pytest.approx(accumulated(again, categories, limits), abs=1e-12)


def test_limits_of_boxes_are_by_picture_and_class(tmp_path: Path) -> None:
    """Only the first of ten equal answers is right, so a limit of one box costs no recall."""
    file = random_truth(tmp_path, 6, 6)
    found = BENCHMARKS["coco-val"].load(file)
    answers = [Boxes(tuple(item for item in sample.gold.items for _ in range(10))) for sample in found]  # type: ignore[union-attr]
    figures = FIGURES.coco_estimates(list(zip(found, answers, strict=True)), resamples=1)
    assert figures["ar100"].value > figures["ar10"].value >= figures["ar1"].value


def test_sets_are_averaged_and_resampled_one_by_one(tmp_path: Path) -> None:
    scored: list[ScoredRow] = []
    values = []
    for seed in range(2):
        own = rows(random_truth(tmp_path / str(seed), seed, 8), seed)
        values.append(FIGURES.coco_estimates(own, resamples=1)["ap"].value)
        scored += [(replace(sample, tags={**sample.tags, "set": str(seed)}), answer) for sample, answer in own]
    together = FIGURES.coco_estimates(scored)["ap"]
    assert together.value == pytest.approx(sum(values) / 2)
    assert together.n == 16
    untagged = [(replace(sample, tags={}), answer) for sample, answer in scored]
    assert FIGURES.coco_estimates(untagged, resamples=1)["ap"].n == 16  # two files' ids mean nothing together
    perfect = [(sample, sample.gold) for sample, _ in scored]
    figure = FIGURES.coco_estimates(perfect)["ap"]
    assert figure.value > 0.9
