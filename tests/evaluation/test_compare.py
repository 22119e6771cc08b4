"""Paired comparison of evaluations: exact tests, and refusals that name what differs."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from vlmrl.cli.main import main
from vlmrl.errors import UserError
from vlmrl.evaluation.compare import Evaluation, compare, mcnemar, read_evaluation, require_alike

CARD: dict[str, Any] = {
    "task": "gui_grounding",
    "options": {},
    "benchmark": None,
    "metric": "hit",
    "average": "micro",
    "data": "rows.json",
    "rows": 10,
    "checksum": "abc",
    "provenance": {"scorer": {"name": "hit"}, "mode": "direct", "prompts": "p", "pixels": {"max_pixels": 100}},
}


def evaluation(name: str, values: list[float], **pixels: int) -> Evaluation:
    card = copy.deepcopy(CARD)
    card["provenance"]["pixels"] |= pixels
    return Evaluation(name, card, {f"row {i}": {"hit": value} for i, value in enumerate(values)})


def test_mcnemar_is_the_binomial_of_the_discordant_pairs() -> None:
    # 2 * sum(C(10, k) for k in 0..2) / 2^10
    assert mcnemar(2, 8) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 0) == 1
    assert mcnemar(0, 6) == pytest.approx(2 / 64)


def test_right_and_wrong_rows_are_paired() -> None:
    pair = compare(evaluation("a", [1, 1, 0, 0]), evaluation("b", [1, 0, 1, 1]))
    assert (pair.test, pair.n) == ("mcnemar_exact", 4)
    assert pair.scores == (0.5, 0.75)
    assert pair.difference == pytest.approx(0.25)
    assert pair.only_first == ("row 1",)
    assert pair.only_second == ("row 2", "row 3")
    assert pair.p_value == mcnemar(1, 2)


def test_graded_rows_are_resampled_in_pairs() -> None:
    first = [i / 100 for i in range(60)]
    pair = compare(evaluation("a", first), evaluation("b", [value + 0.1 for value in first]))
    assert pair.test == "paired_bootstrap"
    assert (pair.low, pair.high) == pytest.approx((0.1, 0.1))  # every pair differs by as much
    assert pair.p_value == pytest.approx(2 / 2001)
    same = compare(evaluation("a", first), evaluation("b", first))
    assert same.p_value == 1


def test_unlike_evaluations_are_refused_by_name() -> None:
    first, second = evaluation("a", [1.0]), evaluation("b", [1.0], max_pixels=200)
    with pytest.raises(UserError, match=r"not measured alike: pixels.max_pixels 100 and 200\..*--anyway"):
        require_alike(first, second, anyway=False)
    require_alike(first, second, anyway=True)
    second.card["checksum"] = "xyz"
    with pytest.raises(UserError, match=r"not about the same rows .*checksum abc.*checksum xyz"):
        require_alike(first, second, anyway=True)


def test_the_command_compares_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, values in (("a", [1, 0, 0]), ("b", [1, 1, 1])):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps(CARD))
        lines = [{"sample": {"id": f"row {i}"}, "metrics": {"hit": value}} for i, value in enumerate(values)]
        (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "pairs.json"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(out)]) == 0
    assert "+66.7" in capsys.readouterr().out
    (pair,) = json.loads(out.read_text())["comparisons"]
    assert pair["only_second"] == ["row 1", "row 2"]


def test_unfinished_and_foreign_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no evaluation"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(UserError, match=r"unfinished evaluation; repeat"):
        read_evaluation(tmp_path)
