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
            f" {_bounds(record)}",
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
    if not evals:
        return None
    steps = list(evals)
    shown = {step: evals[step] for step in (steps[0], steps[-1])}
    figures = [_cells(record) for record in shown.values()]
    names = dict.fromkeys(name for found in figures for name in found)
    if not names:
        return None
    rows = [_row(name, [found.get(name) for found in figures], "value") for name in names]
    for label, key in (("Micro average (all rows)", "score"), ("Macro average (mean of the cells)", "macro")):
        if any(number(record, key) is not None for record in shown.values()):
            rows.append(_row(label, list(shown.values()), key, "average"))
    head = element(
        "tr",
        element("th", "Kind of row"),
        element("th", "rows", class_="figure"),
        *(element("th", f"step {step}", class_="figure") for step in shown),
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="cells")
    return section(f"Held-out {metric} by kind of row", "cells", element("div", table, class_="scroll"))


def _row(name: str, figures: Sequence[Any], key: str, style: str | None = None) -> Html:
    """A figure at each step, and how many rows it is about; a macro average is about no number of rows."""
    known = [figure if isinstance(figure, dict) else {} for figure in figures]
    macro = key == "macro"
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", "" if macro else _whole(number(known[-1], "n")), class_="figure"),
        *(
            element(
                "td",
                percent(number(figure, key)),
                None if macro else element("span", f" {_bounds(figure)}", class_="note"),
                class_="figure",
            )
            for figure in known
        ),
        class_=style,
    )


def _cells(record: Json) -> Json:
    found = record.get("cells")
    return found if isinstance(found, dict) else {}


def _bounds(figure: Json) -> str:
    return interval(number(figure, "low"), number(figure, "high"))


def _whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"
