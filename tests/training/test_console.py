"""What a run prints: a line per step that fits 80 columns on a terminal, little elsewhere, no colours with NO_COLOR."""

import io
import re
from typing import Any

import pytest
import torch
from rich.console import Console

from vlmrl.config import ModelConfig
from vlmrl.models.load import load_policy
from vlmrl.progress import phase, tracked
from vlmrl.training.console import HEAD_EVERY, PLAIN_EVERY, Progress

METRICS = {
    "groups": 6,
    "sampled_groups": 6,
    "reward": 0.53125,
    "accuracy": 0.4531,
    "unparsed": 0.042,
    "dead_groups": 0.125,
    "completion_tokens": 13.24,
    "entropy": 0.912,
    "split_passes": 0,
}
EXTREME = METRICS | {
    "reward": -12.34567,
    "accuracy": 1.0,
    "unparsed": 1.0,
    "dead_groups": 1.0,
    "completion_tokens": 16384.0,
    "entropy": float("nan"),
}
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38|9[0-7])[0-9;]*m")


def printed(steps: range, metrics: dict[str, Any], *, terminal: bool, total: int = 100) -> str:
    written = io.StringIO()
    progress = Progress(total)
    progress.console = Console(file=written, force_terminal=terminal, width=80, highlight=False)
    for step in steps:
        progress.step(step, metrics)
    return written.getvalue()


def test_a_step_is_one_line_under_its_heads() -> None:
    head, line = printed(range(12, 13), METRICS, terminal=True).splitlines()
    assert head.split() == ["step", "reward", "accuracy", "unparsed", "dead", "tokens", "entropy", "seconds"]
    assert line.split()[:-1] == ["12/100", "0.531", "45.3%", "4.2%", "12%", "13.2", "0.91"]
    assert [match.end() for match in re.finditer(r"\S+", head)] == [m.end() for m in re.finditer(r"\S+", line)]


def test_lines_fit_80_columns_and_columns_stay_apart() -> None:
    lines = printed(range(99_998, 100_000), EXTREME, terminal=True, total=100_000).splitlines()
    assert all(len(line) < 80 for line in lines)
    assert len(lines[1].split()) == 8


def test_a_step_without_a_usable_group_says_so() -> None:
    nothing = {"groups": 0, "sampled_groups": 64, "split_passes": 0}
    assert "none of 64 sampled groups varies" in printed(range(1, 2), nothing, terminal=True)


@pytest.mark.parametrize(("terminal", "lines"), [(True, 3 * PLAIN_EVERY), (False, 3)])
def test_elsewhere_than_on_a_terminal_only_some_steps_are_printed(terminal: bool, lines: int) -> None:
    found = printed(range(1, 3 * PLAIN_EVERY + 1), METRICS, terminal=terminal).splitlines()
    assert sum("/100" in line for line in found) == lines
    assert sum("reward" in line for line in found) == -(-lines // HEAD_EVERY)


@pytest.mark.parametrize("terminal", [True, False])
def test_phases_give_what_they_wrap_and_are_silent_off_a_terminal(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=80)
    with phase("decoding", 3, console) as advance:
        advance(3)
    with phase("loading", console=console):
        pass
    assert list(tracked(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    with phase("outer", console=console), phase("inner", console=console):
        pass
    shown = written.getvalue()
    assert "inner" not in shown
    assert ("decoding" in shown and "loading" in shown) if terminal else shown == ""
    assert not COLOUR.search(shown)


def test_loading_a_model_shows_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def tracked(items: Any, what: str, total: int) -> Any:
        seen.append((what, total))
        return items

    monkeypatch.setattr("vlmrl.models.load.tracked", tracked)
    model = load_policy(ModelConfig(), torch.device("cpu"), trainable=False).model
    (loaded,) = seen
    assert loaded[0] == "loading weights"
    assert 0 < loaded[1] <= len(model.state_dict())
