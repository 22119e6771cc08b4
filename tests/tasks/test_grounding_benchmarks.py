"""What the official scorers of referring expressions say of single answers, and traps of their files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import metric_values
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample, Unparsed

FOLDER = find_task("grounding")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
THOUSANDTHS = Convention(Unit.NORM1000, "json")
PIXELS = Convention(Unit.MODEL, "json")
SQUARE = ImageRecord(0, Size(1000, 1000))


def row(*corners: float, record: ImageRecord = SQUARE, **tags: str) -> Sample:
    return Sample("row", (), (record,), "find it", Box(*corners, record.frame(Unit.ORIGINAL)), tags=tags)


def evaluated(sample: Sample, text: str, convention: Convention = THOUSANDTHS) -> Evaluated:
    task = FOLDER.create({})
    rollout = Rollout([], [], 0.0, text, Finish.STOP, task.parse(text, Finish.STOP, sample, convention))
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    return Evaluated(group, metric_values(task, sample, rollout))


def acc(sample: Sample, text: str, convention: Convention = THOUSANDTHS) -> float:
    value = evaluated(sample, text, convention).metrics["acc"]
    assert value is not None
    return value


@pytest.mark.parametrize(("right", "found"), [(200, 1), (199, 0)])
def test_an_iou_of_exactly_a_half_is_right(right: int, found: float) -> None:
    assert acc(row(100, 100, 300, 200), json.dumps({"bbox_2d": [100, 100, right, 200]})) == found


def test_iou_is_that_of_continuous_coordinates() -> None:
    """Boxes that touch do not overlap, and a box one pixel wide has an area."""
    assert evaluated(row(0, 0, 10, 10), '{"bbox_2d": [10, 0, 20, 10]}').metrics["mean_iou"] == 0
    assert evaluated(row(0, 0, 1, 1), '{"bbox_2d": [0, 0, 1, 2]}').metrics["mean_iou"] == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[{"bbox_2d": [100, 100, 300, 200]}, {"bbox_2d": [500, 500, 600, 600]}]',
        '{"bbox_2d": [300, 200, 100, 100]}',
        '{"bbox_2d": [100, 100, 300]}',
        "<box>100 100 300 200</box>",
    ],
    ids=["empty", "two boxes", "reversed corners", "three numbers", "another notation"],
)
def test_what_is_no_box_is_wrong_and_counted(text: str) -> None:
    item = evaluated(row(100, 100, 300, 200), text)
    assert isinstance(item.answer, Unparsed)
    assert item.metrics["acc"] == 0


@pytest.mark.parametrize("size", [(640, 480, 644, 476), (3840, 2160, 1932, 1092)])
def test_the_frame_comes_from_the_family_and_not_from_the_numbers(size: tuple[int, int, int, int]) -> None:
    """On 640x480 pixels look like thousandths; the answers of one family do not fit the other's frame."""
    width, height, model_width, model_height = size
    record = ImageRecord(0, Size(width, height), Size(model_width, model_height))
    sample = row(0.1 * width, 0.5 * height, 0.2 * width, 0.6 * height, record=record)
    thousandths = '{"bbox_2d": [100, 500, 200, 600]}'
    edges = [0.1 * model_width, 0.5 * model_height, 0.2 * model_width, 0.6 * model_height]
    pixels = json.dumps({"bbox_2d": [round(edge) for edge in edges]})
    fractions = '{"bbox_2d": [0.1, 0.5, 0.2, 0.6]}'
    assert (acc(sample, thousandths, THOUSANDTHS), acc(sample, pixels, PIXELS)) == (1, 1)
    assert (acc(sample, pixels, THOUSANDTHS), acc(sample, thousandths, PIXELS)) == (0, 0)
    assert (acc(sample, fractions, THOUSANDTHS), acc(sample, fractions, PIXELS)) == (0, 0)


