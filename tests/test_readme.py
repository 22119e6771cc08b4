"""Every command that README and the example's README show runs as written, on less data and fewer steps."""

import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.random_models import save_random_model
from vlmrl.cli.main import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORTER = [
    "run.steps=1",
    "data.held_out_rows=4",
    "rollout.prompts_per_step=2",
    "rollout.group_size=2",
    "rollout.max_completion_tokens=16",
]


def commands(page: Path) -> list[list[str]]:
    """The `vlmrl ...` lines of a page's code blocks, without their comments."""
    blocks = FENCE.findall(page.read_text())
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("vlmrl ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory holds what the README's commands name: rows.json, a folder of ScreenSpot-v2, a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    found = []
    for i in range(10):
        Image.new("RGB", (160, 96), (20 * i, 90, 200)).save(tmp_path / "images" / f"{i}.png")
        row = {"img_filename": f"{i}.png", "bbox": [20, 10, 40, 20], "instruction": "click it"}
        found.append({**row, "data_type": "text", "data_source": "web"})
    (tmp_path / "rows.json").write_text(json.dumps(found))
    (tmp_path / "screenspot_v2").mkdir()
    (tmp_path / "screenspot_v2" / "screenspot_web_v2.json").write_text(json.dumps(found))
    (tmp_path / "screenspot_v2" / "images").symlink_to(tmp_path / "images")
    # stands for the full-size checkpoint, which a test cannot download
    save_random_model("qwen2_5_vl", tmp_path / "Qwen" / "Qwen2.5-VL-3B-Instruct")


@pytest.mark.slow
def test_the_readmes_commands_run(rows: None) -> None:
    shown = commands(ROOT / "README.md")
    assert len(shown) >= 8
    for command in shown:
        steps = SHORTER if command[0] == "train" and "--resume" not in command else []
        steps = ["--steps", "2", "data.held_out_rows=2"] if command[0] == "warmup" else steps
        limit = ["--limit", "4"] if command[0] == "eval" else []
        assert main([*command, *steps, *limit]) == 0, command


@pytest.mark.slow
def test_the_examples_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    example = tmp_path / "own_task"
    shutil.copytree(ROOT / "examples" / "own_task", example)
    monkeypatch.chdir(example)
    shown = commands(example / "README.md")
    assert [command[0] for command in shown] == ["tasks", "check", "train"]
    for command in shown:
        assert main([*command, *(SHORTER if command[0] == "train" else [])]) == 0, command
    assert (example / "runs" / "squares" / "summary.json").is_file()


def test_make_targets_the_readme_names_exist() -> None:
    named = re.findall(r"^make (\w+)", "\n".join(FENCE.findall((ROOT / "README.md").read_text())), re.MULTILINE)
    assert set(named) == {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named)
