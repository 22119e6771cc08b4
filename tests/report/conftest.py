"""A made-up run folder with everything a real one can show, and a browser that fails a test when a page complains."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

Json = dict[str, Any]

HOSTILE = """</pre></td><script>document.title='owned'</script><img src=x onerror="document.title='owned'">' " & \x00"""
TRACE = 'Traceback (most recent call last):\n  File "task.py", line 9, in iou\nZeroDivisionError: division by <zero>'

SIZES = ((256, 256), (640, 400), (390, 844))
RED = (214, 40, 40)
"""Colour of the gold element, which no other drawn thing has."""


BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OpenPage = Callable[[Path | str], Any]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: opens pages in a real browser (deselect with -m 'not browser')")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless chromium as the system has it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail("the pages are tested in chromium: apt-get install chromium, or deselect with -m 'not browser'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # chromium refuses its own sandbox to root, which tests in a container are
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens a file or an address; the test fails if a page logs an error, or asks for anything elsewhere."""
    context = browser.new_context(device_scale_factor=2, viewport={"width": 1200, "height": 900})
    complaints: list[str] = []
    own = ["file:", "data:"]
    context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    context.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
    context.on(
        "request", lambda request: None if request.url.startswith(tuple(own)) else complaints.append(request.url)
    )

    def open_(target: Path | str) -> Any:
        page = context.new_page()
        if isinstance(target, str):
            own.append(target)
        page.goto(target if isinstance(target, str) else target.as_uri())
        return page

    yield open_
    context.close()
    assert not complaints


def draw_screen(file: Path, size: tuple[int, int], gold: list[float], seed: int) -> None:
    """A screen-like picture: the gold element in red among grey-blue ones."""
    rng = random.Random(seed)
    picture = Image.new("RGB", size, (236, 238, 241))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        draw.rectangle((x, y, x + size[0] // 6, y + size[1] // 12), fill=(90, 110, rng.randrange(130, 200)))
    x1, y1, x2, y2 = gold
    draw.rectangle((x1, y1, x2 - 1, y2 - 1), fill=RED)
    picture.save(file)


def rollout(
    answer: Json, *, text: str, reward: float, advantage: float = 0.0, finish: str = "stop", **scores: Json
) -> Json:
    return {
        "text": text,
        "token_ids": list(range(14)),
        "logprobs": [-0.5] * 14,
        "finish": finish,
        "answer": answer,
        "scores": scores,
        "reward": reward,
        "advantage": advantage,
    }


def point(x: float, y: float, gold: list[float], advantage: float = 0.0) -> Json:
    hit = float(gold[0] <= x <= gold[2] and gold[1] <= y <= gold[3])
    return rollout(
        {"type": "point", "image": 0, "coordinates": [x, y]},
        text=f'{{"point_2d": [{x:.0f}, {y:.0f}]}}',
        reward=hit + 0.1,
        advantage=advantage,
        point_in_box={"value": hit},
        format={"value": 1.0},
    )


def line(step: int, group: str, name: str, size: tuple[int, int], gold: list[float], rollouts: list[Json]) -> Json:
    return {
        "step": step,
        "group": group,
        "sample": {
            "id": f"row-{name}",
            "question": f"click the red button {name}",
            "mode": "direct",
            "tags": {"platform": "web", "kind": "text"},
            "images": [name],
            "sizes": [list(size)],
            "model_sizes": [[size[0] // 2, size[1] // 2]],
            "gold": {"type": "box", "image": 0, "coordinates": gold},
        },
        "prompt": f"<|im_start|>user\nclick the red button {name}<|im_end|>\n<|im_start|>assistant\n",
        "rollouts": rollouts,
    }


def write_lines(file: Path, lines: list[Json], tail: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(entry) + "\n" for entry in lines) + tail, encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Makes a run folder of the given number of steps, finished or cut off in the middle of a line."""

    def make(steps: int = 8, *, finished: bool = True, groups_per_step: int = 3) -> Path:
        return made_up_run(tmp_path / "run", steps, finished=finished, groups_per_step=groups_per_step)

    return make


def made_up_run(run: Path, steps: int, *, finished: bool, groups_per_step: int) -> Path:
    rng = random.Random(7)
    (run / "images").mkdir(parents=True)
    (run / "config.yaml").write_text(
        f"task:\n  name: gui_grounding\nmodel:\n  path: tiny\nrun:\n  seed: 3\n  steps: {steps}\n",
        encoding="utf-8",
    )
    (run / "environment.json").write_text(json.dumps({"torch": "2.13.0", "device": "cpu"}), encoding="utf-8")
    _write_metrics(run, steps, rng, finished)
    for step in range(1, steps + 1):
        lines = [_training_line(run, step, index, rng) for index in range(groups_per_step)]
        cut = "" if finished or step < steps else json.dumps(lines[0])[:200]
        write_lines(run / "rollouts" / f"step-{step:06}.jsonl", lines, cut)
    _write_evals(run, steps, rng)
    if finished:
        (run / "summary.json").write_text(json.dumps(_summary(run, steps)), encoding="utf-8")
    return run


