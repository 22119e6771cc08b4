"""Cards of held-out rows: what the model answered before and after training, side by side on the same picture."""

from collections.abc import Sequence
from typing import Literal

from vlmrl.report.groups import Cards, completion, drawings, facts, has_pictures, outcome
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count, percent
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.run_folder import LoggedGroup, RunFolder
from vlmrl.report.sampling import HELD_OUT_BUDGET, MAX_HELD_OUT_ROWS, spread, within_budget

Pair = tuple[LoggedGroup, LoggedGroup | None]
"""A held-out row at the first and at the last evaluation."""
Change = Literal["gained", "lost", "kept", "never"]
CHANGES: dict[Change, str] = {
    "gained": "wrong before, right after",
    "lost": "right before, wrong after",
    "kept": "right both times",
    "never": "wrong both times",
}
FILTERS = (("All", "", ""), *((label.capitalize(), change, "") for change, label in CHANGES.items()))
MAX_HEIGHT = 360
"""Of a drawing, in page pixels."""
RIGHT = 0.5
"""A row counts as right from this value of the headline metric on."""


def held_out_cards(run: RunFolder, library: PictureLibrary, metric: str) -> Cards:
    """Cards of rows whose pictures were kept, and how many of all rows changed between first and last evaluation."""
    steps = list(run.eval_files)
    if not steps:
        return Cards([], frozenset(), "")
    before = _rows(run, steps[0])
    after = _rows(run, steps[-1]) if len(steps) > 1 else {}
    rows: list[Pair] = [(row, after.get(name)) for name, row in before.items()]
    kept = [pair for pair in rows if pair[0].pictures and all(map(run.picture, pair[0].pictures))]
    drawable = [pair for pair in spread(kept, MAX_HELD_OUT_ROWS) if has_pictures(pair[0], run, library)]
    rendered = {first.sample_id: _card(first, last, metric) for first, last in drawable}

    def cost(pairs: Sequence[Pair]) -> int:
        names = {name for first, _ in pairs for name in first.pictures}
        return sum(len(rendered[first.sample_id].encode()) for first, _ in pairs) + library.bytes(names)

    chosen = within_budget(drawable, MAX_HELD_OUT_ROWS, HELD_OUT_BUDGET, cost)
    return Cards(
        [rendered[first.sample_id] for first, _ in chosen],
        frozenset(name for first, _ in chosen for name in first.pictures),
        _rule(rows, metric, len(chosen)),
    )


def _rows(run: RunFolder, step: int) -> dict[str, LoggedGroup]:
    return {row.sample_id: row for row in run.groups(run.eval_files[step]) if row.rollouts}


def _rule(rows: Sequence[Pair], metric: str, shown: int) -> str:
    changes = [_change(first, last, metric) for first, last in rows if last is not None]
    tally = ", ".join(f"{changes.count(change)} {label}" for change, label in CHANGES.items())
    tallied = f"Of {count(len(changes), 'row')}: {tally}. " if changes else ""
    return (
        f"{tallied}Shown: {count(shown, 'row')}, spread evenly over those whose pictures the run kept. "
        "All rows are in the run folder, under evals/."
    )


def _change(before: LoggedGroup, after: LoggedGroup, metric: str) -> Change:
    match _right(before, metric), _right(after, metric):
        case False, True:
            return "gained"
        case True, False:
            return "lost"
        case True, True:
            return "kept"
        case _:
            return "never"


def _right(row: LoggedGroup, metric: str) -> bool:
    return row.metrics.get(metric, 0.0) >= RIGHT


def _card(before: LoggedGroup, after: LoggedGroup | None, metric: str) -> Html:
    change = _change(before, after, metric) if after else None
    return element(
        "article",
        element(
            "header",
            element("h3", before.question),
            element("p", " · ".join(facts(before)), class_="note"),
            element("p", element("span", CHANGES[change], class_="badge"), class_="state") if change else None,
        ),
        element(
            "div",
            _side(f"Before (step {before.step})", before, metric),
            _side(f"After (step {after.step})", after, metric) if after else None,
            class_="pair",
        ),
        class_=f"card {change or ''}".strip(),
    )


def _side(title: str, row: LoggedGroup, metric: str) -> Html:
    rollout = row.rollouts[0]
    return element(
        "section",
        element("h4", title, element("span", f" {metric} {percent(row.metrics.get(metric))}", class_="note")),
        drawings(row, row.rollouts, numbered=False, max_height=MAX_HEIGHT),
        completion(rollout),
        element("p", outcome(rollout, row.gold), class_="note"),
    )
