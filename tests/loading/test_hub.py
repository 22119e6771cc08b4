"""Hub data sets are read from the local cache, and fetched only when that is asked for."""

from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from PIL import Image

from vlmrl.cli.main import main
from vlmrl.errors import UserError
from vlmrl.loading.hub import local_data
from vlmrl.registry import find_task
from vlmrl.training.data import load_rows

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds the data set org/clicks, laid out as huggingface_hub does it; returns the snapshot."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "datasets--org--clicks"
    snapshot = repository / "snapshots" / COMMIT
    (snapshot / "data" / "images").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    Image.new("RGB", (64, 48)).save(snapshot / "data" / "images" / "a.png")
    row = '{"image": "a.png", "instruction": "press stop", "bbox": [8, 8, 40, 40]}\n'
    (snapshot / "data" / "train.jsonl").write_text(row)
    return snapshot


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each look-up was kept to local files; the real look-up is made too."""
    calls: list[bool] = []
    look_up: Callable[..., str] = huggingface_hub.snapshot_download

    def noted(repository: str, *, local_files_only: bool, **rest: str) -> str:
        calls.append(local_files_only)
        return look_up(repository, local_files_only=True, **rest)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", noted)
    return calls


def test_a_cached_data_set_is_read_by_the_task_s_own_loader(cached: Path, asked: list[bool]) -> None:
    task = find_task("gui_grounding").create({})
    for written in ("org/clicks/data", "org/clicks/data/train.jsonl"):
        (row,) = load_rows(task, written)
        assert row.question == "press stop"
    assert local_data("org/clicks", download=False) == cached
    assert asked == [True, True, True]


def test_a_path_that_exists_is_never_looked_up(cached: Path, asked: list[bool], tmp_path: Path) -> None:
    (tmp_path / "org" / "clicks").mkdir(parents=True)
    assert local_data("org/clicks", download=False) == Path("org/clicks")
    assert asked == []


def test_downloading_has_to_be_asked_for(cached: Path, asked: list[bool]) -> None:
    with pytest.raises(UserError, match=r"hub cache has no data set org/other; data\.download=true fetches it"):
        local_data("org/other", download=False)
    with pytest.raises(UserError, match=r"hub cache has no data set org/other$"):
        local_data("org/other", download=True)
    assert asked == [True, False]


@pytest.mark.parametrize("written", ["rows.json", "./rows.json", "/no/such/place", "../org/clicks", "a b/c"])
def test_what_can_be_no_hub_id_is_a_missing_path(cached: Path, asked: list[bool], written: str) -> None:
    with pytest.raises(UserError, match="does not exist; --data takes a file, a folder or a hub id"):
        local_data(written, download=True)
    assert asked == []


def test_a_wrong_path_inside_lists_what_is_there(cached: Path) -> None:
    with pytest.raises(UserError, match=r"org/clicks has no annotations here; it has data"):
        local_data("org/clicks/annotations", download=False)


def test_a_benchmark_says_which_files_it_reads(cached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--benchmark", "screenspot", "--data", "org/other"]) == 2
    printed = capsys.readouterr().err
    assert "no data set org/other" in printed
    assert "benchmark screenspot reads" in printed
