"""docs/run-folder.md names every file of a run folder and every key of its lines."""

import fnmatch
import json
import re
from pathlib import Path

import pytest
import yaml

from vlmrl.cli.main import main

PAGE = (Path(__file__).parents[1] / "docs" / "run-folder.md").read_text()


def first_cells(heading: str) -> list[str]:
    """The quoted names in the first column of the table under a heading."""
    _, _, text = PAGE.partition(f"{heading}\n")
    rows = table_rows(text)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


def table_rows(text: str) -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| ---"))
    end = next((i for i, line in enumerate(lines[start:], start) if not line.startswith("|")), len(lines))
    return lines[start + 1 : end]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = [
        "rollout.prompts_per_step=2",
        "rollout.group_size=2",
        "data.held_out_rows=2",
        "rollout.max_completion_tokens=8",
    ]
    tasks = "gui_grounding,video_temporal"
    assert main(["train", "--task", tasks, "--steps", "2", "--run", str(folder), "eval.every=1", *words]) == 0
    assert main(["rescore", str(folder)]) == 0
    return folder


def test_every_file_is_described_and_every_description_has_a_file(run: Path) -> None:
    patterns = {name.replace("NNNNNN", "[0-9]" * 6).replace("NAME", "*") for name in first_cells("# The run folder")}
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}

    def matches(file: str, pattern: str) -> bool:
        return fnmatch.fnmatch(file, f"{pattern}*" if pattern.endswith("/") else pattern)

    assert not [file for file in files if not any(matches(file, pattern) for pattern in patterns)]
    unused = {pattern for pattern in patterns if not any(matches(file, pattern) for file in files)}
    # this run had no tracker, and every one of its steps could be taken
    assert unused == {"tensorboard/", "wandb/", f"faults/step-{'[0-9]' * 6}.pt"}


def test_every_key_of_a_train_line_is_described(run: Path) -> None:
    described = set(first_cells("## metrics.jsonl"))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {key for line in lines if line["kind"] == "train" for key in line}
    assert found - {"kind", "tasks"} == described
    for name in ("metric", "score", "n", "unparsed"):
        assert all(name in line for line in lines if line["kind"] == "eval")


def test_every_key_of_a_group_is_described(run: Path) -> None:
    described = set(first_cells("## A group"))
    files = [*(run / "rollouts").iterdir(), *(run / "evals").iterdir()]
    assert {key for file in files for line in file.read_text().splitlines() for key in json.loads(line)} == described


def test_phases_and_settings(run: Path) -> None:
    phases = {name for line in (run / "timings.jsonl").read_text().splitlines() for name in json.loads(line)["seconds"]}
    assert all(f"`{phase}`" in PAGE for phase in phases)
    assert yaml.safe_load((run / "config.yaml").read_text())["task"]["name"] == "gui_grounding,video_temporal"
