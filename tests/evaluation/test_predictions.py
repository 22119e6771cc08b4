"""Files of answers: ours and other tools', matched to rows without guessing."""

import json
from pathlib import Path

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.evaluation.predictions import Prediction, read_predictions, score_predictions
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.types import Finish, Sample, Unparsed

RELATIVE = Convention(Unit.NORM1000, "json")
PIXELS = Convention(Unit.MODEL, "json")
RECORD = ImageRecord(0, Size(200, 100))


def row(name: str) -> Sample:
    return Sample(name, (), (RECORD,), "Click it.", Box(100, 0, 200, 100, RECORD.frame(Unit.ORIGINAL)))


ROWS = [row("a"), row("b"), row("7")]


def written(tmp_path: Path, *lines: object) -> Path:
    file = tmp_path / "theirs.jsonl"
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


def read(file: Path, id_field: str = "id", text_field: str = "text") -> list[Prediction]:
    return read_predictions(file, ROWS, id_field, text_field)


def test_lines_find_their_rows_by_id_or_place(tmp_path: Path) -> None:
    file = written(tmp_path, {"id": 1, "text": "second"}, {"id": "a", "text": "first"}, {"id": 7, "text": "third"})
    assert [p.text for p in read(file)] == ["first", "second", "third"]


def test_fields_may_lie_deeper(tmp_path: Path) -> None:
    lines = [{"doc_id": i, "resps": [[f"answer {i}"]]} for i in range(3)]
    assert [p.text for p in read(written(tmp_path, *lines), "doc_id", "resps.0.0")] == [
        "answer 0",
        "answer 1",
        "answer 2",
    ]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"id": "a", "text": ""}], r"has no answer for 2 of 3 rows \(b, 7\)"),
        ([{"id": "a", "text": ""}, {"id": "a", "text": ""}], "line 2: row a is answered twice"),
        ([{"id": "z", "text": ""}], "answers rows that the data does not have, such as z"),
        (["{"], "line 1: not JSON"),
        (["[]"], "line 1: not an object"),
        ([{"key": "a", "text": ""}], "line 1 has no field id; its fields are key, text"),
        ([{"id": "a", "text": None}], "field text: None is no text"),
        ([{"id": True, "text": ""}], "True is neither a row's id nor its place"),
    ],
)
def test_what_cannot_be_matched_is_refused(tmp_path: Path, lines: list[object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(written(tmp_path, *lines))


def test_answers_are_read_in_the_models_frame() -> None:
    task = find_task("gui_grounding").create({})
    said = Prediction('{"point_2d": [30, 10]}')
    (relative,) = score_predictions(task, [row("a")], [said], RELATIVE)
    assert relative.metrics["hit"] == 0  # 30 of 1000 is at the left edge
    shrunk = Prediction(said.text, model_sizes=(Size(56, 28),))
    (pixels,) = score_predictions(task, [row("a")], [shrunk], PIXELS)
    assert pixels.metrics["hit"] == 1  # 30 of 56 is right of the middle


def test_a_cut_answer_is_none() -> None:
    task = find_task("gui_grounding").create({})
    (cut,) = score_predictions(task, [row("a")], [Prediction('{"point_2d": [900, 500]}', Finish.LENGTH)], RELATIVE)
    assert isinstance(cut.answer, Unparsed)
    assert cut.metrics["hit"] == 0
