"""What trackers are sent, and that each of them takes it. Their packages are optional."""

import importlib.machinery
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.conftest import MakeConfig
from vlmrl.errors import UserError
from vlmrl.geometry import Box, Clip, ImageRecord, Point, Size, Span, Unit
from vlmrl.report.raster import COLOURS, GOLD, LANE, MAX_SIDE, drawn_group
from vlmrl.training import trackers
from vlmrl.training.run import train
from vlmrl.training.trackers import PICTURES_EVERY, Picture, Trackers, flattened, require_trackers
from vlmrl.types import Answer, Finish, Group, Prompt, Rollout, Sample, Unparsed

RECORD = ImageRecord(0, Size(200, 100))
FRAME = RECORD.frame(Unit.ORIGINAL)
GOLD_BOX = Box(20, 20, 60, 40, FRAME)


def group(sample: Sample, *answers: Answer | Unparsed) -> Group:
    rollouts = [Rollout([1], [0.0], 0.0, "", Finish.STOP, answer, reward=float(i)) for i, answer in enumerate(answers)]
    return Group("g", Prompt(sample, "", torch.zeros(1, dtype=torch.int64), {}), rollouts)


def on_a_picture(*answers: Answer | Unparsed) -> Group:
    return group(Sample("a", (Image.new("RGB", (200, 100), "gray"),), (RECORD,), "click it", GOLD_BOX), *answers)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


