"""A run small enough for a test: the real model, task and files, few rows and steps."""

from collections.abc import Callable
from pathlib import Path

import pytest

from vlmrl.config import Config
from vlmrl.resolve import resolve

SMALL = [
    "rollout.prompts_per_step=6",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=16",
    "rollout.temperature=1.2",
    "optim.lr=1e-4",
    "optim.warmup_steps=2",
    "data.held_out_rows=8",
    "eval.every=2",
    "run.steps=4",
    "run.save_every=2",
    "run.logged_groups=1",
    "run.device=cpu",
]

MakeConfig = Callable[..., Config]


@pytest.fixture
def small_config(tmp_path: Path) -> MakeConfig:
    def make(*words: str, run: str = "run") -> Config:
        return resolve(Config, words=[*SMALL, f"run.dir={tmp_path / run}", *words])

    return make
