"""The task is sound: gold earns everything, attacks nothing, and a training step runs on the embedded model."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.checks.run import check
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.media.pictures import fingerprint, open_picture
from vlmrl.registry import TaskFolder, find_task
from vlmrl.resolve import resolve
from vlmrl.training.run import train

FOLDER = TaskFolder("new_task", Path(__file__).parent)


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is found from whatever directory the tests are started in."""
    monkeypatch.setenv("VLMRL_TASKS", str(FOLDER.path.parent))
    assert find_task("new_task").path == FOLDER.path


def test_gold_earns_full_marks_and_attacks_nothing() -> None:
    found = check(resolve(Config, words=["task=new_task"]))
    assert found.ok, found.record()["problems"]


def test_the_splits_share_no_picture() -> None:
    task = FOLDER.create({})
    train_rows, held_out = task.synthetic("train", 50, seed=0), task.synthetic("held_out", 50, seed=0)
    seen = {fingerprint(open_picture(row.images[0], row.id)) for row in train_rows}
    assert not seen & {fingerprint(open_picture(row.images[0], row.id)) for row in held_out}


def test_own_rows_are_read_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    row = {"image": "a.png", "question": "click it", "bbox": [8, 8, 24, 24]}
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(row) + "\n")
    assert FOLDER.create({}).load(data)[0].question == "click it"
    data.write_text(json.dumps({**row, "bbox": [8, 8, 240, 24]}) + "\n")
    with pytest.raises(UserError, match="row 0, field bbox"):
        FOLDER.create({}).load(data)


def test_one_training_step_runs(tmp_path: Path) -> None:
    sizes = ["rollout.prompts_per_step=4", "rollout.group_size=4", "rollout.max_completion_tokens=16"]
    words = ["task=new_task", "run.steps=1", "data.held_out_rows=4", f"run.dir={tmp_path / 'run'}", *sizes]
    summary = train(resolve(Config, words=words))
    assert summary["steps"] == 1