def test_the_resize_mapping_counts() -> None:
    """Qwen2.5-VL sees 640x480 as 644x476: its pixels taken for the picture's own lose a border case."""
    record = ImageRecord(0, Size(640, 480), Size(644, 476))
    sample = row(0, 0, 640, 480, record=record)
    text = '{"bbox_2d": [0, 0, 643, 239]}'  # 239 of 476 rows are more than half; of 480 they are less
    assert acc(sample, text, PIXELS) == 1
    assert 640 * 239 / (640 * 480) < 0.5


def test_papers_count_sentences_and_not_objects() -> None:
    """An lmms-lab row is an object with all its sentences; the score is over the sentences."""
    assert len(BENCHMARKS["refcoco"].load(SAMPLES / "lmms-lab-parquet")) == 2
    for name in ("refcoco", "refcoco+", "refcocog"):
        benchmark = BENCHMARKS[name]
        assert sum(benchmark.splits.values()) == benchmark.rows  # as Ref-L4's card adds them up
        assert set(benchmark.splits) == {anchor.cell for anchor in benchmark.anchors}


def test_mig_bench_prints_the_mean_over_its_tasks_and_a_corner_at_one_is_the_edge(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "mig-bench", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "MIG-Bench" / "MIG_data.json"
    rows = json.loads(file.read_text())
    rows[0]["answer"] = [0.5, 0.5, 1.0, 1.0]
    file.write_text(json.dumps(rows))
    sample = BENCHMARKS["mig-bench"].load(file)[0]
    assert isinstance(sample.gold, Box)
    assert (sample.gold.x2, sample.gold.y2) == (sample.asked.original.width, sample.asked.original.height)
    assert BENCHMARKS["mig-bench"].average == "macro"
    tracked, found = row(0, 0, 9, 9, task="object_tracking"), row(0, 0, 9, 9, task="diff")
    right = '{"bbox_2d": [0, 0, 9, 9]}'
    card = score_card(
        FOLDER.create({}), [evaluated(tracked, right), evaluated(tracked, right), evaluated(found, "")], ("task",)
    )
    assert (card.score, card.macro) == (pytest.approx(2 / 3), 0.5)


def test_boxes_are_those_of_the_picture_as_its_exif_turns_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright
    Image.new("RGB", (100, 50)).save(tmp_path / "a.jpg", exif=exif)
    line = {"image": "a.jpg", "sent": "it", "bbox": [10, 60, 30, 90], "width": 50, "height": 100}
    (tmp_path / "refcoco_val.jsonl").write_text(json.dumps(line))
    (sample,) = BENCHMARKS["refcoco"].load(tmp_path)
    assert sample.records[0].original == Size(50, 100)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.update(text=[]), "field text: must be a list of texts"),
        (lambda about: about.update(is_sentence="yes"), "field is_sentence"),
        (lambda about: about.update(shapes=about["shapes"][2:]), "field shapes: holds no target's outline"),
        (lambda about: about["shapes"][0].pop("label"), r"field shapes\[0\], field label"),
        (
            lambda about: about["shapes"][0].update(points=[[1]]),
            r"field shapes\[0\]: must be a list of 2 finite numbers",
        ),
        (lambda about: about.update(shapes=[{"label": "target", "points": [[3, 3], [3, 9]]}]), "has no area"),
    ],
)
def test_bad_annotations_of_reasonseg_are_named(tmp_path: Path, change: Change, message: str) -> None:
    shutil.copytree(SAMPLES / "reasonseg" / "val", tmp_path / "val")
    file = tmp_path / "val" / "a.json"
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))
    with pytest.raises(UserError, match=rf"val/a\.json.*{message}"):
        BENCHMARKS["reasonseg-boxes"].load(tmp_path)


def test_reasonseg_needs_pictures_with_annotations(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no pictures X\.jpg with X\.json, nor folders val, test"):
        BENCHMARKS["reasonseg-boxes"].load(tmp_path)
    shutil.copytree(SAMPLES / "reasonseg" / "val", tmp_path / "val")
    shutil.copy(tmp_path / "val" / "a.jpg", tmp_path / "val" / "b.jpg")
    with pytest.raises(UserError, match=r"val/b\.json cannot be read.*every picture needs its annotation"):
        BENCHMARKS["reasonseg-boxes"].load(tmp_path)
