from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.evaluation.run import find_benchmark
from vlmrl.paths import tasks_dir
from vlmrl.registry import PluginError, find_task, find_tasks, search_path

WORKING = '''
from dataclasses import dataclass
from vlmrl.task import Task, metric, reward
from .marks import MARK

@dataclass
class Clicking(Task):
    """Click."""

    tolerance: float = 1.0

    @reward(weight=1.0)
    def inside(self, answer, sample, rollout):
        return MARK

    @metric
    def hit(self, answer, sample, rollout):
        return MARK
'''


def make_task(place: Path, name: str, code: str = WORKING, mark: float = 1.0) -> Path:
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "task.py").write_text(code)
    (folder / "marks.py").write_text(f"MARK = {mark}\n")
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VLMRL_TASKS", raising=False)
    return tmp_path


def test_shipped_tasks_are_found(here: Path) -> None:
    assert find_tasks()["gui_grounding"].path == tasks_dir() / "gui_grounding"
    assert find_task("gui_grounding").task_class.metrics()[0] == "hit"


def test_a_folder_in_tasks_is_a_task(here: Path) -> None:
    folder = make_task(here / "tasks", "mine")
    (here / "tasks" / "notes").mkdir()  # no task.py
    assert find_task("mine").path == folder
    assert "notes" not in find_tasks()
    task = find_task("mine").create({"tolerance": 2})
    assert task.tolerance == 2.0  # type: ignore[attr-defined]
    assert find_task("mine").submodule("marks").MARK == 1.0


def test_folders_named_in_the_environment_are_searched(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_task(here / "a", "first")
    make_task(here / "b", "second")
    monkeypatch.setenv("VLMRL_TASKS", f"{here / 'a'}:{here / 'b'}:{here / 'missing'}")
    assert {"first", "second", "gui_grounding"} <= set(find_tasks())
    assert here / "missing" not in search_path()


def test_the_first_place_wins_and_is_complete_in_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_task(here / "far", "mine", mark=0.0)
    (here / "far" / "mine" / "extra.py").write_text("")
    monkeypatch.setenv("VLMRL_TASKS", str(here / "far"))
    assert find_task("mine").submodule("marks").MARK == 0.0
    near = make_task(here / "tasks", "mine", mark=0.5)
    assert find_task("mine").path == near
    assert find_task("mine").submodule("marks").MARK == 0.5
    with pytest.raises(PluginError, match="extra"):  # never from the shadowed folder
        find_task("mine").submodule("extra")


def test_a_user_task_may_shadow_a_shipped_one(here: Path) -> None:
    folder = make_task(here / "tasks", "gui_grounding")
    assert find_task("gui_grounding").path == folder
    assert find_task("gui_grounding").task_class.__name__ == "Clicking"


@pytest.mark.parametrize(
    ("code", "line", "fault"),
    [
        ("import math\n\nmath.nothing\n", 3, "AttributeError"),
        ("x = (\n", 1, "SyntaxError"),
        ("\nimport no_such_module_anywhere\n", 2, "ModuleNotFoundError"),
        ("from .marks import NOTHING\n", 1, "ImportError"),
    ],
)
def test_a_broken_task_names_file_and_line_and_hides_no_other(here: Path, code: str, line: int, fault: str) -> None:
    broken = make_task(here / "tasks", "broken", code)
    make_task(here / "tasks", "working")
    assert {"broken", "working", "gui_grounding"} <= set(find_tasks())
    with pytest.raises(PluginError, match=fault) as caught:
        _ = find_task("broken").task_class
    assert f"{broken / 'task.py'}:{line}" in str(caught.value)
    assert find_task("working").task_class.__name__ == "Clicking"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("", "exactly one subclass of Task, found 0"),
        (f"{WORKING}\nclass Other(Clicking): pass\n", "exactly one subclass of Task, found 2"),
        ("from vlmrl.task import Task\nclass Empty(Task): pass\n", "no method marked @metric"),
        (WORKING.replace("@reward(weight=1.0)", ""), "no method marked @reward"),
    ],
)
def test_an_incomplete_task_is_refused(here: Path, code: str, message: str) -> None:
    make_task(here / "tasks", "incomplete", code)
    with pytest.raises(PluginError, match=message):
        _ = find_task("incomplete").task_class


def test_an_imported_task_class_is_not_the_folder_s_own(here: Path) -> None:
    derived = "from vlmrl_tasks.gui_grounding.task import GuiGrounding\nclass Own(GuiGrounding): pass\n"
    make_task(here / "tasks", "derived", derived)
    find_task("gui_grounding").submodule("task")
    assert find_task("derived").task_class.__name__ == "Own"


def test_a_broken_package_s_tasks_are_said_and_hide_no_others(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = EntryPoint("broken", "no_such_package_anywhere.tasks", "vlmrl.tasks")
    monkeypatch.setattr("vlmrl.registry.entry_points", lambda group: [broken])
    assert "gui_grounding" in find_tasks()
    message = "tasks of no_such_package_anywhere.tasks cannot be loaded: ModuleNotFoundError"
    assert message in capsys.readouterr().err


def test_a_broken_benchmark_file_hides_no_other_benchmark(here: Path) -> None:
    folder = make_task(here / "tasks", "broken")
    (folder / "benchmarks.py").write_text("\n1 / 0\n")
    assert find_benchmark("screenspot")[0] == "gui_grounding"
    with pytest.raises(UserError, match=rf"unknown benchmark 'chess'.*(?s:.*){folder / 'benchmarks.py'}:2: Zero"):
        find_benchmark("chess")


def test_unknown_names_get_a_suggestion(here: Path) -> None:
    with pytest.raises(UserError, match="did you mean gui_grounding"):
        find_task("gui_groundin")
    with pytest.raises(UserError, match=r"unknown task 'chess': known tasks: .*gui_grounding"):
        find_task("chess")


@pytest.mark.parametrize("options", [{"tolerence": 1}, {"tolerance": "much"}, {"answer_type": "box"}])
def test_unknown_options_and_wrong_types_are_refused(here: Path, options: dict[str, object]) -> None:
    make_task(here / "tasks", "mine")
    with pytest.raises(UserError, match=r"task\.options\."):
        find_task("mine").create(options)
