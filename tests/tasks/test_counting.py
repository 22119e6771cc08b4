"""Rewards, metrics, data forms, drawn rows and benchmarks of counting."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.ndimage import label

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import Size, Unit
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.synthetic.shapes import COLOURS, SHAPES
from vlmrl.task import metric_values, reward_weights, score_group
from vlmrl.types import Finish, Group, Prompt, PromptMode, Rollout, Sample, Text

FOLDER = find_task("counting")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
SYNTHETIC = FOLDER.submodule("synthetic")
ANY = Convention(Unit.NORM1000, "json")


def row(count: int, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    return Sample("row", (), (), "How many?", Text(str(count)), mode)


def scored(text: str, sample: Sample, finish: Finish = Finish.STOP) -> tuple[dict[str, float | None], float]:
    task = FOLDER.create({})
    rollout = Rollout([], [], 0.0, text, finish, task.parse(text, finish, sample, ANY))
    score_group(task, Group("g", Prompt(sample, "", None, {}), [rollout]), reward_weights(task, {}))  # type: ignore[arg-type]
    values = {name: score.value for name, score in rollout.scores.items()}
    return {**values, **metric_values(task, sample, rollout)}, rollout.reward


def test_the_gold_answer_earns_full_marks() -> None:
    for sample in (row(4), row(0), row(4, PromptMode.THINK)):
        values, reward = scored(FOLDER.create({}).render(sample, ANY), sample)
        assert set(values.values()) == {1.0}
        assert reward == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("text", "exact", "closeness", "within_one"),
    [("four", 1, 1, 1), ("4.", 1, 1, 1), ("3", 0, 0.75, 1), ("6", 0, 0.5, 0), ("9", 0, 0, 0), ("0", 0, 0, 0)],
)
def test_components_of_an_answer(text: str, exact: float, closeness: float, within_one: float) -> None:
    values, reward = scored(text, row(4))
    assert values == {
        "exact": exact, "format": 1, "closeness": closeness, "correct": exact, "within_one": within_one,
    }  # fmt: skip
    assert reward == pytest.approx(exact + 0.1)


@pytest.mark.parametrize(
    "text", ["", "between 3 and 5", "There are 4.", "4 or 5", "<think>4</think>", "1, 2, 3, 4", "4.0", "1000000"]
)
def test_what_is_no_count_earns_nothing(text: str) -> None:
    values, reward = scored(text, row(4))
    assert set(values.values()) == {0.0}
    assert reward == 0


def test_a_count_in_the_thoughts_or_cut_off_is_none() -> None:
    assert scored("<think><answer>4</answer></think>", row(4, PromptMode.THINK))[1] == 0
    assert scored("<think><answer>4</answer></think><answer>5</answer>", row(4, PromptMode.THINK))[1] == 0.1
    assert scored("4", row(4), Finish.LENGTH)[1] == 0


# data

PUBLISHED = {
    "countbenchqa-parquet": [
        ("How many red tiles are there in the image?", "3", "test"),
        ("How many blue tiles are there in the image?", "2", "test"),
    ],
    "pixmo-count-parquet": [
        ("How many red tiles are there?", "3", "test"),
        ("How many red tiles are there?", "0", "test"),
    ],
    "perception-r1-count": [
        ("How many red tiles are in the picture?", "3", "test"),
        ("How many blue tiles are in the picture?", "2", "test"),
    ],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str) -> None:
    samples = FOLDER.create({}).load(SAMPLES / name)
    assert [(sample.question, sample.gold.text, sample.tags["split"]) for sample in samples] == PUBLISHED[name]  # type: ignore[union-attr]
    for sample in samples:
        assert sample.tags["count"] == sample.gold.text  # type: ignore[union-attr]
        assert Size(*open_picture(sample.images[0], sample.id).size) == sample.records[0].original


def test_the_caption_that_says_the_number_is_not_shown() -> None:
    for sample in BENCHMARKS["countbench"].load(SAMPLES / "countbenchqa-parquet"):
        assert "three" not in sample.question
        assert not sample.extra


def test_the_simple_form() -> None:
    plain, marked = FOLDER.create({}).load(SAMPLES / "simple")
    assert (plain.id, plain.mode, plain.tags) == ("tiles-0", PromptMode.DIRECT, {"count": "3"})
    assert (marked.id, marked.mode, marked.tags) == ("none", PromptMode.THINK, {"count": "0", "kind": "tile"})


@pytest.mark.parametrize(
    ("benchmark", "folder"),
    [
        ("countbench", "countbenchqa-parquet"),
        ("pixmo-count", "pixmo-count-parquet"),
        ("pixmo-count", "perception-r1-count"),
    ],
)
def test_benchmarks_read_their_own_forms(benchmark: str, folder: str) -> None:
    about = BENCHMARKS[benchmark]
    rows = about.load(SAMPLES / folder)
    assert all(set(about.cells) <= set(sample.tags) for sample in rows)
    assert {sample.tags["split"] for sample in rows} <= set(about.splits or {"test"})
    with pytest.raises(UserError, match="schema simple, which is not read here"):
        about.load(SAMPLES / "simple")


Change = Callable[[list[dict[str, Any]]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].update(count=2.5), r"tiles\.jsonl row 0, field count: must be a whole number"),
        (lambda rows: rows[0].update(count=-1), "row 0, field count"),
        (lambda rows: rows[0].update(count=True), "row 0, field count"),
        (lambda rows: rows[0].update(count="a few"), "row 0, field count"),
        (lambda rows: rows[0].update(question=" "), "row 0, field question"),
        (lambda rows: rows[1].update(image="gone.png"), r"row 1, field image: picture 'gone\.png' not found"),
        (lambda rows: rows[1].update(number=3), "row 1: unknown field number"),
        (lambda rows: rows[1].pop("count"), "row 1: field count is missing"),
        (lambda rows: rows[1].update(mode="loud"), "row 1, field mode"),
        (lambda rows: rows[1].update(id="tiles-0"), "the id 'tiles-0' is given to several rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, change: Change, message: str) -> None:
    shutil.copytree(SAMPLES / "simple", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tiles.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    change(rows)
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UserError, match=message):
        FOLDER.create({}).load(tmp_path)


def test_a_parquet_row_without_its_picture_is_named(tmp_path: Path) -> None:
    table = pq.read_table(SAMPLES / "countbenchqa-parquet" / "test-00000-of-00001.parquet")
    rows = [{**table.to_pylist()[0], "image": {"bytes": None, "path": "a.png"}}]
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), tmp_path / "test.parquet")
    with pytest.raises(UserError, match="row 0, field image: holds no encoded picture"):
        BENCHMARKS["countbench"].load(tmp_path)


def test_a_count_in_words_is_gold_too(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "simple", tmp_path, dirs_exist_ok=True)
    (tmp_path / "tiles.jsonl").write_text('{"image": "a.png", "question": "How many?", "count": "Twelve"}')
    (sample,) = FOLDER.create({}).load(tmp_path)
    assert (sample.gold, sample.tags["count"]) == (Text("12"), "11+")


# drawn rows

DRAWINGS = [SYNTHETIC.draw(seed) for seed in range(300)]


def test_a_seed_decides_everything() -> None:
    again = SYNTHETIC.draw(7)
    assert again.image.tobytes() == DRAWINGS[7].image.tobytes()
    assert (again.question, again.count, again.split) == (DRAWINGS[7].question, DRAWINGS[7].count, DRAWINGS[7].split)


def test_counts_and_questions_vary() -> None:
    assert {drawing.count for drawing in DRAWINGS} >= set(range(7))
    assert len({drawing.question for drawing in DRAWINGS}) > 60
    for drawing in DRAWINGS:
        words = drawing.question.split()
        assert set(words) & set(COLOURS) or any(name in drawing.question for name in SHAPES)


def test_as_many_pieces_have_the_asked_colour_as_the_count_says() -> None:
    checked = 0
    for drawing in DRAWINGS:
        colour = next((name for name in COLOURS if f"How many {name} shapes" in drawing.question), None)
        if colour is not None:
            painted = (np.asarray(drawing.image) == COLOURS[colour]).all(axis=2)
            assert label(painted, np.ones((3, 3)))[1] == drawing.count
            checked += 1
    assert checked > 50


def test_drawn_rows_answer_to_their_own_counts() -> None:
    task = FOLDER.create({})
    for split in ("train", "held_out"):
        for sample in task.synthetic(split, 20, 0):  # type: ignore[arg-type]
            assert scored(task.render(sample, ANY), sample)[1] == pytest.approx(1.1)
            assert sample.tags["count"]


def test_splits_share_no_picture() -> None:
    train, held_out = (
        {row.images[0].tobytes() for row in FOLDER.create({}).synthetic(split, 60, 0)}
        for split in ("train", "held_out")
    )  # type: ignore[union-attr,arg-type]
    assert not train & held_out
