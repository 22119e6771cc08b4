"""Which curves a run's metrics and timings give."""

from collections.abc import Mapping
from typing import Any

from vlmrl.report.curves import Chart, Series, Unit, figure, stacked
from vlmrl.report.markup import Html, element
from vlmrl.report.run_folder import RunFolder, number

CURVES: tuple[tuple[str, Unit, tuple[tuple[str, str], ...]], ...] = (
    ("No answer", "share", (("unparsed", "unparsed"), ("truncated", "cut at the limit"))),
    ("Dead groups", "share", (("dead_groups", "all rewards equal"),)),
    ("Completion length", "number", (("completion_tokens", "tokens"),)),
    ("Entropy", "number", (("entropy", "nats per token"),)),
    ("Gradient norm", "number", (("grad_norm", "before clipping"),)),
    ("Clipped tokens", "share", (("clip_low", "ratio too low"), ("clip_high", "ratio too high"))),
)
"""Title, unit and the fields of a train line with their names; a chart without any value is left out."""


def training_curves(run: RunFolder) -> Html | None:
    """All charts of the run; None if nothing has been logged yet."""
    charts = [chart for chart in _charts(run) if chart.series]
    if not charts:
        return None
    return element("div", *(figure(chart, run.last_step) for chart in charts), class_="charts")


def _charts(run: RunFolder) -> list[Chart]:
    components = dict.fromkeys(name for record in run.train.values() for name in record.get("rewards") or {})
    rewards = [("reward", "total"), *((f"rewards/{name}", name.replace("_", " ")) for name in components)]
    accuracy = [*_held_out(run), *_series(run.train, (("accuracy", "training, sampled"),))]
    return [
        Chart("Accuracy", "share", accuracy),
        Chart("Reward", "number", _series(run.train, rewards)),
        *(Chart(title, unit, _series(run.train, fields)) for title, unit, fields in CURVES),
        Chart("Seconds per step", "number", _phases(run)),
    ]


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
