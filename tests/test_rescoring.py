"""Saved rollouts scored again: unchanged code changes nothing, changed code changes what it should."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vlmrl.answers.action import ActionKind, ActionSpace, Argument
from vlmrl.cli.main import main
from vlmrl.config import Config
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.paths import tasks_dir
from vlmrl.records import answer_record, extra_record, recorded_extra
from vlmrl.report.logged import LoggedGroup, logged_group
from vlmrl.rescoring import RescoredGroup, rescore, same_outcome
from vlmrl.resolve import resolve
from vlmrl.training.run import train
from vlmrl.types import Boxes, LabelledBox, Score

TINY = [
    "rollout.prompts_per_step=3",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=24",
    "data.held_out_rows=0",
    "run.steps=1",
    "run.logged_groups=1",
    "run.device=cpu",
    "engine.self_check=false",
]
RECORD = ImageRecord(0, Size(100, 50))
FRAME = RECORD.frame(Unit.ORIGINAL)
BOX = Box(1, 2, 30, 40, FRAME)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(resolve(Config, words=[*TINY, "rollout.temperature=1.3", f"run.dir={folder}"]))
    return folder


FAILING = """
    @reward(weight=1.0)
    def constant(self, answer, sample, rollout):
        return 1 / (len(sample.tags["kind"]) - 4)

"""
"""A reward that divides by zero: every kind of element has four letters."""


def settings(run: Path, *words: str) -> Config:
    return resolve(Config, file=run / "config.yaml", words=words)


TASKS = sorted(file.parent.name for file in tasks_dir().glob("*/task.py"))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_unchanged_code_changes_nothing(task: str, tmp_path: Path) -> None:
    """Every shipped task: the folder keeps all that its rewards need, and answers parse as they did."""
    folder = tmp_path / "run"
    train(resolve(Config, words=[*TINY, f"task.name={task}", f"run.dir={folder}"]))
    found = rescore(folder, settings(folder)).record()
    assert found["groups"] == 3
    assert found["rollouts"] == 12
    assert found["answers_changed"] == found["groups_flipped"] == 0
    assert {one["changed"] for one in [*found["components"].values(), found["reward"]]} == {0}
    assert {one["errors"] for one in found["components"].values()} == {0}


def test_several_tasks_keep_to_their_own_code(tmp_path: Path) -> None:
    words = [*TINY, "task.name=gui_grounding,detection", f"run.dir={tmp_path / 'run'}"]
    train(resolve(Config, words=words))
    found = rescore(tmp_path / "run", settings(tmp_path / "run"))
    assert "gui_grounding.point_in_box" in found.components
    assert any(name.startswith("detection.") for name in found.components)
    assert found.total.changed == 0
    assert main(["rescore", str(tmp_path / "run"), "--task", "detection"]) == 2


def test_other_weights_change_the_total_alone(run: Path) -> None:
    found = rescore(run, settings(run, "task.weights.closeness=1")).record()
    assert {one["changed"] for one in found["components"].values()} == {0}
    closeness = found["components"]["closeness"]["old"]
    assert found["reward"]["new"] == pytest.approx(found["reward"]["old"] + closeness)


def test_changed_code_of_a_task_in_the_working_directory(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = Path(__file__).parents[1] / "tasks" / "gui_grounding"
    mine = tmp_path / "tasks" / "mine"
    shutil.copytree(shipped, mine, ignore=shutil.ignore_patterns("samples"))
    source = (mine / "task.py").read_text()
    (mine / "task.py").write_text(source.replace("    @reward", f"{FAILING}    @reward", 1))
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.html"
    assert main(["rescore", str(run), "--task", "mine", "--out", str(page), "--json", "found.json"]) == 0
    found = json.loads(Path("found.json").read_text())
    assert found["components"]["constant"]["old"] is None
    assert found["components"]["constant"]["errors"] > 0
    assert found["components"]["point_in_box"]["changed"] == 0
    assert "ZeroDivisionError" in page.read_text()
    shown = capsys.readouterr().out
    assert "constant" in shown
    assert shown.rstrip().endswith(str(page))


def logged(*rewards: float) -> LoggedGroup:
    """A group of rollouts that earned so much."""
    rollout = {"text": "", "finish": "stop", "answer": {"unparsed": "empty"}}
    row = {"id": "r", "question": "q", "images": [None], "sizes": [[100, 50]], "gold": answer_record(BOX)}
    rollouts = [{**rollout, "reward": reward} for reward in rewards]
    return logged_group({"step": 1, "group": "g", "sample": row, "rollouts": rollouts})


@pytest.mark.parametrize(
    ("old", "new", "flips"),
    [
        ((0, 1, 2), (0, 1, 2), []),
        ((0, 1, 2), (0, 10, 20), []),
        ((0, 1, 2), (2, 1, 0), [(1, 2), (1, 3), (2, 3)]),
        ((0, 1), (1, 1), []),  # a tie is no flip
        ((1, 1), (0, 1), []),
        ((0.5, 0.4, 0.1), (0.4, 0.5, 0.1), [(1, 2)]),
    ],
)
def test_flips_are_pairs_that_change_places(
    old: tuple[float, ...], new: tuple[float, ...], flips: list[tuple[int, int]]
) -> None:
    assert RescoredGroup(logged(*old), logged(*new)).flips == flips


def test_outcomes_are_the_same_by_what_they_say() -> None:
    assert same_outcome(Score(0.5), Score(0.5 + 1e-12))
    assert not same_outcome(Score(0.5), Score(0.6))
    assert same_outcome(Score(error="line 3"), Score(error="line 4"))
    assert not same_outcome(Score(0.0), Score(error="line 4"))
    assert not same_outcome(Score(0.0), Score(unscorable="no extent"))
    assert not same_outcome(None, Score(0.0))


EXTRAS: Mapping[str, Any] = {
    "text": "a",
    "nothing": None,
    "options": ("a", "b"),
    "box": BOX,
    "candidates": (BOX, BOX),
    "ignored": Boxes((LabelledBox("cat", BOX),)),
    "actions": ActionSpace(
        "phone", (ActionKind("click", Argument.POINT), ActionKind("press", Argument.TEXT, ("home",)))
    ),
    "limits": {"low": 0.5, "names": ("x", "y")},
}


def test_extras_survive_their_record() -> None:
    line = json.loads(json.dumps(extra_record({**EXTRAS, "unwritable": object(), "bytes": b"x"})))
    assert recorded_extra(line, [FRAME], []) == EXTRAS


@pytest.mark.parametrize(
    "value",
    [
        {"type": "dataclass", "class": "subprocess.Popen", "fields": {"args": ["true"]}},
        {"type": "dataclass", "class": "vlmrl.records.group_record", "fields": {}},
        {"type": "dataclass", "class": "vlmrl.errors.UserError", "fields": {}},
        {"type": "enum", "class": "vlmrl.types.Score", "name": "value"},
    ],
)
def test_only_dataclasses_and_enumerations_of_ours_are_made(value: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        recorded_extra({"x": value}, [], [])


def test_what_cannot_be_rescored_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err
    empty = tmp_path / "empty"
    shutil.copytree(run, empty)
    shutil.rmtree(empty / "rollouts")
    assert main(["rescore", str(empty)]) == 2
    assert "no rollouts yet" in capsys.readouterr().err
    (empty / "rollouts").mkdir()
    (empty / "rollouts" / "step-000001.jsonl").write_text('{"step": 1, "sample": {}}\n')
    assert main(["rescore", str(empty)]) == 2
    assert "a group of step 1" in capsys.readouterr().err
