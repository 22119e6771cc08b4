"""The command line's frame: what it accepts, what it says, and its exit codes. Commands' bodies are stood in for."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vlmrl.cli.main import main
from vlmrl.config import Config
from vlmrl.errors import Interrupted, UserError
from vlmrl.resolve import resolve, to_yaml

ROOT = Path(__file__).resolve().parents[2]
Calls = list[tuple[Any, ...]]


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configs folder whose quickstart differs from the defaults."""
    folder = tmp_path / "shipped"
    (folder / "recipes").mkdir(parents=True)
    (folder / "quickstart.yaml").write_text("optim:\n  lr: 4e-4\n")
    (folder / "recipes" / "paper.yaml").write_text("optim:\n  lr: 7e-7\n")
    monkeypatch.setattr("vlmrl.paths.configs_dir", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Every call of the training function."""
    calls: Calls = []

    def train(config: Config, resume: Path | None) -> dict[str, Any]:
        calls.append((config, resume))
        return {"score": 0.5}

    monkeypatch.setitem(sys.modules, "vlmrl.training.run", SimpleNamespace(train=train))
    return calls


def stand_in(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def train(config: Config, resume: Path | None) -> dict[str, Any]:
        raise error

    monkeypatch.setitem(sys.modules, "vlmrl.training.run", SimpleNamespace(train=train))


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "--help-config"], ["train", "a.b=1"]])
def test_answers_without_loading_anything_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from vlmrl.cli.main import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'peft', 'PIL'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", ["train", "eval", "check", "tasks", "report", "warmup"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    assert command in capsys.readouterr().out


def test_python_dash_m_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vlmrl", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("vlmrl ")


def test_flags_words_and_json(trained: Calls, tmp_path: Path) -> None:
    arguments = [
        "--task",
        "t",
        "--steps",
        "7",
        "optim.lr=1e-5",
        "--seed",
        "3",
        "rollout.group_size=2",
        "--json",
        "s.json",
    ]
    assert main(["train", *arguments]) == 0
    ((config, resume),) = trained
    assert (config.task.name, config.run.steps, config.run.seed) == ("t", 7, 3)
    assert (config.optim.lr, config.rollout.group_size, resume) == (1e-5, 2, None)
    assert json.loads((tmp_path / "s.json").read_text()) == {"score": 0.5}


def test_idle_threads_do_not_spin(trained: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    main(["train"])
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(
    ("arguments", "lr"),
    [
        ([], 4e-4),
        (["--model", "tiny"], 4e-4),
        (["--model", "some/folder"], Config().optim.lr),
        (["model=some/folder"], Config().optim.lr),
        (["--model", "some/folder", "--config", "quickstart"], 4e-4),
        (["--config", "recipes/paper"], 7e-7),
        (["--config", "mine.yaml"], 5e-5),
        (["--config", "mine.yaml", "optim.lr=1"], 1.0),
    ],
)
def test_the_settings_a_run_starts_from(arguments: list[str], lr: float, trained: Calls, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("optim: {lr: 5e-5}\n")
    assert main(["train", *arguments]) == 0
    assert trained[0][0].optim.lr == lr


def test_the_base_is_said(trained: Calls, shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "optim.lr=1"])
    assert f"settings: {shipped / 'quickstart.yaml'} and 1 from the command line" in capsys.readouterr().err
    main(["train", "--model", "some/folder"])
    assert "settings: the defaults" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optm.lr=1"], "there is no setting optm.lr (command line: optm.lr=1). Did you mean optim.lr?"),
        (["learning_rate=1"], "Did you mean optim.lr?"),
        (["--lr", "1e-5"], "vlmrl train has no flag --lr. Did you mean optim.lr=1e-5?"),
        (["--num-generations=4"], "Did you mean rollout.group_size=4?"),
        (["--optim.lr", "1"], "Did you mean optim.lr=1?"),
        (["--stesp", "4"], "Did you mean --steps 4?"),
        (["--steps", "many"], "run.steps must be a whole number, not 'many' (--steps many)"),
        (["gui_grounding"], "'gui_grounding' is not a setting: write name=value"),
        (["--config", "quik"], "not the name of a shipped one (quickstart, recipes/paper)"),
        (["--resume", "nowhere"], "--resume nowhere: not a run folder"),
        (["--resume", "nowhere", "--config", "quickstart"], "--config cannot be given with --resume"),
    ],
)
def test_wrong_input_is_one_clear_message(
    arguments: list[str], message: str, trained: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert printed.out == ""
    assert not trained


def test_a_json_place_that_cannot_be_written_is_refused_first(trained: Calls) -> None:
    for place in ("no/such/folder/s.json", "."):
        with pytest.raises(SystemExit) as exit_:
            main(["train", "--json", place])
        assert exit_.value.code == 2
    assert not trained


def test_unknown_commands_and_stray_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: vlmrl" in capsys.readouterr().err
    assert main(["report", "runs/x", "optim.lr=1"]) == 2
    assert "vlmrl report takes no 'optim.lr=1'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        main(["trian"])
    assert exit_.value.code == 2


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, UserError("row 3: no box; add one"))
    assert main(["train"]) == 2
    assert capsys.readouterr().err.endswith("error: row 3: no box; add one\n")
    stand_in(monkeypatch, Interrupted("continue with: vlmrl train --resume runs/x"))
    assert main(["train"]) == 130
    assert "vlmrl train --resume runs/x" in capsys.readouterr().err
    stand_in(monkeypatch, KeyboardInterrupt())
    assert main(["train"]) == 130
    stand_in(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        main(["train"])


@pytest.mark.parametrize("ok", [True, False])
def test_check_tells_by_its_exit_code(ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(ok=ok, print=lambda: None, record=dict)
    monkeypatch.setitem(sys.modules, "vlmrl.checks.run", SimpleNamespace(check=lambda config: found))
    assert main(["check"]) == (0 if ok else 2)


def test_eval_and_report_hand_over_what_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: Calls = []

    def called(*arguments: Any, **options: Any) -> dict[str, Any]:
        calls.append((*arguments, *options.values()))
        return {}

    monkeypatch.setitem(sys.modules, "vlmrl.evaluation.run", SimpleNamespace(evaluate=called))
    monkeypatch.setitem(sys.modules, "vlmrl.report.page", SimpleNamespace(write_report=called))
    assert main(["eval", "--benchmark", "b", "--data", "rows", "--limit", "5", "--save", "out", "--audit"]) == 0
    config, *asked = calls.pop()
    assert (config.eval.benchmark, config.data.held_out, config.data.max_rows) == ("b", "rows", 5)
    assert asked == [Path("out"), None, True]
    assert main(["report", "runs/x", "--all"]) == 0
    assert calls.pop() == (Path("runs/x"), None, True)


def saved_run(tmp_path: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(to_yaml(resolve(Config, words=["optim.lr=3", "run.dir=elsewhere", "run.steps=9"])))
    return run


def test_a_resumed_run_keeps_its_settings(trained: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved_run(tmp_path)
    assert main(["train", "--resume", str(run), "--steps", "20", "optim.lr=3"]) == 0
    config, resume = trained.pop()
    assert (config.optim.lr, config.run.steps, config.run.dir, resume) == (3.0, 20, str(run), run)
    assert main(["train", "--resume", str(run), "optim.lr=4"]) == 2
    assert "optim.lr is 3.0" in capsys.readouterr().err
    assert not trained


def test_printed_settings_are_a_settings_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: Calls
) -> None:
    assert main(["train", "--print-config", "--seed", "5", "task.options.answer=box", "optim.lr=2"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert main(["train", "--print-config", "--config", "printed.yaml"]) == 0
    assert capsys.readouterr().out == printed
    assert not trained


def test_config_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help-config"]) == 0
    assert "optim.lr = " in capsys.readouterr().out


VALUES = {float: st.floats(allow_nan=False), int: st.integers(), bool: st.booleans()}
NUMERIC = [
    ("optim.lr", float),
    ("rollout.temperature", float),
    ("run.seed", int),
    ("data.max_rows", int),
    ("engine.self_check", bool),
]


@given(st.sampled_from(NUMERIC).flatmap(lambda setting: st.tuples(st.just(setting[0]), VALUES[setting[1]])))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_set_by_a_word_reaches_the_command(trained: Calls, setting: tuple[str, Any]) -> None:
    name, value = setting
    written = str(value).lower().replace("inf", ".inf")
    assert main(["train", f"{name}={written}"]) == 0
    assert functools.reduce(getattr, name.split("."), trained.pop()[0]) == value


SOUND_TASK = """
from vlmrl.task import Task, metric, reward

class Sound(Task):
    \"\"\"A task that loads.\"\"\"

    @reward(weight=0.5)
    def near(self, answer, sample, rollout):
        return 1.0

    @metric
    def hit(self, answer, sample, rollout):
        return 1.0
"""


def test_a_broken_task_is_listed_with_its_line_and_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = {"a_broken": "import os\n\nimport no_such_module\n", "sound": SOUND_TASK}
    for name, source in sources.items():
        (tmp_path / "tasks" / name).mkdir(parents=True)
        (tmp_path / "tasks" / name / "task.py").write_text(source)
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'tasks' / 'a_broken' / 'task.py'}:3: ModuleNotFoundError" in printed
    assert "A task that loads." in printed
    assert "near, weight 0.5" in printed
