"""Scores with their intervals: the headline of a page, and the table by kind of row."""

from collections.abc import Mapping, Sequence
from typing import Any

from vlmrl.report.document import section
from vlmrl.report.logged import Json, number
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import MISSING, count, interval, percent, points


def score(what: str, before: Any, after: Any) -> Html | None:
    """`what` before -> after with 95% intervals, as far as they are there."""
    scores = [record for record in (before, after) if isinstance(record, dict) and number(record, "score") is not None]
    if not scores:
        return None
    written = [
        element(
            "span",
            element("b", percent(number(record, "score"))),
            f" {interval(number(record, 'low'), number(record, 'high'))}",
            class_="value",
        )
        for record in scores
    ]
    difference = None
    if len(scores) == 2:
        gain = scores[1]["score"] - scores[0]["score"]
        difference = element("span", points(gain), class_=f"delta {'up' if gain > 0 else 'down' if gain < 0 else ''}")
        written.insert(1, element("span", " → ", class_="arrow"))
    rows = number(scores[-1], "n")
    basis = f"{what}, 95% interval" + (f", {count(int(rows), 'row')}" if rows is not None else "")
    return element("div", element("p", *written, difference, class_="score"), element("p", basis, class_="note"))


def cells(evals: Mapping[int, Json], metric: str) -> Html | None:
    """Scores of the first and the last evaluation by the tags that the metric is broken down by."""
    if not any(isinstance(record.get("cells"), dict) and record["cells"] for record in evals.values()):
        return None
    steps = list(evals)
    shown = {step: evals[step] for step in (steps[0], steps[-1])}
    last = shown[steps[-1]]
    names = dict.fromkeys(name for record in shown.values() for name in record.get("cells") or {})
    rows = [
        _row(
            name, _whole(number(last, "cells", name, "n")), [number(r, "cells", name, "value") for r in shown.values()]
        )
        for name in names
    ]
    averages = (("Micro average (all rows)", "score"), ("Macro average (mean of the cells)", "macro"))
    for label, key in averages:
        scores = [number(record, key) for record in shown.values()]
        if any(value is not None for value in scores):
            rows.append(_row(label, _whole(number(last, "n")) if key == "score" else "", scores, "average"))
    head = element(
        "tr",
        element("th", "Kind of row"),
        element("th", "rows", class_="figure"),
        *(element("th", f"step {step}", class_="figure") for step in shown),
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="cells")
    return section(f"Held-out {metric} by kind of row", "cells", element("div", table, class_="scroll"))


def _row(name: str, rows: str, scores: Sequence[float | None], style: str | None = None) -> Html:
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", rows, class_="figure"),
        *(element("td", percent(value), class_="figure") for value in scores),
        class_=style,
    )


def _whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"