@dataclass
class Kept:
    """A tracker that keeps what it gets."""

    logged: list[tuple[int, Mapping[str, float], Mapping[str, Picture]]] = field(default_factory=list)
    closed: bool = False

    def log(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        self.logged.append((step, figures, pictures))

    def close(self) -> None:
        self.closed = True


def test_figures_are_the_finite_numbers_by_their_path() -> None:
    values = {"reward": 0.5, "rewards": {"iou": 1, "format": None}, "grad_norm": float("nan"), "metric": "hit"}
    assert dict(flattened({"train": values})) == {"train/reward": 0.5, "train/rewards/iou": 1.0}


def test_gold_and_answers_are_where_they_belong() -> None:
    picture = drawn_group(on_a_picture(Point(30, 30, FRAME), Point(150, 80, FRAME), Unparsed("no JSON")))
    assert picture is not None
    assert picture.size == (600, 300)  # enlarged three times
    assert picture.getpixel((60, 90)) == rgb(GOLD)
    assert picture.getpixel((90, 90)) == rgb(COLOURS["hit"])
    assert picture.getpixel((450, 240)) == rgb(COLOURS["miss"])


def test_several_pictures_stand_side_by_side() -> None:
    records = (RECORD, ImageRecord(1, Size(3000, 1000)))
    images = tuple(Image.new("RGB", (r.original.width, r.original.height)) for r in records)
    asked = Box(0, 0, 300, 100, records[1].frame(Unit.ORIGINAL))
    picture = drawn_group(group(Sample("a", images, records, "find it", asked, asked_image=1)))
    assert picture is not None
    assert picture.size == (600 + 8 + MAX_SIDE, 300)


def test_spans_of_a_video_are_drawn_over_its_time() -> None:
    clip = Clip(0, 10.0)
    sample = Sample("a", (), (), "when?", Span(5, 10, clip), clips=(clip,))
    picture = drawn_group(group(sample, Span(0, 5, clip)))
    assert picture is not None
    gold_lane, answer_lane = 4 + LANE // 2, 4 + LANE + LANE // 2
    assert picture.getpixel((MAX_SIDE * 3 // 4, gold_lane)) == rgb(GOLD)
    assert picture.getpixel((MAX_SIDE // 4, answer_lane)) == rgb(COLOURS["miss"])
    assert picture.getpixel((MAX_SIDE * 3 // 4, answer_lane)) == (255, 255, 255)


def test_pictures_go_with_few_steps_and_every_evaluation() -> None:
    kept = Kept()
    with Trackers([kept]) as all_:
        for step in range(1, 2 * PICTURES_EVERY + 1):
            all_.step(step, {"reward": 0.5}, [on_a_picture(Point(1, 1, FRAME))], {"rollout": 1.5})
        all_.evaluation(20, {"score": 0.25, "metric": "hit"}, [on_a_picture(), on_a_picture()])
    assert kept.closed
    assert [step for step, _, pictures in kept.logged if "groups/0" in pictures] == [1, 10, 20]
    assert kept.logged[0][1] == {"train/reward": 0.5, "seconds/rollout": 1.5}
    assert kept.logged[0][2]["groups/0"].caption == "click it (rewards 1: 0.00)"
    step, figures, pictures = kept.logged[-1]
    assert (step, figures, list(pictures)) == (20, {"held_out/score": 0.25}, ["held_out_rows/0", "held_out_rows/1"])


def test_a_run_logs_its_steps_and_evaluations(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    opened: dict[str, Any] = {}

    def open_(run: Path, run_id: str, settings: Mapping[str, Any], step: int) -> Kept:
        opened.update(run=run, run_id=run_id, settings=settings, step=step)
        return kept

    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", open_)
    monkeypatch.setattr("vlmrl.training.run.require_trackers", lambda names: None)
    train(small_config("run.trackers=[tensorboard]", "run.steps=2"))
    assert kept.closed
    assert [step for step, _, _ in kept.logged] == [0, 1, 2, 2]
    assert {"train/reward", "train/rewards/point_in_box", "train/loss", "seconds/update"} <= set(kept.logged[1][1])
    assert {"held_out/score", "held_out/n"} <= set(kept.logged[0][1])
    assert opened["settings"]["run"]["trackers"] == ["tensorboard"]
    assert len(opened["run_id"]) == 8


@pytest.mark.parametrize("found", [None, importlib.machinery.ModuleSpec("wandb", None)])
def test_a_missing_package_is_named_with_its_command(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(UserError, match="pip install wandb"):
        require_trackers(["wandb"])


LOG = """
import sys
from pathlib import Path
from PIL import Image
from vlmrl.training.trackers import TRACKERS, Picture
tracker = TRACKERS[sys.argv[1]](Path(sys.argv[2]), "1234abcd", {"run": {"steps": 3}}, 0)
tracker.log(1, {"train/reward": 0.25}, {"groups/0": Picture(Image.new("RGB", (8, 6)), "a dark picture")})
tracker.log(2, {"train/reward": 0.5}, {})
tracker.close()
"""


def log_and_close(name: str, run: Path, **environment: str) -> None:
    """In a process of its own: wandb and trackio keep their settings for as long as one lives."""
    pytest.importorskip(name, reason=f"pip install {name}")
    run.mkdir()
    subprocess.run([sys.executable, "-c", LOG, name, str(run)], env={**os.environ, **environment}, check=True)


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    log_and_close("tensorboard", tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/reward")] == [(1, 0.25), (2, 0.5)]
    assert [(e.step, e.width, e.height) for e in events.Images("groups/0")] == [(1, 8, 6)]


def test_wandb_keeps_a_run_offline(tmp_path: Path) -> None:
    log_and_close("wandb", tmp_path / "run", WANDB_MODE="offline")
    folder = tmp_path / "run" / "wandb"
    assert len(list(folder.glob("offline-run-*-1234abcd/run-1234abcd.wandb"))) == 1
    assert len(list(folder.glob("offline-run-*/files/media/images/groups/0_*.png"))) == 1


def test_wandb_without_a_key_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="pip install wandb")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment |= {"HOME": str(tmp_path / "home"), "NETRC": str(tmp_path / "netrc")}
    command = [sys.executable, "-m", "vlmrl", "train", "run.trackers=[wandb]", f"run.dir={tmp_path / 'run'}"]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "WANDB_MODE=offline" in done.stderr
    assert not (tmp_path / "run").exists()


def test_trackio_reads_back_what_was_logged(tmp_path: Path) -> None:
    log_and_close("trackio", tmp_path / "run", TRACKIO_DIR=str(tmp_path / "trackio"))
    with sqlite3.connect(tmp_path / "trackio" / "vlmrl.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by step").fetchall()
    assert [(name, step) for name, step, _ in rows] == [("run-1234abcd", 1), ("run-1234abcd", 2)]
    assert [json.loads(metrics)["train/reward"] for _, _, metrics in rows] == [0.25, 0.5]
    assert len(list((tmp_path / "trackio" / "media").rglob("*.png"))) == 1
