"""The trainer's side: order, lost workers, a dead trainer, no leaks."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.sandbox.charts import BAR_CHART, descendants
from vlmrl.errors import UserError
from vlmrl.sandbox import Limits, Sandbox, Status

CHECKOUT = Path(__file__).resolve().parents[2]


def test_outcomes_keep_the_scripts_order() -> None:
    scripts = [BAR_CHART.replace("Sales", f"Sales {number}") for number in range(8)]
    scripts[3] = "1 / 0"
    scripts[5] = "import time\ntime.sleep(0.5)\n" + scripts[5]
    with Sandbox(workers=2) as sandbox:
        outcomes = sandbox.run(scripts)
    assert [outcome.status for outcome in outcomes] == [Status.ERROR if n == 3 else Status.OK for n in range(8)]
    for number, outcome in enumerate(outcomes):
        if outcome.figure is not None:
            titles = [text.text for text in outcome.figure.texts if text.role == "title"]
            assert titles == [f"Sales {number}"]


def test_no_scripts(sandbox: Sandbox) -> None:
    assert sandbox.run([]) == []


def test_identical_scripts_get_identical_figures_from_any_worker() -> None:
    script = """
import random
import numpy as np
import matplotlib.pyplot as plt
plt.scatter(np.random.rand(50), np.random.randn(50), c=[random.random() for _ in range(50)])
plt.title(str({"a", "b", "c", "d"}))
"""
    with Sandbox(workers=2) as sandbox:
        figures = [outcome.figure for outcome in sandbox.run([script] * 4)]
    assert figures[0] is not None
    assert all(figure == figures[0] for figure in figures)


def test_a_lost_worker_is_replaced() -> None:
    with Sandbox(workers=1) as sandbox:
        process = sandbox._workers[0]._process
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        outcomes = sandbox.run([BAR_CHART, BAR_CHART])
        assert [outcome.status for outcome in outcomes] == [Status.KILLED, Status.OK]
        assert "worker" in outcomes[0].message
        assert [outcome.fault for outcome in outcomes] == [True, False]


def test_a_closed_sandbox_says_so() -> None:
    sandbox = Sandbox(workers=1)
    sandbox.close()
    sandbox.close()
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run([BAR_CHART])


def test_closing_leaves_nothing() -> None:
    before = descendants(os.getpid())
    with Sandbox(workers=2) as sandbox:
        sandbox.run([BAR_CHART, "import os\nos.makedirs('a/b/c')"])
        folder = sandbox._folder
        assert folder.is_dir()
    assert not folder.exists()
    assert descendants(os.getpid()) == before


def test_interruption_closes_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descendants(os.getpid())
    sandbox = Sandbox(workers=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox, "_finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sandbox.run([BAR_CHART])
    assert descendants(os.getpid()) == before
    assert not sandbox._folder.exists()


def test_a_killed_trainer_leaves_nothing() -> None:
    program = """
from vlmrl.sandbox import Sandbox
sandbox = Sandbox(workers=2)
print(sandbox._folder, flush=True)
sandbox.run(["import time; time.sleep(1000)"] * 2)
"""
    trainer = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    assert trainer.stdout is not None
    folder = Path(trainer.stdout.readline().strip())
    time.sleep(0.5)  # the scripts are running
    children = descendants(trainer.pid)
    assert len(children) >= 4
    trainer.kill()
    trainer.communicate()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not folder.exists()


def test_a_worker_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmrl.sandbox.runner._START", "import no_such_module")
    with pytest.raises(UserError, match="no_such_module"):
        Sandbox(workers=1)


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmrl.sandbox.runner._START", "raise ModuleNotFoundError(\"No module named 'matplotlib'\")")
    with pytest.raises(UserError, match=r"vlmrl\[chart\]"):
        Sandbox(workers=1)


@pytest.mark.parametrize("name", ["wall_seconds", "cpu_seconds", "memory_bytes", "pixels"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0})


@pytest.mark.parametrize("renders", [300, pytest.param(1_000, marks=pytest.mark.slow)])
def test_renders_leak_nothing(renders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes, files, descriptors and memory of trainer and workers are the same after many scripts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scripts = [BAR_CHART] * 5 + ["1 / 0", "import os; os._exit(1)", "open('file', 'w').write('x' * 1000)"]
    expected = [Status.OK] * 5 + [Status.ERROR] * 3
    with Sandbox(workers=2) as sandbox:

        def state() -> tuple[int, int, int, int]:
            processes = [os.getpid(), *descendants(os.getpid())]
            files = sum(1 for _ in tmp_path.rglob("*"))
            descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes)
            pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in processes)
            return len(processes), files, descriptors, pages * resource.getpagesize() >> 20

        sandbox.run(scripts * 4)
        before = state()
        rounds = -(-renders // 40)
        for _ in range(rounds):
            assert [outcome.status for outcome in sandbox.run(scripts * 5)] == expected * 5
        after = state()
    assert after[:3] == before[:3]
    assert after[3] - before[3] <= 16, f"from {before[3]} to {after[3]} MiB"
