"""Averages, intervals and checksums of score cards, against formulas."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.errors import UserError
from vlmrl.evaluation.benchmark import Anchor
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.evaluation.provenance import model_fingerprint, rows_checksum
from vlmrl.evaluation.show import differing
from vlmrl.evaluation.statistics import Estimate, bootstrap_estimates, mean_estimate, wilson_interval
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import ScoredRow
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample, Unparsed

RECORD = ImageRecord(0, Size(100, 100))
GOLD = Box(0, 0, 10, 10, RECORD.frame(Unit.ORIGINAL))


def evaluated(hit: float, cell: str, parsed: bool = True) -> Evaluated:
    sample = Sample(f"{cell}-{hit}", (), (RECORD,), "", GOLD, tags={"kind": cell})
    answer = GOLD.center if parsed else Unparsed("empty")
    rollout = Rollout([], [], 0.0, "", Finish.STOP, answer)
    return Evaluated(Group("g", Prompt(sample, "", torch.empty(0), {}), [rollout]), {"hit": hit})


ROWS = [*[evaluated(1.0, "icon")] * 3, evaluated(0.0, "icon"), evaluated(0.0, "text", parsed=False)]


def test_micro_counts_rows_and_macro_counts_cells() -> None:
    card = score_card(find_task("gui_grounding").create({}), ROWS, ("kind",))
    assert card.score == pytest.approx(3 / 5)
    assert card.macro == pytest.approx((3 / 4 + 0) / 2)
    assert (card.n, card.unparsed, card.unscorable) == (5, 1, 0)
    assert (card.low, card.high) == wilson_interval(3, 5)
    assert card.cells["icon"] == Estimate(3 / 4, *wilson_interval(3, 4), 4)


def test_an_official_figure_can_be_the_score() -> None:
    def clicks_only(rows: Sequence[ScoredRow]) -> Mapping[str, Estimate]:
        kept = [row for row in rows if row[0].tags["kind"] == "icon"]
        return {"official": Estimate(len(kept) / 10, 0.0, 1.0, len(kept))} if kept else {}

    task = find_task("gui_grounding").create({})
    card = score_card(task, ROWS, ("kind",), "official", clicks_only)
    assert (card.metric, card.score, card.n) == ("official", 0.4, 5)
    assert list(card.cells) == ["icon"]  # the figure does not exist for the other cell
    assert card.metrics["hit"].value == pytest.approx(3 / 5)
    with pytest.raises(UserError, match="have no other, only hit"):
        score_card(task, ROWS, ("kind",), "other")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    estimate = mean_estimate(values)
    assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    assert estimate.n == len(values)


def test_bootstrap_of_a_mean_is_near_its_normal_interval() -> None:
    rows = [i % 10 / 10 for i in range(400)]
    found = bootstrap_estimates(lambda drawn: {"mean": sum(drawn) / len(drawn)}, rows, resamples=1000)["mean"]
    deviation = (sum((x - 0.45) ** 2 for x in rows) / len(rows)) ** 0.5
    half = 1.96 * deviation / len(rows) ** 0.5
    assert found.value == pytest.approx(0.45)
    assert (found.low, found.high) == pytest.approx((0.45 - half, 0.45 + half), abs=0.004)


def test_checksums_tell_rows_apart_and_ids_are_unique() -> None:
    row = ROWS[0].group.sample
    assert rows_checksum([row]) == rows_checksum([replace(row)])
    others = [replace(row, question="?"), replace(row, gold=GOLD.center), replace(row, tags={}), replace(row, id="z")]
    assert len({rows_checksum([other]) for other in [row, *others]}) == 5
    with pytest.raises(UserError, match="its id comes twice"):
        rows_checksum([row, row])


def test_only_settings_that_differ_are_named_beside_a_published_figure() -> None:
    card = {
        "average": "micro",
        "options": {"answer": "points"},
        "provenance": {"mode": "direct", "pixels": {"max_pixels": 4096}, "decoding": {}},
    }
    anchor = Anchor(
        "M", 0.5, "paper", settings={"max_pixels": "4096", "mode": "think", "prompt": "their own", "answer": "points"}
    )
    assert differing(anchor.settings, card) == {"mode": "think", "prompt": "their own"}


def test_the_fingerprint_of_adapters_is_also_that_of_their_base(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"1")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = model_fingerprint(str(adapter))
    (base / "model.safetensors").write_bytes(b"2")
    assert model_fingerprint(str(adapter)) != before
    assert model_fingerprint("org/name") is None
