"""Traps of the files and scorers of COCO and ODinW."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.geometry import Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import metric_values
from vlmrl.types import Boxes, Finish, Group, Prompt, Rollout, Sample

FOLDER = find_task("detection")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
THOUSANDTHS, PIXELS = Convention(Unit.NORM1000, "json"), Convention(Unit.MODEL, "json")


def evaluated(sample: Sample, text: str, convention: Convention = THOUSANDTHS) -> Evaluated:
    task = FOLDER.create({})
    rollout = Rollout([], [], 0.0, text, Finish.STOP, task.parse(text, Finish.STOP, sample, convention))
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    return Evaluated(group, metric_values(task, sample, rollout))


@pytest.mark.parametrize("convention", [THOUSANDTHS, PIXELS], ids=["thousandths", "pixels of the resized picture"])
def test_the_frame_of_odinw_answers_is_the_familys(convention: Convention) -> None:
    """The Qwen team's script reads pixels unless an environment variable says otherwise, and Qwen3-VL's are none."""
    other = PIXELS if convention is THOUSANDTHS else THOUSANDTHS
    sample = BENCHMARKS["odinw"].load(SAMPLES / "odinw")[0]
    record = sample.records[0]
    sample = replace(
        sample, records=(replace(record, model=Size(record.original.width * 2, record.original.height * 2)),)
    )
    text = FOLDER.create({}).render(sample, convention)
    assert evaluated(sample, text, convention).metrics["f1_50"] == 1
    assert evaluated(sample, text, other).metrics["f1_50"] == 0


def test_a_card_of_coco_is_about_ap_and_has_f1_beside_it() -> None:
    rows = BENCHMARKS["coco-val"].load(SAMPLES / "coco" / "annotations")
    about = BENCHMARKS["coco-val"]
    task = FOLDER.create({})
    right = [evaluated(row, task.render(row, THOUSANDTHS)) for row in rows]
    card = score_card(task, right, about.cells, about.metric, about.figures)
    assert (card.metric, card.n, card.unparsed) == ("ap", 2, 0)
    assert card.metrics["f1_50"].value == 1
    assert "every score 1" in about.scorer
    nothing = [evaluated(row, "I see nothing.") for row in rows]
    card = score_card(task, nothing, about.cells, about.metric, about.figures)
    assert (card.score, card.n, card.unparsed) == (0, 2, 2)  # they stay in the denominator


def test_odinw_has_the_limits_of_the_qwen_teams_script() -> None:
    rows = BENCHMARKS["odinw"].load(SAMPLES / "odinw")
    figures = FOLDER.create({}).corpus_metrics([(row, row.gold) for row in rows])
    assert {"ap", "ap50", "ap75", "ar100", "ar300", "ar1000"} <= set(figures)
    assert "ar1" not in figures


def test_labels_that_are_no_class_of_the_set_are_dropped_by_ap_and_counted_by_f1() -> None:
    row = BENCHMARKS["odinw"].load(SAMPLES / "odinw")[0]
    gold = json.loads(FOLDER.create({}).render(row, THOUSANDTHS))
    spam = [{"bbox_2d": [0, 0, 9, 9], "label": "unicorn"}] * 3
    item = evaluated(row, json.dumps(spam + gold))
    assert isinstance(item.answer, Boxes)
    assert FOLDER.create({}).corpus_metrics([(row, item.answer)])["ap"].value == pytest.approx(1)
    assert item.metrics["f1_50"] == pytest.approx(2 * len(gold) / (2 * len(gold) + 3))


def test_a_picture_that_its_exif_turns_is_named(tmp_path: Path) -> None:
    """COCO's boxes are those of the pixels as stored: a turned picture has another size than its file says."""
    shutil.copytree(SAMPLES / "coco", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "annotations" / "instances_val2017.json"
    about = json.loads(file.read_text())
    exif = Image.Exif()
    exif[0x0112] = 6
    first = tmp_path / "val2017" / about["images"][0]["file_name"]
    Image.open(first).save(first, exif=exif)
    with pytest.raises(UserError, match=r"images\[0\]: says \d+x\d+ but the picture is \d+x\d+"):
        BENCHMARKS["coco-val"].load(file)
