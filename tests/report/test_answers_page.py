"""Pages about evaluations: one evaluation's answers, and the rows that two of them disagree about."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.report.conftest import Json, line, point, write_lines
from tests.report.test_page import Page
from vlmrl.cli.main import main
from vlmrl.errors import UserError
from vlmrl.report.answers_page import write_answers_page
from vlmrl.report.flips import write_flips_page

GOLD = [10.0, 10.0, 40.0, 40.0]
TRACE = "Traceback (most recent call last):\nKeyError: 'iou'"


def evaluation(folder: Path, right: list[bool], **card: Any) -> Path:
    """An evaluation's folder with rows 0, 1, ... on one picture."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (100, 80), "grey").save(folder / "images" / "screen.png")
    write_lines(folder / "answers.jsonl", [row(index, hit) for index, hit in enumerate(right)])
    if card:
        (folder / "card.json").write_text(json.dumps(card))
    return folder


def row(index: int, hit: bool) -> Json:
    answer = point(20 if hit else 70, 20, GOLD)
    entry = line(0, f"eval-{index}", "screen", (100, 80), GOLD, [answer]) | {"metrics": {"hit": float(hit)}}
    entry["sample"]["id"] = f"row-{index}"
    entry["sample"]["tags"] = {"platform": ["web", "mobile"][index % 2]}
    return entry


def answers_page(place: Path, tmp_path: Path) -> Page:
    return Page(write_answers_page(place, tmp_path / "page.html").read_text(encoding="utf-8"))


def test_the_card_and_every_answer_are_shown(tmp_path: Path) -> None:
    figure = {"value": 0.5, "low": 0.2, "high": 0.8, "n": 4}
    place = evaluation(
        tmp_path / "e", [True, False, True, False], metric="hit", score=0.5, low=0.2, high=0.8, n=4, task="clicks",
        benchmark="screens", unparsed=1, metrics={"hit": figure}, cells={"web": figure | {"n": 2}},
        audit={"the model, blind": figure | {"value": 0.125}}, provenance={"model": {"path": "my-model"}},
    )  # fmt: skip
    page = answers_page(place, tmp_path)
    assert "50.0% [20.0, 80.0] hit, 95% interval, 4 rows" in page.text
    for words in ("Model my-model", "Benchmark screens", "web 2 50.0% [20.0, 80.0]", "the model, blind 4 12.5%"):
        assert words in page.text
    assert "2 wrong rows of 4. Shown: 4 rows." in page.text
    assert len(page.all("article", "card right")) == len(page.all("article", "card wrong")) == 2
    assert len(page.all("svg", "drawing")) == 4
    assert {option["value"] for option in page.all("option")} == {"", "platform=web", "platform=mobile"}


def test_a_file_of_answers_alone_has_a_page_too(tmp_path: Path) -> None:
    place = evaluation(tmp_path / "e", [True, True, True, False])
    page = answers_page((place / "answers.jsonl").rename(place / "mine.jsonl"), tmp_path)
    assert "mine.jsonl" in page.text
    assert "75.0% [30.1, 95.4] hit, 95% interval, 4 rows" in page.text  # Wilson's interval of 3 out of 4


def test_a_row_that_the_scorer_failed_on_says_why(tmp_path: Path) -> None:
    place = evaluation(tmp_path / "e", [True])
    write_lines(place / "answers.jsonl", [row(0, False) | {"error": TRACE}, row(1, True)])
    page = answers_page(place, tmp_path)
    assert len(page.all("article", "card errors wrong")) == 1
    assert "KeyError: 'iou'" in page.text


def test_flips_are_shown_both_ways(tmp_path: Path) -> None:
    a = evaluation(tmp_path / "a", [True, True, False, False, True])
    b = evaluation(tmp_path / "b", [True, False, True, False, False])
    page = Page(write_flips_page(a, b / "answers.jsonl", tmp_path / "flips.html").read_text(encoding="utf-8"))
    assert "Of 5 rows that both answered: 2 right in a, wrong in answers.jsonl, 1 wrong in a" in page.text
    assert len(page.all("article", "card lost")) == 2
    assert len(page.all("article", "card gained")) == 1
    assert "a hit 100.0%" in page.text
    assert "60.0% [23.1, 88.2] → 40.0% [11.8, 76.9] -20.0 points" in page.text


def test_of_a_graded_metric_every_difference_is_shown(tmp_path: Path) -> None:
    places = []
    for name, values in {"a": [0.2, 0.9, 0.5], "b": [0.4, 0.6, 0.5]}.items():
        places.append(evaluation(tmp_path / name, [True] * 3))
        lines = [row(i, True) | {"metrics": {"hit": value}} for i, value in enumerate(values)]
        write_lines(places[-1] / "answers.jsonl", lines)
    page = Page(write_flips_page(*places, tmp_path / "flips.html").read_text(encoding="utf-8"))
    assert "Of 3 rows that both answered: 1 higher in a, 1 higher in b." in page.text
    assert len(page.all("article", "card")) == 2


def test_evaluations_that_agree_have_no_flips(tmp_path: Path) -> None:
    a, b = (evaluation(tmp_path / name, [True, False]) for name in "ab")
    page = Page(write_flips_page(a, b, tmp_path / "flips.html").read_text(encoding="utf-8"))
    assert "No row flipped." in page.text


def test_what_cannot_be_shown_or_compared_is_refused(tmp_path: Path) -> None:
    a, b = evaluation(tmp_path / "a", [True]), evaluation(tmp_path / "b", [True])
    with pytest.raises(UserError, match=r"missing\.jsonl does not exist; give the folder that `vlmrl eval` printed"):
        write_answers_page(tmp_path / "missing.jsonl")
    write_lines(b / "answers.jsonl", [row(7, True)])
    with pytest.raises(UserError, match="have no row in common"):
        write_flips_page(a, b, tmp_path / "flips.html")
    write_lines(b / "answers.jsonl", [row(0, True) | {"metrics": {"iou": 1.0}}])
    with pytest.raises(UserError, match=r"is judged by hit and .* by iou"):
        write_flips_page(a, b, tmp_path / "flips.html")
    (b / "answers.jsonl").write_text("not JSON\n")
    with pytest.raises(UserError, match="holds no evaluated row"):
        write_answers_page(b)


def test_report_tells_runs_from_evaluations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = evaluation(tmp_path / "e", [True])
    for target in (place, place / "answers.jsonl"):
        assert main(["report", str(target)]) == 0
        assert capsys.readouterr().out.strip() == str(place / "report.html")
    (place / "answers.jsonl").unlink()
    (place / "evaluation.json").write_text("{}")
    assert main(["report", str(place)]) == 2
    assert "finish an evaluation that was stopped by giving its command again" in capsys.readouterr().err
