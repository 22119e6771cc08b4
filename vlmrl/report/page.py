"""The report of a run: one HTML file with its score, its curves and what the model answered."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.report import groups, held_out
from vlmrl.report.curves import SMOOTH_FROM, SMOOTH_SHARE
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import MISSING, count, duration, interval, percent, points
from vlmrl.report.pictures import MAX_WIDTH, PictureLibrary
from vlmrl.report.run_folder import Json, RunFolder, number
from vlmrl.report.training_curves import training_curves

REPORT_NAME = "report.html"
PICTURE_NOTE = f"Pictures are at most {MAX_WIDTH} px wide here; coordinates are in pixels of the originals."


def write_report(run: Path, out: Path | None = None) -> Path:
    """Writes the report of the run folder `run` to `out`, by default RUN/report.html, and returns its path.

    The file is self-contained: it opens from disk without a network, and without JavaScript but for its filters. A run
    that is still being written, or was killed, gives a report of what is there. Raises UserError if `run` is no run
    folder or the file cannot be written.
    """
    page = _page(RunFolder(run))
    out = out or run / REPORT_NAME
    aside = out.with_name(f"{out.name}.part")
    try:
        aside.write_text(page, encoding="utf-8")
        os.replace(aside, out)
    except OSError as error:
        raise UserError(f"the report cannot be written to {out} ({error.strerror}); choose another place") from error
    return out


def _page(run: RunFolder) -> str:
    library = PictureLibrary()
    rows = held_out.held_out_cards(run, library, _metric(run))
    training = groups.group_cards(run, library)
    body = element(
        "main",
        _headline(run),
        _damage(run),
        _section("Curves", "curves", *_curves(run)),
        _cells(run),
        _section("Held-out rows, before and after", "held-out", *_cards(rows, held_out.FILTERS, "rows")),
        _section("Training groups", "groups", *_cards(training, groups.FILTERS, "groups")),
        library.definitions(rows.pictures | training.pictures),
    )
    return f"<!doctype html>\n{element('html', _head(run), element('body', body, _script()), lang='en')}\n"


def _head(run: RunFolder) -> Html:
    # The policy is a second wall behind the escaping: no network, and no script or style but the page's own.
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_digest(_asset('page.css'))}'; script-src '{_digest(_asset('page.js'))}'"
    )
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{_fact(run, 'task')} · {run.path.resolve().name} · vlmrl"),
        element("style", Html(_asset("page.css"))),
    )


def _script() -> Html:
    return element("script", Html(_asset("page.js")))


def _asset(name: str) -> str:
    return resources.files("vlmrl.report").joinpath(name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}"


def _metric(run: RunFolder) -> str:
    records = [run.summary.get("before"), *run.evals.values()]
    names = [record["metric"] for record in records if isinstance(record, dict) and "metric" in record]
    return str(names[0]) if names else "score"


def _fact(run: RunFolder, name: str) -> str:
    """A fact of the summary, or of the settings while there is no summary."""
    settings = {"task": ("task", "name"), "model": ("model", "path"), "seed": ("run", "seed")}
    value = run.summary.get(name)
    value = run.setting(*settings[name]) if value is None else value
    return MISSING if value is None else str(value)


def _headline(run: RunFolder) -> Html:
    evals = list(run.evals.values())
    before = run.summary.get("before") or (evals[0] if evals else None)
    after = run.summary.get("after") or (evals[-1] if len(evals) > 1 else None)
    planned = run.setting("run", "steps")
    steps = f"{run.last_step} of {planned}" if isinstance(planned, int) else str(run.last_step)
    facts = [
        ("Task", _fact(run, "task")),
        ("Model", _fact(run, "model")),
        ("Seed", _fact(run, "seed")),
        ("Steps", steps),
        *((f"Time {name}", duration(number(run.summary, "seconds", key))) for key, name in _times(run)),
    ]
    return element(
        "header",
        element("p", "vlmrl run report", class_="eyebrow"),
        element("h1", _fact(run, "task"), element("span", f" {run.path.resolve().name}")),
        _score(_metric(run), before, after),
        element("p", "This run has not finished: it has no summary yet.", class_="notice") if not run.summary else None,
        _definitions(facts, "facts"),
        _definitions(_paths(run), "paths"),
        _folded("Settings", run.settings),
        _folded(
            "Environment",
            json.dumps(run.environment, indent=2, ensure_ascii=False) if run.environment else "",
        ),
        class_="hero",
    )


def _definitions(pairs: Sequence[tuple[str, str]], style: str) -> Html | None:
    if not pairs:
        return None
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs),
        class_=style,
    )


def _times(run: RunFolder) -> list[tuple[str, str]]:
    names = {"train": "training", "eval": "evaluating", "total": "in all"}
    return [(key, name) for key, name in names.items() if number(run.summary, "seconds", key) is not None]


def _paths(run: RunFolder) -> list[tuple[str, str]]:
    paths = run.summary.get("paths")
    labels = {"checkpoint": "Checkpoint", "best_checkpoint": "Best checkpoint"}
    return [(label, str(paths[key])) for key, label in labels.items() if isinstance(paths, dict) and paths.get(key)]


def _score(metric: str, before: Any, after: Any) -> Html | None:
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
    basis = f"Held-out {metric}, 95% interval" + (f", {count(int(rows), 'row')}" if rows is not None else "")
    return element("div", element("p", *written, difference, class_="score"), element("p", basis, class_="note"))


def _folded(title: str, content: str) -> Html | None:
    return element("details", element("summary", title), element("pre", content)) if content else None


def _curves(run: RunFolder) -> list[Html]:
    curves = training_curves(run)
    if curves is None:
        return [element("p", "No step has been logged yet.", class_="empty")]
    smoothing = f"each step, and from {SMOOTH_FROM} steps on a running mean over {100 // SMOOTH_SHARE}% of them"
    return [element("p", f"Lines: {smoothing}. Shaded: 95% interval.", class_="note"), curves]


def _damage(run: RunFolder) -> Html | None:
    if not run.damaged:
        return None
    places = ", ".join(f"{count(lines, 'line')} of {name}" for name, lines in sorted(run.damaged.items()))
    return element("p", f"Left out because it is cut or damaged: {places}.", class_="notice")


def _cells(run: RunFolder) -> Html | None:
    """Scores of the first and last evaluation by the tags that the metric is broken down by."""
    evals = list(run.evals.items())
    if not evals or not any(isinstance(record.get("cells"), dict) and record["cells"] for _, record in evals):
        return None
    shown = evals if len(evals) == 1 else [evals[0], evals[-1]]
    names = list(dict.fromkeys(name for _, record in shown for name in record.get("cells") or {}))
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", _cell_rows(shown[-1][1], name), class_="figure"),
            *(element("td", percent(number(record, "cells", name, "value")), class_="figure") for _, record in shown),
        )
        for name in names
    ]
    averages = (("Micro average (all rows)", "score"), ("Macro average (mean of the cells)", "macro"))
    rows += [
        element(
            "tr",
            element("th", label, scope="row"),
            element("td", _whole(number(shown[-1][1], "n")) if key == "score" else "", class_="figure"),
            *(element("td", percent(number(record, key)), class_="figure") for _, record in shown),
            class_="average",
        )
        for label, key in averages
        if any(number(record, key) is not None for _, record in shown)
    ]
    head = element(
        "tr",
        element("th", "Kind of row"),
        element("th", "rows", class_="figure"),
        *(element("th", f"step {step}", class_="figure") for step, _ in shown),
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="cells")
    return _section(f"Held-out {_metric(run)} by kind of row", "cells", element("div", table, class_="scroll"))


def _cell_rows(record: Json, name: str) -> str:
    return _whole(number(record, "cells", name, "n"))


def _whole(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.0f}"


def _section(title: str, anchor: str, *content: Html | None) -> Html:
    return element("section", element("h2", title), *content, id=anchor)


def _cards(cards: groups.Cards, filters: Sequence[tuple[str, str, str]], plural: str) -> list[Html]:
    if not cards.cards:
        return [element("p", f"The run has kept no pictures of {plural}.", class_="empty")]
    buttons = [
        element(
            "button",
            label,
            type="button",
            data_show=show,
            data_sort=sort,
            aria_pressed=str(not (show or sort)).lower(),
        )
        for label, show, sort in filters
    ]
    return [
        element("p", f"{cards.rule} {PICTURE_NOTE}", class_="note"),
        _legend(),
        element("nav", *buttons, element("output", class_="note"), class_="filters", hidden=True),
        element("div", *cards.cards, class_="cards"),
    ]


def _legend() -> Html:
    def key(shape: Html, meaning: str) -> Html:
        return element(
            "span",
            element("svg", shape, viewBox="0 0 16 16", width=16, height=16, aria_hidden="true"),
            meaning,
        )

    return element(
        "p",
        key(element("rect", class_="gold", x=2, y=3, width=12, height=10, stroke_width=2), "gold"),
        key(element("circle", class_="hit dot", cx=8, cy=8, r=4.5, stroke_width=1.5), "inside gold"),
        key(element("path", class_="miss", d="M4 4l8 8m0-8l-8 8", stroke_width=2.5), "outside gold"),
        key(
            element(
                "rect",
                class_="answer",
                x=2,
                y=3,
                width=12,
                height=10,
                stroke_width=1.5,
                stroke_dasharray="4 2",
            ),
            "answered box; its centre decides",
        ),
        class_="legend",
    )