def _training_line(run: Path, step: int, index: int, rng: random.Random) -> Json:
    size = SIZES[index % len(SIZES)]
    gold = [size[0] * 0.25, size[1] * 0.5, size[0] * 0.5, size[1] * 0.5 + 40]
    name = f"s{step}p{index}"
    draw_screen(run / "images" / f"{name}.png", size, gold, seed=step * 10 + index)
    if index % 3 == 0:
        rollouts = [
            point(rng.gauss(gold[0] + 20, 30), rng.gauss(gold[1] + 15, 20), gold, rng.gauss(0, 1)) for _ in range(5)
        ]
        rollouts.append(point(rollouts[0]["answer"]["coordinates"][0], rollouts[0]["answer"]["coordinates"][1], gold))
        rollouts.append(point(size[0] * 1.5, -20.0, gold, -0.7))
        bad = {"unparsed": "no JSON object with point_2d"}
        rollouts.append(rollout(bad, text=HOSTILE, reward=0.0, advantage=-1.2, point_in_box={"value": 0.0}))
    elif index % 3 == 1:
        rollouts = [
            rollout(
                {
                    "type": "box",
                    "image": 0,
                    "coordinates": [gold[0] + d, gold[1] - d, gold[2] + 2 * d, gold[3] + d],
                },
                text=f'{{"bbox_2d": [{d}, 10, 200, 300]}}',
                reward=0.4,
                iou={"error": TRACE} if d == 0 else {"value": 0.4},
                format={"unscorable": "the completion was cut"} if d == 90 else {"value": 1.0},
                distance={"unscorable": "a box has no single position"},
                finish="length" if d == 90 else "stop",
            )
            for d in (0, 8, 90)
        ]
    else:
        rollouts = [point(gold[0] + 60, gold[1] + 20, gold) for _ in range(8)]
    return line(step, f"s{step}-p{index}", name, size, gold, rollouts)


def _write_metrics(run: Path, steps: int, rng: random.Random, finished: bool) -> None:
    records: list[Json] = [_evaluation(0, 0.406)]
    for step in range(1, steps + 1):
        share = step / steps
        records.append(
            {
                "kind": "train",
                "step": step,
                "reward": 0.4 + 0.3 * share + rng.gauss(0, 0.06),
                "rewards": {"point_in_box": 0.35 + 0.3 * share + rng.gauss(0, 0.06), "format": 0.97},
                "accuracy": 0.35 + 0.2 * share + rng.gauss(0, 0.05),
                "unparsed": 0.08 * (1 - share),
                "truncated": 0.01,
                "dead_groups": 0.25 + rng.gauss(0, 0.03),
                "grad_norm": float("nan") if step == 3 else 0.8 + rng.gauss(0, 0.1),
                "entropy": 1.4 - 0.8 * share + rng.gauss(0, 0.03),
                "clip_low": 0.0,
                "clip_high": 0.004,
                "completion_tokens": 14 + rng.gauss(0, 0.4),
            }
        )
        if step % max(1, steps // 4) == 0:
            records.append(_evaluation(step, 0.406 + 0.17 * share))
    write_lines(run / "metrics.jsonl", records, "" if finished else '{"kind": "train", "step": 99, "rew')
    phases = {"prompts": 0.2, "sample": 1.1, "score": 0.05, "update": 0.9}
    timings = [
        {"step": step, "seconds": {name: mean * rng.uniform(0.9, 1.1) for name, mean in phases.items()}}
        for step in range(1, steps + 1)
    ]
    write_lines(run / "timings.jsonl", timings)


def _evaluation(step: int, score: float) -> Json:
    cells = {"desktop/icon": {"n": 60, "value": score - 0.1}, "web/text": {"n": 196, "value": score + 0.02}}
    return {
        "kind": "eval",
        "step": step,
        "metric": "hit",
        "score": score,
        "low": score - 0.058,
        "high": score + 0.061,
        "n": 256,
        "unparsed": 3,
        "metrics": {"hit": {"value": score, "low": score - 0.058, "high": score + 0.061, "n": 256}},
        "cells": cells,
        "macro": score - 0.04,
    }


def _write_evals(run: Path, steps: int, rng: random.Random) -> None:
    before: list[Json] = []
    after: list[Json] = []
    for index in range(6):
        size = SIZES[index % len(SIZES)]
        gold = [size[0] * 0.6, 40.0, size[0] * 0.6 + 60, 90.0]
        name = f"held{index}"
        draw_screen(run / "images" / f"{name}.png", size, gold, seed=index)
        for lines, step, right in ((before, 0, index in (0, 1)), (after, steps, index != 1)):
            x = gold[0] + 20 if right else gold[0] - rng.uniform(20, 80)
            entry = line(step, f"e{index}", name, size, gold, [point(x, 60.0, gold)])
            lines.append(entry | {"metrics": {"hit": float(right)}})
    write_lines(run / "evals" / "step-000000.jsonl", before)
    write_lines(run / "evals" / f"step-{steps:06}.jsonl", after)


def _summary(run: Path, steps: int) -> Json:
    return {
        "task": "gui_grounding",
        "model": "tiny",
        "seed": 3,
        "steps": steps,
        "before": {"metric": "hit", "score": 0.40625, "n": 256, "low": 0.348, "high": 0.467},
        "after": {"metric": "hit", "score": 0.57613, "n": 256, "low": 0.515, "high": 0.636},
        "seconds": {"train": 139.6, "eval": 9.53, "total": 151.2},
        "paths": {
            "run": str(run),
            "report": str(run / "report.html"),
            "checkpoint": str(run / "checkpoints" / f"step-{steps:06}"),
            "best_checkpoint": str(run / "checkpoints" / f"step-{steps:06}"),
        },
    }
