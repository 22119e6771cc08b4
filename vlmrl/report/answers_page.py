"""The page of one evaluation: its score card, and every answer drawn."""

import json
from contextlib import closing
from pathlib import Path

from vlmrl.report.answers import Answers
from vlmrl.report.charts import ChartStudio
from vlmrl.report.document import card_section, damage, definitions, document, section, write_document
from vlmrl.report.filters import Button, Cards
from vlmrl.report.groups import card_bytes, collected, group_card
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import Json, number
from vlmrl.report.markup import Html, element, folded
from vlmrl.report.numbers import MISSING, count, interval, percent
from vlmrl.report.pairs import is_right
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.sampling import EVERYTHING, Limits, spread, within_budget
from vlmrl.report.scores import score

PAGE_NAME = "report.html"
BUTTONS = (
    Button("All"),
    Button("Wrong", show="wrong"),
    Button("Right", show="right"),
    Button("Worst", sort="mean:1"),
    Button("Best", sort="mean:-1"),
    Button("Unparsed", show="unparsed"),
    Button("Errors", show="errors"),
)
FACTS = {"task": "Task", "benchmark": "Benchmark", "split": "Split", "data": "Data", "rows": "Rows",
         "unparsed": "Unparsed (scored 0)", "unscorable": "Scorer failed (scored 0)"}  # fmt: skip


def write_answers_page(place: Path, out: Path | None = None, *, everything: bool = False) -> Path:
    """Writes the page of an evaluation's folder or file to `out`, by default report.html beside the answers.

    Raises UserError if `place` holds no evaluated row or the page cannot be written.
    """
    answers, library, limits = Answers(place), PictureLibrary(), EVERYTHING if everything else Limits()
    with closing(ChartStudio(library)) as studio:
        cards = _cards(answers, Illustrator(answers, library, studio), limits)
    page = document(
        f"{answers.name} · vlmrl",
        _headline(answers),
        damage(answers),
        _figures("Metrics", "metrics", "Metric", answers.card.get("metrics")),
        _figures(f"{answers.metric} by kind of row", "cells", "Kind of row", answers.card.get("cells")),
        _figures("What of it is not vision", "audit", "Answers of", answers.card.get("audit")),
        card_section("Rows", "rows", cards, BUTTONS, "No row can be shown."),
        library.definitions(cards.pictures),
    )
    return write_document(page, out or answers.path / PAGE_NAME)


def _headline(answers: Answers) -> Html:
    card = answers.card
    model = card.get("provenance", {}).get("model", {}) if isinstance(card.get("provenance"), dict) else {}
    facts = [(label, str(card[name])) for name, label in FACTS.items() if card.get(name) is not None]
    return element(
        "header",
        element("p", "vlmrl evaluation", class_="eyebrow"),
        element(
            "h1", str(card.get("benchmark") or card.get("task") or answers.name), element("span", f" {answers.name}")
        ),
        score(str(card.get("metric") or answers.metric), answers.score, None),
        definitions([("Model", str(model.get("path"))), *facts] if model.get("path") else facts, "facts"),
        folded("Score card", json.dumps(card, indent=2, ensure_ascii=False) if card else ""),
        class_="hero",
    )


def _figures(title: str, anchor: str, what: str, figures: object) -> Html | None:
    """A table of estimates by name; None if there are none."""
    if not isinstance(figures, dict) or not figures:
        return None
    rows = [_figure(name, figure) for name, figure in figures.items() if isinstance(figure, dict)]
    head = element(
        "tr", element("th", what), *(element("th", name, class_="figure") for name in ("rows", "score", "95% interval"))
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="cells")
    return section(title, anchor, element("div", table, class_="scroll"))


def _figure(name: str, figure: Json) -> Html:
    rows = number(figure, "n")
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", MISSING if rows is None else f"{rows:,.0f}", class_="figure"),
        element("td", percent(number(figure, "value")), class_="figure"),
        element("td", interval(number(figure, "low"), number(figure, "high")), class_="figure"),
    )


def _cards(answers: Answers, illustrator: Illustrator, limits: Limits) -> Cards:
    metric = answers.metric
    chosen = spread(answers.rows, limits.answers)
    illustrator.draw_charts(chosen, limits.charts)
    cards = [
        group_card(row, illustrator, metric=metric, state="right" if is_right(row, metric) else "wrong")
        for row in chosen
    ]
    shown = within_budget(cards, limits.answers, limits.groups_bytes, lambda some: card_bytes(some, illustrator))
    wrong = sum(not is_right(row, metric) for row in answers.rows)
    how = (
        "" if len(shown) == len(answers.rows) else ", spread evenly over all; `vlmrl report DIR --all` shows every one"
    )
    rule = f"{count(wrong, 'wrong row')} of {len(answers.rows):,}. Shown: {count(len(shown), 'row')}{how}."
    return collected(shown, rule)
