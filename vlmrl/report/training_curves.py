"""Which curves a run's metrics and timings give."""

from collections.abc import Mapping
from typing import Any

from vlmrl.report.curves import Chart, Series, Unit, figure, stacked
from vlmrl.report.logged import number
from vlmrl.report.markup import Html, element
from vlmrl.report.run_folder import RunFolder

CURVES: tuple[tuple[str, Unit, tuple[tuple[str, str], ...]], ...] = (
    ("No answer", "share", (("unparsed", "unparsed"), ("truncated", "cut at the limit"))),
    ("Dead groups", "share", (("dead_groups", "all rewards equal"),)),
    ("Completion length", "number", (("completion_tokens", "mean tokens"), ("completion_tokens_max", "longest"))),
    ("Entropy", "number", (("entropy", "nats per token"),)),
    ("KL to the start", "number", (("kl", "nats per token"),)),
    ("Gradient norm", "number", (("grad_norm", "before clipping"),)),
    ("Clipped tokens", "share", (("clip_low", "ratio too low"), ("clip_high", "ratio too high"))),
)
"""Title, unit and the fields of a train line with their names; a chart without any value is left out."""
MOST_LINES = 4
"""Of one chart of reward parts."""
DRAWN = {"step", "accuracy", "reward", *(field for _, _, fields in CURVES for field, _ in fields)}


def training_curves(run: RunFolder) -> Html | None:
    """The charts that every run has; None if nothing has been logged yet."""
    return _figures(_charts(run), run)


def further_curves(run: RunFolder) -> Html | None:
    """A chart for every other number of the train lines, such as an algorithm's own; None if there is none."""
    fields = dict.fromkeys(name for record in run.train.values() for name in record if name not in DRAWN)
    return _figures([Chart(_spaced(name), "number", _series(run.train, ((name, "value"),))) for name in fields], run)


def _figures(charts: list[Chart], run: RunFolder) -> Html | None:
    drawn = [figure(chart, run.last_step) for chart in charts if chart.series]
    return element("div", *drawn, class_="charts") if drawn else None


def _charts(run: RunFolder) -> list[Chart]:
    components = dict.fromkeys(name for record in run.train.values() for name in record.get("rewards") or {})
    parts = _series(run.train, [(f"rewards/{name}", _spaced(name)) for name in components])
    tasks = dict.fromkeys(name for record in run.train.values() for name in record.get("tasks") or {})
    sampled = [("accuracy", "training, sampled"), *((f"tasks/{name}/accuracy", f"{name}, sampled") for name in tasks)]
    return [
        Chart("Accuracy", "share", [*_held_out(run), *_series(run.train, sampled)]),
        Chart("Reward", "number", _series(run.train, (("reward", "total"),))),
        *(Chart("Reward parts", "number", parts[i : i + MOST_LINES]) for i in range(0, len(parts), MOST_LINES)),
        *(Chart(title, unit, _series(run.train, fields)) for title, unit, fields in CURVES),
        Chart("Seconds per step", "number", _phases(run)),
    ]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _series(records: Mapping[int, Mapping[str, Any]], fields: Any) -> list[Series]:
    found = []
    for field, name in fields:
        values = [number(record, *field.split("/")) for record in records.values()]
        if any(value is not None for value in values):
            found.append(Series(name, list(records), values))
    return found


def _held_out(run: RunFolder) -> list[Series]:
    points = {}
    for step, record in run.evals.items():
        score = number(record, "score")
        if score is not None:
            low, high = number(record, "low"), number(record, "high")
            points[step] = (score, (score if low is None else low, score if high is None else high))
    if not points:
        return []
    scores, bands = zip(*points.values(), strict=True)
    return [Series("held-out, greedy", list(points), scores, bands, "measured")]


def _phases(run: RunFolder) -> list[Series]:
    names = list(dict.fromkeys(name for record in run.timings.values() for name in record.get("seconds") or {}))
    if not names:
        return []
    records = run.timings.values()
    values = [[number(record, "seconds", name) or 0.0 for record in records] for name in names]
    return stacked(names, list(run.timings), values)
