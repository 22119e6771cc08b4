"""Each published form of questions about charts and documents, on made-up rows, and a message for each thing wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import PromptMode, Text

FOLDER = find_task("visual_qa")
SAMPLES = FOLDER.path / "samples"
TASK = FOLDER.create({})
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}

BARS, PAIR, PAGE = Size(128, 96), Size(160, 96), Size(200, 120)
NAMES = ("Edward R. Shannon", "Edward Shannon")
Found = dict[str, tuple[str, tuple[str, ...], str, Size]]
PUBLISHED: dict[str, Found] = {
    "chartqa": {
        "test-00000-of-00001-0": ("What's the value of the lowest bar?", ("2",), "relaxed_accuracy", BARS),
        "test-00000-of-00001-1": ("What was the value of orange?", ("3",), "relaxed_accuracy", PAIR),
    },
    "chartqa-hub": {
        "val-00000-of-00001-0": ("Which colour is the highest bar?", ("blue",), "relaxed_accuracy", BARS),
        "val-00000-of-00001-1": ("What was the value of orange?", ("3",), "relaxed_accuracy", PAIR),
    },
    "chartqa-json": {
        "test_augmented-0": ("What was the value of orange?", ("3",), "relaxed_accuracy", PAIR),
        "test_human-0": ("What's the value of the lowest bar?", ("2",), "relaxed_accuracy", BARS),
        "test_human-1": ("Is the blue bar higher than the red one?", ("Yes",), "relaxed_accuracy", BARS),
    },
    "docvqa": {
        "337": ("what is the date mentioned in this letter?", ("1/8/93",), "anls", PAGE),
        "338": ("To whom is it addressed?", NAMES, "anls", PAGE),
    },
    "docvqa-parquet": {
        "337": ("what is the date mentioned in this letter?", ("1/8/93",), "anls", PAGE),
        "338": ("To whom is it addressed?", NAMES, "anls", PAGE),
    },
    "simple": {
        "questions-0": ("How high is the blue bar?", ("9",), "relaxed_accuracy", BARS),
        "subject": ("What is the subject?", ("rates",), "exact_match", PAGE),
        "questions-2": ("Who gets the letter?", NAMES, "anls", PAGE),
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str) -> None:
    samples = TASK.load(SAMPLES / name)
    found = {
        row.id: (row.question, row.extra["accepted"], row.extra["scorer"], row.records[0].original) for row in samples
    }
    assert found == PUBLISHED[name]
    for sample in samples:
        assert sample.gold == Text(sample.extra["accepted"][0])
        assert Size(*open_picture(sample.images[0], sample.id).size) == sample.records[0].original


def test_samples_of_every_form() -> None:
    assert {place.name for place in SAMPLES.iterdir()} == set(PUBLISHED)
    assert set(FOLDER.task_class.formats) <= set(PUBLISHED)


def test_modes_tags_and_scorers_of_ones_own_rows() -> None:
    plain, thinking, _ = TASK.load(SAMPLES / "simple")
    assert (plain.mode, thinking.mode) == (PromptMode.DIRECT, PromptMode.THINK)
    assert (plain.tags, thinking.tags) == ({"source": "charts"}, {})
    options = FOLDER.create({"mode": "think", "scorer": "anls"})
    assert [row.extra["scorer"] for row in options.load(SAMPLES / "simple")] == ["relaxed_accuracy", "anls", "anls"]
    assert {row.mode for row in options.load(SAMPLES / "chartqa")} == {PromptMode.THINK}


@pytest.mark.parametrize("name", ["chartqa", "chartqa-hub", "chartqa-json"])
def test_the_halves_of_chartqa(name: str) -> None:
    halves = [row.tags["split"] for row in BENCHMARKS["chartqa"].load(SAMPLES / name)]
    assert set(halves) == {"human", "augmented"}


def test_a_benchmark_reads_its_own_forms_only(tmp_path: Path) -> None:
    assert len(BENCHMARKS["docvqa"].load(SAMPLES / "docvqa")) == 2
    for name, other in (("docvqa", "chartqa"), ("docvqa", "simple"), ("chartqa", "docvqa")):
        with pytest.raises(UserError, match="not read here"):
            BENCHMARKS[name].load(SAMPLES / other)
    shutil.copytree(SAMPLES / "chartqa-json" / "png", tmp_path / "png")
    shutil.copy(SAMPLES / "chartqa-json" / "test_human.json", tmp_path / "rows.json")
    with pytest.raises(UserError, match=r"row rows-0: of no half"):
        BENCHMARKS["chartqa"].load(tmp_path / "rows.json")


def test_a_picture_is_one_object_for_all_its_questions() -> None:
    first, second = TASK.load(SAMPLES / "docvqa-parquet")
    assert first.images[0] is second.images[0]


def test_a_turned_picture_has_its_upright_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    Image.new("RGB", (60, 30), "white").save(tmp_path / "page.jpg", exif=exif)
    (tmp_path / "rows.jsonl").write_text('{"image": "page.jpg", "question": "which page?", "answer": "3"}\n')
    (row,) = TASK.load(tmp_path / "rows.jsonl")
    assert row.records[0].original == Size(30, 60)


def edited(folder: Path, name: str, edit: Callable[[list[dict[str, Any]]], object]) -> Path:
    """A copy of a JSON sample with its rows edited."""
    shutil.copytree(SAMPLES / name, folder / name)
    (file,) = [path for path in (folder / name).iterdir() if path.suffix in (".json", ".jsonl")]
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        edit(rows)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        whole = json.loads(file.read_text())
        edit(whole["data"] if isinstance(whole, dict) else whole)
        file.write_text(json.dumps(whole))
    return file


def put(row: int, **fields: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda rows: rows[row].update(fields)


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("docvqa", put(1, questionId=337), r"the id '337' is given to several rows"),
        ("docvqa", put(1, answers=None), r"row 1: has no answers; those of the test split are kept"),
        ("docvqa", put(1, answers=[]), r"row 1, field answers: must be a list of texts"),
        ("docvqa", put(0, answers=["  "]), r"row 0, field answers: must be a list of texts"),
        ("docvqa", put(0, questionId=None), r"row 0, field questionId: must be a number or a text"),
        ("docvqa", put(0, image="documents/gone_1.png"), r"row 0, field image: picture 'gone_1.png' not found"),
        ("docvqa", put(0, question=""), r"row 0, field question: must be a text that is not empty"),
        ("docvqa", put(1, ocr="a.json"), r"row 1: unknown field ocr; a docvqa row has"),
        ("docvqa", lambda rows: rows[0].pop("answers"), r"row 0: field answers is missing; a docvqa row needs it"),
        ("docvqa", lambda rows: rows.clear(), r"field data: must be a list of rows, at least one"),
        ("simple", put(0, scorer="exact"), r"row 0, field scorer: must be relaxed_accuracy or anls or exact_match"),
        ("simple", put(0, answer=9), r"row 0, field answer: must be a text that is not empty, not 9"),
        ("simple", put(0, answers=["9"]), r"row 0: needs either the field answer or the field answers"),
        ("simple", put(0, id="subject"), r"the id 'subject' is given to several rows"),
        ("simple", put(1, mode="slow"), r"row 1, field mode: must be direct or think, not 'slow'"),
        ("simple", put(0, tags={"a": 1}), r"row 0, field tags: must map names to texts"),
        ("simple", put(0, image="../../etc/passwd"), r"row 0, field image: picture 'passwd' not found"),
    ],
)
def test_bad_rows_are_named(
    name: str, edit: Callable[[list[dict[str, Any]]], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        TASK.load(edited(tmp_path, name, edit))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"type": ["human"]}, r"row 0, field type: must be one of human_test, augmented_test"),
        ({"image": [None]}, r"row 0, field image: holds no encoded picture"),
        ({"answer": [None]}, r"row 0, field answer: must be a text that is not empty"),
        ({"answer": None, "label": ["3"]}, r"\(nearest: chartqa; missing keys: answer; .* have: label\)"),
    ],
)
def test_bad_parquet_rows_are_named(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    picture = (SAMPLES / "simple" / "images" / "bars.png").read_bytes()
    rows = {"type": ["human_test"], "question": ["how high?"], "answer": ["3"], "image": [{"bytes": picture}]} | columns
    path = tmp_path / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({name: values for name, values in rows.items() if values is not None}), path)
    with pytest.raises(UserError, match=message):
        TASK.load(path)


def test_a_folder_of_two_forms_is_refused(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "simple", tmp_path / "rows")
    shutil.copytree(SAMPLES / "chartqa-json" / "png", tmp_path / "rows" / "png")
    shutil.copy(SAMPLES / "chartqa-json" / "test_human.json", tmp_path / "rows" / "other.json")
    with pytest.raises(UserError, match="mixes schemas"):
        TASK.load(tmp_path / "rows")
