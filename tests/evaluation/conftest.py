"""A small evaluation of the embedded model on drawn screens, with chunks small enough to stop between."""

from pathlib import Path

import pytest

from vlmrl.config import Config
from vlmrl.evaluation import run
from vlmrl.paths import configs_dir
from vlmrl.resolve import resolve

ROWS = 10


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    monkeypatch.setattr(run, "CHUNK_ROWS", 4)
    monkeypatch.chdir(tmp_path)
    return evaluation_config()


def evaluation_config(*words: str) -> Config:
    words = (f"data.max_rows={ROWS}", "run.device=cpu", *words)
    return resolve(Config, file=configs_dir() / "quickstart.yaml", words=words)
