"""Each published form of grounding data, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmrl.errors import UserError
from vlmrl.geometry import Box, Size, Unit
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import PromptMode, Sample

FOLDER = find_task("grounding")
SAMPLES = FOLDER.path / "samples"
LOADERS = FOLDER.submodule("loaders")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
ASKED = "Please provide the bounding box coordinate of the region this sentence describes: "
RED, BLUE, GREEN = (210, 50, 50), (60, 80, 200), (50, 150, 70)

PUBLISHED = {
    "refer/refcoco": {
        "train-1": ("find man in red", (10, 20, 50, 80), 0, {"split": "train"}, RED),
        "train-2": ("find left guy", (10, 20, 50, 80), 0, {"split": "train"}, RED),
    },
    "reasonseg/val": {
        "val-a": ("the thing one would stop at", (20, 10, 60, 50), 0, {"split": "val", "text": "sentence"}, RED),
    },
    "reasonseg/test": {  # its annotation is cp1252
        "test-a": ("find the café's blue sign", (70, 30, 110, 70), 0, {"split": "test", "text": "phrase"}, BLUE),
    },
    "vlm-r1": {
        "refcoco_val-0": (ASKED + "man in red", (10, 20, 50, 80), 0, {"split": "val"}, RED),
        "refcoco_val-1": (ASKED + "person in blue", (70, 30, 110, 70), 0, {"split": "val"}, BLUE),
    },
    "vlm-r1-conversations": {
        "refcoco_train-0": (ASKED + "man in red", (10, 20, 50, 80), 0, {"split": "train"}, RED),
        "refcoco_train-1": (
            "Where is the person in blue of image 1?",
            (70, 30, 110, 70),
            0,
            {"split": "train"},
            BLUE,
        ),
    },
    "ofa": {
        "refcoco_testA-0": ("find man in red", (10, 20, 50, 80), 0, {"split": "testA"}, RED),
        "refcoco_testA-1": ("find person in blue", (70, 30, 110, 70), 0, {"split": "testA"}, BLUE),
    },
    "lmms-lab-parquet": {
        "testA-00000-of-00001-0-0": ("find man in red", (10, 20, 50, 80), 0, {"split": "testA"}, RED),
        "testA-00000-of-00001-0-1": ("find left guy", (10, 20, 50, 80), 0, {"split": "testA"}, RED),
    },
    "jxu124-parquet": {
        "train-00000-of-00001-0-0": ("find man in red", (10, 20, 50, 80), 0, {"split": "train"}, RED),
        "train-00000-of-00001-0-1": ("find left guy", (10, 20, 50, 80), 0, {"split": "train"}, RED),
    },
    "mig-bench/MIG-Bench": {
        "MIG_data-0": (
            "Recognize and locate this object in the 1th image.",
            (10, 10, 30, 30),
            0,
            {"task": "common_object"},
            RED,
        ),
        "MIG_data-1": ("What is different?", (20, 40, 60, 60), 1, {"task": "diff"}, BLUE),
    },
    "univg-r1": {
        "stage2_rl-0": ("In image 2, where is what is not red?", (20, 40, 60, 60), 1, {"split": "unnamed"}, BLUE),
        "stage2_rl-1": ("Where is what is red?", (10, 10, 30, 30), 0, {"split": "unnamed"}, RED),
    },
    "mgrounding/MGrounding-630k": {
        "MGrounding-630k-0-0": (
            "Where is the block in the first image?",
            (10, 10, 30, 30),
            0,
            {"split": "unnamed"},
            RED,
        ),
        "MGrounding-630k-0-1": ("And the one in the second image?", (20, 40, 60, 60), 1, {"split": "unnamed"}, BLUE),
    },
    "simple": {
        "street-0": ("find the red block", (10, 20, 50, 80), 0, {}, RED),
        "blue": ("find the blue block", (70, 30, 110, 70), 0, {"kind": "thing"}, BLUE),
    },
    "simple-several": {
        "second": ("find the block in image 2", (20, 40, 60, 60), 1, {}, BLUE),
        "first": ("find the block in image 1", (10, 10, 30, 30), 0, {}, RED),
    },
}


def load(path: Path, **options: Any) -> list[Sample]:
    return list(FOLDER.create(options).load(path))


def corners(sample: Sample) -> tuple[float, ...]:
    assert isinstance(sample.gold, Box)
    assert sample.gold.frame == sample.asked.frame(Unit.ORIGINAL)
    return sample.gold.x1, sample.gold.y1, sample.gold.x2, sample.gold.y2


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str) -> None:
    samples = {sample.id: sample for sample in load(SAMPLES / name)}
    assert set(samples) == set(PUBLISHED[name])
    for id_, (question, box, asked, tags, colour) in PUBLISHED[name].items():
        sample = samples[id_]
        assert (sample.question, sample.asked_image, dict(sample.tags)) == (question, asked, tags)
        assert corners(sample) == pytest.approx(box)
        assert len(sample.images) == len(sample.records)
        for image, record in zip(sample.images, sample.records, strict=True):
            assert Size(*open_picture(image, id_).size) == record.original
        picture = open_picture(sample.images[asked], id_)
        center = sample.gold.center  # type: ignore[union-attr]
        seen = picture.getpixel((int(center.x), int(center.y)))
        assert all(abs(a - b) < 8 for a, b in zip(seen, colour, strict=True))  # type: ignore[arg-type]


def test_every_form_is_declared_and_has_samples() -> None:
    assert {name.partition("/")[0].replace("refer", "refer-pickle") for name in PUBLISHED} == set(
        FOLDER.task_class.formats
    )


@pytest.mark.parametrize(
    ("split", "ids"), [("val", ["val-3"]), ("testA", ["testA-4"]), ("train", ["train-1", "train-2"])]
)
@pytest.mark.parametrize("path", ["refer/refcoco", "refer/refcoco/refs(unc).p"])
def test_splits_of_refer_files(path: str, split: str, ids: list[str]) -> None:
    samples = load(SAMPLES / path, split=split)
    assert [sample.id for sample in samples] == ids
    assert {sample.tags["split"] for sample in samples} == {split}


def test_refer_boxes_are_corner_and_size() -> None:
    assert corners(load(SAMPLES / "refer/refcoco", split="testA")[0]) == (20.5, 40.25, 50.5, 100.75)


def test_modes() -> None:
    modes = [sample.mode for sample in load(SAMPLES / "simple")]
    assert modes == [PromptMode.DIRECT, PromptMode.THINK]
    for name in ("simple", "refer/refcoco", "ofa"):
        assert {sample.mode for sample in load(SAMPLES / name, mode="think")} == {PromptMode.THINK}


@pytest.mark.parametrize(
    ("benchmark", "folder", "ids"),
    [
        ("refcoco", "refer/refcoco", ["val-3", "testA-4"]),
        ("refcoco", "ofa", ["refcoco_testA-0", "refcoco_testA-1"]),
        ("refcoco+", "vlm-r1", ["refcoco_val-0", "refcoco_val-1"]),
        ("refcocog", "refer/refcoco", ["val-3"]),
        ("refcoco", "lmms-lab-parquet", ["testA-00000-of-00001-0-0", "testA-00000-of-00001-0-1"]),
        ("lisa-grounding", "vlm-r1", ["refcoco_val-0", "refcoco_val-1"]),
        ("reasonseg-boxes", "reasonseg", ["val-a", "test-a"]),
        ("reasonseg-boxes", "reasonseg/test", ["test-a"]),
        ("mig-bench", "mig-bench/MIG-Bench", ["MIG_data-0", "MIG_data-1"]),
    ],
)
def test_benchmarks_read_their_own_forms(benchmark: str, folder: str, ids: list[str]) -> None:
    rows = BENCHMARKS[benchmark].load(SAMPLES / folder)
    assert [row.id for row in rows] == ids
    assert all(set(BENCHMARKS[benchmark].cells) <= set(row.tags) for row in rows)


def test_benchmarks_refuse_other_forms() -> None:
    with pytest.raises(UserError, match=r"schema univg-r1, which is not read here(.|\n)*mig-bench"):
        BENCHMARKS["mig-bench"].load(SAMPLES / "univg-r1")
    with pytest.raises(UserError, match="schema simple, which is not read here"):
        BENCHMARKS["refcoco"].load(SAMPLES / "simple")


@pytest.mark.parametrize(
    ("question", "count", "index"),
    [
        ("locate it in the 1th image", 2, 0),
        ("the dog in image 2", 3, 1),
        ("Image-3: the cat", 3, 2),
        ("the second picture shows it", 2, 1),
        ("the dog", 2, None),
        ("the dog of image 1 in image 2", 2, None),
        ("the dog of image 2, in image 2", 2, 1),
        ("the dog in image 4", 3, None),
        ("image 0", 3, None),
        ("4 images of dogs", 3, None),
    ],
)
def test_the_picture_that_a_question_names(question: str, count: int, index: int | None) -> None:
    assert LOADERS.asked_picture(question, count) == index


def changed(tmp_path: Path, form: str, file: str, change: Callable[[Any], object]) -> Path:
    """A copy of a sample form whose rows were changed in place."""
    folder = tmp_path / "data"
    shutil.copytree(SAMPLES / form, folder)
    path = folder / file
    text = path.read_text()
    rows = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)
    change(rows)
    path.write_text("\n".join(map(json.dumps, rows)) if path.suffix == ".jsonl" else json.dumps(rows))
    return path


def put(row: int, key: str, value: Any) -> Callable[[Any], object]:
    return lambda rows: rows[row].__setitem__(key, value)


VLM_R1 = ("vlm-r1", "refcoco_val.json")
CONVERSATIONS = ("vlm-r1-conversations", "refcoco_train.jsonl")
OFA = ("ofa", "refcoco_testA.jsonl")
MIG = ("mig-bench", "MIG-Bench/MIG_data.json")
SEVERAL = ("simple-several", "pairs.jsonl")
SIMPLE = ("simple", "street.jsonl")


@pytest.mark.parametrize(
    ("form", "change", "message"),
    [
        (OFA, put(1, "sent", " "), r"testA\.jsonl row 1, field sent: must be a text"),
        (OFA, put(1, "bbox", [70, 30, 110]), "row 1, field bbox: must be a list of 4 finite numbers"),
        (OFA, put(0, "bbox", [0, 0, float("nan"), 5]), "row 0, field bbox: must be a list of 4 finite numbers"),
        (OFA, put(0, "bbox", [50, 60, 10, 20]), "row 0, field bbox: .*has no area.*would fit as x, y, width, height"),
        (OFA, put(0, "bbox", [0.1, 0.2, 0.4, 0.8]), "smaller than one pixel.*would fit as x1, y1, x2, y2 in 0-1"),
        (OFA, put(0, "bbox", [100, 20, 300, 80]), "lies outside its picture"),
        (OFA, put(0, "width", 640), "row 0, field width: says 640 but the picture is 128x96"),
        (OFA, put(0, "image", "gone.jpg"), "row 0, field image: picture 'gone.jpg' not found"),
        (OFA, put(0, "image", [3]), "row 0, field image: must name one picture"),
        (OFA, put(1, "score", 1), "row 1: unknown field score; a ofa row has"),
        (VLM_R1, put(0, "solution", [78, 208, 390, 833]), "field solution: .*lies outside its picture.*0-1000"),
        (VLM_R1, put(0, "solution", [10, 20, 60, 90]), "field normalized_solution: .*another frame"),
        (CONVERSATIONS, put(0, "conversations", []), "field conversations: must be a list of pairs of turns"),
        (
            CONVERSATIONS,
            put(0, "conversations", [{"from": "gpt", "value": "a"}, {"from": "human", "value": "b"}]),
            'turn 0: must be {"from": "human"',
        ),
        (
            CONVERSATIONS,
            lambda rows: rows[0]["conversations"].__setitem__(1, {"from": "gpt", "value": "(1,2),(3,4)"}),
            "field conversations: the text '.*' is not JSON",
        ),
        (
            CONVERSATIONS,
            lambda rows: rows[0].update(conversations=rows[0]["conversations"] * 2),
            "asks once and is answered once",
        ),
        (
            CONVERSATIONS,
            lambda rows: rows[1]["conversations"][0].update(value="Where is the person in blue?"),
            "row 1: the question names none of the 2 pictures by its number",
        ),
        (MIG, put(0, "answer", [100, 200, 300, 600]), "field answer: .*lies outside its picture"),
        (MIG, put(0, "task", 3), "row 0, field task: must be a text"),
        (MIG, put(0, "images", []), "row 0, field images: must name one picture or a list"),
        (SEVERAL, put(0, "asked_image", 2), "row 0, field asked_image: must be from 0 to 1, not 2"),
        (SEVERAL, put(0, "asked_image", True), "row 0, field asked_image: must be from 0 to 1, not True"),
        (SEVERAL, put(0, "bbox", [90, 10, 99, 40]), "lies outside its picture of 80x80"),
        (SEVERAL, put(0, "id", "first"), "the id 'first' is given to several rows"),
        (SIMPLE, put(1, "mode", "loud"), "field mode: must be direct or think"),
        (SIMPLE, put(1, "tags", {"kind": 1}), "field tags: must map names to texts"),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, form: tuple[str, str], change: Callable[[Any], object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(changed(tmp_path, *form, change))


def test_a_list_of_captions_must_hold_texts(tmp_path: Path) -> None:
    table = pq.read_table(SAMPLES / "lmms-lab-parquet" / "testA-00000-of-00001.parquet")
    row = table.to_pylist()[0] | {"answer": []}
    pq.write_table(type(table).from_pylist([row], schema=table.schema), tmp_path / "testA.parquet")
    with pytest.raises(UserError, match="row 0, field answer: must be a list of texts"):
        load(tmp_path)


def test_conversations_without_a_single_box_are_no_data(tmp_path: Path) -> None:
    path = changed(
        tmp_path,
        "mgrounding",
        "MGrounding-630k/MGrounding-630k.json",
        lambda rows: rows[0].update(conversations=rows[0]["conversations"][2:4]),
    )
    with pytest.raises(UserError, match="asks for no single box anywhere"):
        load(path)


def test_unknown_keys_name_the_nearest_schema(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"image": "a.png", "sent": "x", "bbox": [1, 2, 3, 4]}')
    with pytest.raises(
        UserError, match=r"keys bbox, image, sent, which is no known schema \(nearest: ofa; missing keys: height, width"
    ):
        load(tmp_path)


def test_training_and_test_files_are_not_read_as_one(tmp_path: Path) -> None:
    path = changed(tmp_path, *OFA, lambda rows: None)
    shutil.copy(path, path.with_name("refcoco_train.jsonl"))
    with pytest.raises(UserError, match="holds training and test files"):
        load(path.parent)


@pytest.fixture
def refcoco(tmp_path: Path) -> Path:
    shutil.copytree(SAMPLES / "refer", tmp_path / "refer")
    return tmp_path / "refer" / "refcoco"


def rewritten(folder: Path, change: Callable[[Any, Any], object]) -> Path:
    """The copied refer files after `change(refs, instances)`."""
    refs_path, instances_path = folder / "refs(unc).p", folder / "instances.json"
    refs = pickle.loads(refs_path.read_bytes(), encoding="latin1")
    instances = json.loads(instances_path.read_text())
    change(refs, instances)
    refs_path.write_bytes(pickle.dumps(refs, 2))
    instances_path.write_text(json.dumps(instances))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda refs, _: refs[0].pop("ann_id"), r"refs\(unc\)\.p ref 0: field ann_id is missing"),
        (lambda refs, _: refs[0].update(ann_id=99), "ref 0: annotation 99 is not in .*do not belong together"),
        (lambda refs, _: refs[0].update(image_id=9), "ref 0: its annotation 11 is on another picture"),
        (lambda refs, _: refs[0]["sentences"][0].update(sent=""), "sentence 1, field sent: must be a text"),
        (lambda refs, _: refs[0].update(sentences="x"), "field sentences: must be a list of objects"),
        (lambda refs, _: refs[0]["sentences"][1].update(sent_id=1), "the id 'train-1' is given to several rows"),
        (lambda refs, _: [ref.update(split="test") for ref in refs], r"no refs in the split train; .* can be test"),
        (lambda _, instances: instances["annotations"][0].update(bbox=[10, 20, 400, 60]), "annotation 11, field bbox"),
        (lambda _, instances: instances["annotations"][0].pop("bbox"), "annotation 11, field bbox"),
        (lambda _, instances: instances["images"][0].update(width=640), "image 5: says 640x96 but"),
        (lambda _, instances: instances["images"][0].update(file_name="gone.jpg"), "picture 'gone.jpg' not found"),
        (lambda _, instances: instances.pop("images"), r"instances\.json: must have the list images"),
    ],
)
def test_bad_refs_are_named(refcoco: Path, change: Callable[[Any, Any], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(rewritten(refcoco, change))


def test_refer_files_that_are_incomplete(refcoco: Path) -> None:
    (refcoco / "refs(google).p").write_bytes(b"")
    with pytest.raises(UserError, match=r"several partitions \(refs\(google\)\.p, refs\(unc\)\.p\); name the file"):
        load(refcoco)
    with pytest.raises(UserError, match="is no pickle of plain data"):
        load(refcoco / "refs(google).p")
    (refcoco / "refs(google).p").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(UserError, match="expected a list of refs"):
        load(refcoco / "refs(google).p")
    (refcoco / "instances.json").unlink()
    with pytest.raises(UserError, match=r"instances\.json cannot be read: .* belongs beside the refs file"):
        load(refcoco / "refs(unc).p")


def test_pictures_of_another_size_are_refused(refcoco: Path) -> None:
    for picture in refcoco.parent.rglob("*.jpg"):
        Image.open(picture).resize((64, 64)).save(picture)
    with pytest.raises(UserError, match=r"says 128x96 but .* is 64x64"):
        load(refcoco)
