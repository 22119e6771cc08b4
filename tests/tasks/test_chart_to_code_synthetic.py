"""Drawn charts: their pictures are what their scripts draw, and splits share none."""

import random
from itertools import islice

import pytest

pytest.importorskip("matplotlib")

from vlmrl.registry import find_task
from vlmrl.sandbox import Limits, Sandbox

FOLDER = find_task("chart_to_code")
synthetic = FOLDER.submodule("synthetic")
CHARTS = [synthetic.draw_chart(seed) for seed in range(400)]


def test_a_seed_decides_everything():
    again = synthetic.draw_chart(7)
    assert again == CHARTS[7]
    assert again.picture().tobytes() == CHARTS[7].picture().tobytes()


def test_all_kinds_are_drawn_small():
    assert {chart.kind for chart in CHARTS} == set(synthetic.KINDS)
    assert {len(chart.values) for chart in CHARTS} == {2, 3, 4}
    assert {bool(chart.title) for chart in CHARTS} == {True, False}
    assert {chart.colour for chart in CHARTS} == set(synthetic.COLOURS)
    assert CHARTS[0].picture().size == (128, 96)


def test_a_picture_is_what_its_script_draws():
    charts = [
        next(c for c in CHARTS if c.kind == kind and bool(c.title) == t) for kind in synthetic.KINDS for t in (0, 1)
    ]
    with Sandbox(1, Limits(wall_seconds=60, cpu_seconds=30, dpi=synthetic.DPI)) as sandbox:
        outcomes = sandbox.run([synthetic.PREAMBLE + chart.script() for chart in charts])
    for chart, outcome in zip(charts, outcomes, strict=True):
        assert outcome.figure, outcome
        assert outcome.figure.image().tobytes() == chart.picture().tobytes(), chart


def test_different_scripts_draw_different_pictures():
    """What the split by script rests on."""
    charts = {chart.script(): chart for chart in CHARTS[:150]}
    assert len({chart.picture().tobytes() for chart in charts.values()}) == len(charts)


def test_splits_share_no_picture_and_one_chart_in_eight_is_held_out():
    task = FOLDER.create({})
    pictures = {
        split: {row.images[0].tobytes() for row in islice(task.synthetic(split, 60, 0), 60)}
        for split in ("train", "held_out")
    }
    assert not pictures["train"] & pictures["held_out"]
    assert sum(chart.split == "held_out" for chart in CHARTS) / len(CHARTS) == pytest.approx(1 / 8, abs=0.06)


def test_scattered_scripts_are_near_gold():
    rng = random.Random(0)
    for chart in CHARTS[:100]:
        near = synthetic.scattered(chart, rng)
        assert (near.kind, len(near.values), near.title) == (chart.kind, len(chart.values), chart.title)
        assert all(abs(a - b) <= 2 and 1 <= a <= 9 for a, b in zip(near.values, chart.values, strict=True))
    assert sum(synthetic.scattered(chart, rng) == chart for chart in CHARTS) < len(CHARTS) / 10
