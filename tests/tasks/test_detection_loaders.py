"""Each published form of detection data, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import Size, Unit
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import Boxes, Finish, PromptMode, Sample

FOLDER = find_task("detection")
SAMPLES = FOLDER.path / "samples"
TASK = FOLDER.create({})
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}

Listed = list[tuple[str, tuple[float, ...]]]

PERSON, CAR = (10, 20, 30, 60), (40, 30, 70, 50)
TWO = [(10, 10, 30, 30), (60, 40, 90, 70)]
PUBLISHED: dict[str, dict[str, tuple[Listed, tuple[str, ...]]]] = {
    "simple": {
        "objects-0": ([("person", PERSON), ("car", CAR)], ("person", "car")),
        "no-dog": ([], ("dog",)),
    },
    "coco/annotations": {
        "instances_val2017-139": ([("person", PERSON), ("car", CAR)], ("person", "car")),
        "instances_val2017-285": ([], ("person", "car")),  # its one annotation is narrower than a pixel
    },
    "vlm-r1": {
        "ovd-1": ([("person in red", PERSON), ("blue car", CAR)], ("person in red", "blue car", "white swan")),
        "ovd-2": ([], ("white swan", "incomplete apple")),
        "ovd-3": ([("person in red", PERSON), ("blue car", CAR)], ("person in red", "blue car")),
    },
    "visual-rft": {
        "train-00000-of-00001-0": ([("stop sign", box) for box in TWO], ("stop sign",)),
        "train-00000-of-00001-1": ([], ("bus",)),
    },
    "odinw-parquet": {"test-00000-of-00001-0": ([("pistol", box) for box in TWO], ("pistol",))},
}


def listed(boxes: Any) -> Listed:
    assert isinstance(boxes, Boxes)
    assert all(item.box.frame.unit is Unit.ORIGINAL for item in boxes.items)
    return [(item.label, (item.box.x1, item.box.y1, item.box.x2, item.box.y2)) for item in boxes.items]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str) -> None:
    samples = {sample.id: sample for sample in TASK.load(SAMPLES / name)}
    assert set(samples) == set(PUBLISHED[name])
    for id_, (objects, classes) in PUBLISHED[name].items():
        sample = samples[id_]
        found = listed(sample.gold)
        assert [label for label, _ in found] == [label for label, _ in objects]
        assert [box for _, box in found] == [pytest.approx(box) for _, box in objects]
        assert sample.extra["classes"] == classes
        assert all(name in sample.question for name in classes)
        picture = open_picture(sample.images[0], id_)
        assert Size(*picture.size) == sample.records[0].original
        for _, (x1, y1, x2, y2) in objects:
            assert picture.getpixel((int((x1 + x2) / 2), int((y1 + y2) / 2))) != picture.getpixel((0, 0))


def test_crowds_are_ignored_regions() -> None:
    for name in ("coco/annotations", "simple"):
        first, second = TASK.load(SAMPLES / name)
        assert listed(first.extra["ignored"]) == [("person", (60, 60, 100, 80))]
        assert listed(second.extra["ignored"]) == []


def test_modes_and_tags() -> None:
    plain, marked = TASK.load(SAMPLES / "simple")
    assert (plain.mode, marked.mode) == (PromptMode.DIRECT, PromptMode.THINK)
    assert (plain.tags, marked.tags) == ({"objects": "2-5"}, {"objects": "0", "place": "yard"})
    thinking = FOLDER.create({"mode": "think"})
    assert all(sample.mode is PromptMode.THINK for sample in thinking.load(SAMPLES / "simple"))


def test_the_coco_benchmark() -> None:
    for path in ("coco/annotations/instances_val2017.json", "coco/annotations"):
        assert [row.id for row in BENCHMARKS["coco-val"].load(SAMPLES / path)] == [
            "instances_val2017-139",
            "instances_val2017-285",
        ]
    with pytest.raises(UserError, match="one file of the form coco"):
        BENCHMARKS["coco-val"].load(SAMPLES / "simple")


def test_the_odinw_benchmark() -> None:
    """One cut of AerialMaritimeDrone, the test split of each set, file names with the split before or above them."""
    rows = BENCHMARKS["odinw"].load(SAMPLES / "odinw")
    assert [(row.id, row.tags["set"]) for row in rows] == [
        ("AerialMaritimeDrone-0", "AerialMaritimeDrone"),
        ("pistols-0", "pistols"),
    ]
    assert listed(rows[0].gold) == [("car", CAR)]
    assert rows[0].extra["classes"] == ("boat", "car")
    assert str(rows[0].images[0]).endswith("large/test/DJI_0001_JPG.rf.0.png")
    (parquet,) = BENCHMARKS["odinw"].load(SAMPLES / "odinw-parquet" / "test-00000-of-00001.parquet")
    assert parquet.tags["set"] == "pistols"


def test_odinw_needs_one_test_file_per_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder with test/"):
        BENCHMARKS["odinw"].load(tmp_path)
    shutil.copytree(SAMPLES / "odinw" / "pistols", tmp_path / "pistols")
    shutil.copytree(SAMPLES / "odinw" / "pistols", tmp_path / "pistols" / "again")
    with pytest.raises(UserError, match="several test files"):
        BENCHMARKS["odinw"].load(tmp_path)
    with pytest.raises(UserError, match="odinw-parquet"):
        BENCHMARKS["odinw"].load(SAMPLES / "simple" / "objects.jsonl")


def refused(path: Path, *expected: str) -> None:
    with pytest.raises(UserError) as caught:
        TASK.load(path)
    for part in expected:
        assert part in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture of 100 x 80 pixels in images/."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 80)).save(tmp_path / "images" / "a.png")
    return tmp_path


ROW = {"image": "a.png", "classes": ["cat"], "objects": [{"bbox": [10, 10, 30, 30], "label": "cat"}]}


def one(**changed: Any) -> dict[str, Any]:
    return {"objects": [{"bbox": [10, 10, 30, 30], "label": "cat"} | changed]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classes": []}, ("field classes", "not empty")),
        ({"classes": "cat"}, ("field classes", "list of class names")),
        ({"classes": ["cat", "Cat"]}, ("'Cat' is named twice",)),
        ({"classes": ["cat", " dog"]}, ("surrounding space", "' dog'")),
        ({"classes": ["cat", "<ref>"]}, ("'<ref>'",)),
        ({"classes": ["cat", 3]}, ("field classes", "3")),
        ({"objects": None}, ("field objects", "must be a list")),
        ({"objects": [[10, 10, 30, 30]]}, ("field objects[0]", "bbox and label")),
        ({"objects": [{"bbox": [10, 10, 30, 30]}]}, ("field objects[0]", "label is missing")),
        (one(score=1), ("field objects[0]", "unknown field score")),
        (one(label="dog"), ("field objects[0]", "'dog' is none of the asked classes: cat")),
        (one(label=""), ("field label",)),
        (one(bbox=[10, 10, 30]), ("field objects[0]", "list of 4 finite numbers")),
        (one(bbox=[10, 10, float("nan"), 30]), ("finite",)),
        (one(bbox=[10, 10, 200, 30]), ("outside its picture", "100x80")),
        (one(bbox=[30, 10, 10, 30]), ("no area",)),
        (one(bbox=[10, 10, 10, 30]), ("no area",)),
        (one(bbox=[0.1, 0.1, 0.3, 0.3]), ("smaller than one pixel", "it would fit as")),
        ({"objects": ROW["objects"] * 1001}, ("1001 boxes", "at most 1000")),
        ({"ignored": [{"bbox": [0, 0, 5, 5], "label": "dog"}]}, ("field ignored[0]", "'dog'")),
        ({"image": "b.png"}, ("field image", "'b.png' not found")),
        ({"image": ["a.png", "a.png"]}, ("field image", "must name one picture")),
        ({"image": ""}, ("field image", "must name one picture")),
        ({"mode": "fast"}, ("field mode", "direct or think")),
        ({"tags": ["x"]}, ("field tags", "must map names to texts")),
        ({"id": ""}, ("field id",)),
        ({"colour": "red"}, ("unknown field colour",)),
    ],
    ids=str,
)
def test_refused_rows(folder: Path, change: dict[str, Any], expected: tuple[str, ...]) -> None:
    (folder / "rows.json").write_text(json.dumps([ROW, ROW | change]))
    refused(folder / "rows.json", "row 1", *expected)


def test_unknown_schemas_and_mixtures(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps([{"picture": "a.png"}]))
    refused(folder / "rows.json", "the keys picture, which is no known schema", "simple (json)")
    (folder / "rows.json").write_text(json.dumps([ROW]))
    (folder / "more.json").write_text(json.dumps(coco()))
    refused(folder, "mixes schemas", "rows.json is simple", "more.json is coco")


def test_ids_are_unique(folder: Path) -> None:
    (folder / "rows.json").write_text(json.dumps([ROW | {"id": "x"}, ROW | {"id": "x"}]))
    refused(folder / "rows.json", "the id 'x' is given to several rows")


def coco() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [10, 10, 20, 20], "iscrowd": 0}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }


def set_at(key: str, field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data[key][0].update({field: value})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda data: data.pop("categories"), ("field categories is missing",)),
        (lambda data: data.update(captions=[]), ("unknown field captions",)),
        (lambda data: data.update(images=[]), ("holds no images",)),
        (lambda data: data.update(images={}), ("field images", "must be a list")),
        (lambda data: data["annotations"].append(3), ("field annotations[1]", "must be an object")),
        (lambda data: data["images"][0].pop("file_name"), ("field images[0]", "file_name is missing")),
        (lambda data: data["annotations"][0].pop("bbox"), ("field annotations[0]", "bbox is missing")),
        (set_at("annotations", "image_id", 8), ("annotations[0]", "no image with the id 8")),
        (set_at("annotations", "image_id", [7]), ("annotations[0]", "field image_id")),
        (set_at("annotations", "category_id", 4), ("annotations[0]", "no category 4")),
        (set_at("annotations", "iscrowd", 2), ("annotations[0]", "field iscrowd")),
        (set_at("annotations", "bbox", [10, 10, 95, 20]), ("annotations[0]", "outside its picture", "x, y, width")),
        (set_at("annotations", "bbox", [10, 10, -5, 20]), ("annotations[0]", "no area")),
        (set_at("annotations", "bbox", "10 10 20 20"), ("annotations[0]", "field bbox")),
        (set_at("images", "width", 640), ("images[0]", "says 640x80 but the picture is 100x80")),
        (set_at("images", "file_name", "b.png"), ("images[0]", "'b.png' not found")),
        (set_at("categories", "name", "DOG"), ("field categories", "named twice")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_refused_coco_files(
    folder: Path, change: Callable[[dict[str, Any]], object], expected: tuple[str, ...]
) -> None:
    data = coco()
    change(data)
    (folder / "truth.json").write_text(json.dumps(data))
    refused(folder / "truth.json", "truth.json", *expected)


def test_the_unchanged_coco_file_loads(folder: Path) -> None:
    (folder / "truth.json").write_text(json.dumps(coco()))
    (row,) = TASK.load(folder / "truth.json")
    assert listed(row.gold) == [("cat", (10, 10, 30, 30))]


def test_a_broken_coco_file(folder: Path) -> None:
    (folder / "truth.json").write_text('{"images": [')
    refused(folder / "truth.json", "truth.json", "not JSON")


ASKED = "<image>Please carefully check the image and detect the following objects: cat, dog."
ANSWERED = '```json\n[{"bbox_2d": [10, 10, 30, 30], "label": "cat"}]\n```'


def conversation(asked: str = ASKED, answered: str = ANSWERED) -> list[dict[str, str]]:
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]


def vlm_r1(folder: Path, turns: Any, **more: Any) -> Path:
    (folder / "rows.jsonl").write_text(json.dumps({"id": 1, "image": ["a.png"], "conversations": turns} | more))
    return folder / "rows.jsonl"


@pytest.mark.parametrize(
    "asked",
    [
        "detect the following objects: cat, dog.",
        'detect the following objects: ["cat", "dog"]. Output the bbox coordinates of detected objects in <answer>.',
        "detect the following objects:\n- cat\n- dog\nOutput each detected target's bbox coordinates in JSON format.",
    ],
)
@pytest.mark.parametrize("answered", [ANSWERED, f"<answer>\n{ANSWERED}\n</answer>"])
def test_vlm_r1_prompts(folder: Path, asked: str, answered: str) -> None:
    (row,) = TASK.load(vlm_r1(folder, conversation(asked, answered)))
    assert row.extra["classes"] == ("cat", "dog")
    assert listed(row.gold) == [("cat", (10, 10, 30, 30))]


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], ("one turn of human and one of gpt",)),
        (None, ("one turn of human and one of gpt",)),
        ([*conversation(), *conversation()], ("one turn of human and one of gpt",)),
        (conversation("<image>What is this?"), ("detect the following objects",)),
        (conversation(answered="two cats"), ("```json block or None",)),
        (conversation(answered="```json\n[{]\n```"), ("not JSON",)),
        (conversation(answered=ANSWERED.replace("cat", "bird")), ("'bird' is none of the asked classes",)),
        (conversation(asked="detect the following objects: [cat"), ("is no list",)),
    ],
)
def test_refused_vlm_r1_rows(folder: Path, turns: Any, expected: tuple[str, ...]) -> None:
    refused(vlm_r1(folder, turns), "row 0", "field conversations", *expected)


PROBLEM = "Detect all objects belonging to the category 'cat' in the image, and provide the bounding boxes."


@pytest.mark.parametrize(
    ("problem", "solution", "expected"),
    [
        ("Count the cats.", "<answer>[]</answer>", ("field problem", "belonging to the category")),
        (PROBLEM, "[]", ("field solution", "<answer>")),
        (PROBLEM, "<answer>{'Position': [1, 2, 3, 4]}</answer>", ("must be a list",)),
        (PROBLEM, "<answer>[{'Box': [1, 2, 3, 4]}]</answer>", ("must be a list",)),
        (PROBLEM, "<answer>[{'Position': [1, 2, 3]}]</answer>", ("4 finite numbers",)),
        (PROBLEM, "<answer>[{'Position': [100, 100, 300, 1200]}]</answer>", ("outside its picture", "0-1000")),
        (PROBLEM, "<answer>__import__('os').getcwd()</answer>", ("field solution", "is no list")),
    ],
)
def test_refused_visual_rft_rows(folder: Path, problem: str, solution: str, expected: tuple[str, ...]) -> None:
    picture = {"bytes": (folder / "images" / "a.png").read_bytes(), "path": None}
    pq.write_table(
        pa.table({"image": [picture], "problem": [problem], "solution": [solution]}), folder / "train.parquet"
    )
    refused(folder / "train.parquet", "row 0", *expected)


def test_a_set_of_sample_rows_is_sound() -> None:
    """Every sample row's gold answer can be written and read back in a family's numbers."""
    rows: list[Sample] = [row for name in PUBLISHED for row in TASK.load(SAMPLES / name)]
    for notation in ("json", "qwen2_box_tokens", "internvl_brackets"):
        convention = Convention(Unit.NORM1000, notation)
        for row in rows:
            answer = TASK.parse(TASK.render(row, convention), Finish.STOP, row, convention)
            assert [label for label, _ in listed(answer)] == [label for label, _ in listed(row.gold)]
