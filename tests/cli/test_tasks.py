"""`vlmrl tasks`: a new task works as it is made, and a task can be looked at before anything is trained."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.cli.main import main
from vlmrl.registry import find_task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLMRL_TASKS", raising=False)
    return tmp_path


def test_a_new_task_passes_its_own_test_and_trains(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "new", "big_circles"]) == 0
    assert "vlmrl train --task big_circles" in capsys.readouterr().out
    folder = here / "tasks" / "big_circles"
    assert {path.name for path in folder.iterdir()} == {"task.py", "README.md", "test_big_circles.py"}
    assert not any("new_task" in path.read_text() or "NewTask" in path.read_text() for path in folder.iterdir())
    assert find_task("big_circles").task_class.__name__ == "BigCirclesTask"
    # in a process of its own, as a user runs it; its last test is one training step
    own_tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        cwd=here, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert own_tests.returncode == 0, own_tests.stdout
    assert "4 passed" in own_tests.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gui_grounding", "there is a task gui_grounding already"),
        ("Circles", "use lower-case letters"),
        ("my-task", "use lower-case letters"),
        ("../evil", "use lower-case letters"),
        ("class", "use lower-case letters"),
        ("notes", "exists already"),
    ],
)
def test_a_name_that_cannot_be_taken_changes_nothing(
    here: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "tasks" / "notes").mkdir(parents=True)
    assert main(["tasks", "new", name]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in here.rglob("*")] == ["tasks", "notes"]


def test_show_prints_what_the_model_sees_and_what_earns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "show", "gui_grounding", "task.options.answer=box", "task.weights.format=0.5"]) == 0
    printed = capsys.readouterr().out
    assert 'Answer with JSON only: {"bbox_2d": [x1, y1, x2, y2]}' in printed
    assert "320x192, seen as 160x96" in printed
    assert "format (weight 0.5, 0 to 1): 1 for an answer in the requested format" in printed
    assert "metric     hit (headline): The ScreenSpot score" in printed
    assert "data       screenspot-pro: " in printed
    assert "option     task.options.answer = point" in printed
    tokens = int(printed.split("tokens")[1].split()[0])
    assert 15 <= tokens - 10 * 6 // 4 <= 60  # the picture's merged patches and a line of text


def test_show_takes_a_row_of_the_user_s_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (64, 48)).save(here / "a.png")
    (here / "rows.jsonl").write_text('{"image": "a.png", "instruction": "press stop", "bbox": [8, 8, 40, 40]}\n')
    assert main(["tasks", "show", "gui_grounding", "--data", "rows.jsonl"]) == 0
    printed = capsys.readouterr().out
    assert "press stop" in printed
    assert "[8.0, 8.0, 40.0, 40.0]" in printed


def test_show_counts_the_frames_of_a_video(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "show", "video_temporal"]) == 0
    drawn = capsys.readouterr().out
    assert "video      6 frames of 6 s" in drawn
    rows = find_task("video_temporal").path / "samples" / "simple"
    assert main(["tasks", "show", "video_temporal", "--data", str(rows)]) == 0
    assert re.search(r"video      \d+ frames of [\d.]+ s", capsys.readouterr().out)


def test_show_of_an_unknown_or_broken_task_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "show", "gui_groundin"]) == 2
    assert "did you mean gui_grounding" in capsys.readouterr().err
    (here / "tasks" / "broken").mkdir(parents=True)
    (here / "tasks" / "broken" / "task.py").write_text("\n1 / 0\n")
    assert main(["tasks", "show", "broken"]) == 2
    assert f"{here / 'tasks' / 'broken' / 'task.py'}:2: ZeroDivisionError" in capsys.readouterr().err


def test_the_example_is_a_whole_task_in_sixty_lines() -> None:
    folder = ROOT / "examples" / "own_task" / "tasks" / "brightest_square"
    assert [path.name for path in folder.glob("*.py")] == ["task.py"]
    assert len((folder / "task.py").read_text().splitlines()) <= 60
