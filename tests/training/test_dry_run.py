"""`vlmrl train --dry-run`: the plan is the run's, nothing is loaded or written, and what would stop a run stops it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.random_models import save_random_model
from vlmrl.cli.main import main

WORDS = ["--dry-run", "data.held_out_rows=2"]


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*_: object) -> None:
        raise AssertionError("a dry run loads no weights")

    monkeypatch.setattr("vlmrl.models.load._load_weights", load)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten rows of the simple schema, one picture each."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for i in range(10):
        Image.new("RGB", (160, 96), (20 * i, 80, 120)).save(folder / f"{i}.png")
        lines.append({"image": f"{i}.png", "instruction": "click it", "bbox": [20, 10, 60, 50]})
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "rows.jsonl"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["train", *WORDS, *words]) == 2
    messages = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1
    return messages[0]


def test_the_plan_is_the_runs(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_random_model("qwen2_5_vl", tmp_path / "model")
    words = ["--model", str(model), "--data", str(data), "--steps", "4", "--json", "plan.json", "model.lora.rank=4"]
    assert main(["train", *WORDS, *words, "rollout.prompts_per_step=16", "algorithm.preset=dapo"]) == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["model"] == {"path": str(model), "type": "qwen2_5_vl"}
    assert plan["data"] == {"train": 8, "held_out": 2, "checked": 8}
    assert plan["run"] == {"steps": 4, "epochs": 4 * 16 / 8}
    assert plan["step"] == {"prompts": 16, "completions": 128}
    assert plan["algorithm"]["surrogate"]["clip_high"] == 0.28
    assert plan["task"]["weights"]["point_in_box"] == 1.0
    # 160 x 96 becomes 168 x 84, which is 6 x 3 tokens, in a prompt of text
    assert plan["tokens"]["shortest_prompt"] == plan["tokens"]["longest_prompt"] > 18
    printed = capsys.readouterr().out
    assert "language model" in printed
    assert "Nothing was trained" in printed
    assert not (tmp_path / "runs").exists()


def test_what_would_stop_a_run_stops_it(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "context of 2048" in refused(capsys, "rollout.max_completion_tokens=2000")
    assert "no such reward" in refused(capsys, "task.weights.beauty=1")
    assert "task.options.answer" in refused(capsys, "task.options.answer=circle")
    assert "does not exist" in refused(capsys, "--data", "nowhere.json")
    assert "group of one" in refused(capsys, "rollout.group_size=1")
    assert "is in use" in refused(capsys, "--run", str(data.parent))
    assert "leave out --resume" in refused(capsys, "--resume", str(_settings_only(tmp_path)))
    data.write_text(data.read_text().replace("[20, 10, 60, 50]", "[60, 10, 20, 50]", 1))
    assert "row 0" in refused(capsys, "--data", str(data))


def _settings_only(tmp_path: Path) -> Path:
    folder = tmp_path / "started"
    folder.mkdir()
    (folder / "config.yaml").write_text("data:\n  held_out_rows: 2\n")
    return folder
