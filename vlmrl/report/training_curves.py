"""Which curves a run's metrics and timings give."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vlmrl.report.curves import Chart, Series, Unit, figure, stacked
from vlmrl.report.logged import number
from vlmrl.report.markup import Html, element
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import spread

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
MOST_POINTS = 1000
"""Of one series; of a longer run as many steps, spread evenly."""
MOST_LINES = 4
"""Of one chart of many series."""
DRAWN = {"step", "accuracy", "reward", "rewards", "tasks", *(field for _, _, fields in CURVES for field, _ in fields)}


Records = Mapping[int, Mapping[str, Any]]


def training_curves(run: RunFolder) -> Html | None:
    """The charts that every run has; None if nothing has been logged yet."""
    return _figures(_charts(run), run)


def further_curves(run: RunFolder) -> Html | None:
    """Charts of every other number of the train lines, such as an algorithm's own; None if there is none."""
    charts = []
    train = _thinned(run.train)
    for name in dict.fromkeys(name for record in train.values() for name in record if name not in DRAWN):
        fields = dict.fromkeys(field for record in train.values() for field in _fields(name, record.get(name)))
        series = _series(train, [(field, _spaced(field.removeprefix(f"{name}/"))) for field in fields])
        charts += [Chart(_spaced(name), "number", some) for some in _few(series)]
    return _figures(charts, run)


def _thinned(records: Records) -> Records:
    return {step: records[step] for step in spread(list(records), MOST_POINTS)}


def _fields(name: str, value: Any) -> Iterator[str]:
    """Paths of the numbers in a value: name, or name/part of an object."""
    if isinstance(value, Mapping):
        for part, content in value.items():
            yield from _fields(f"{name}/{part}", content)
    elif isinstance(value, int | float):
        yield name


def _few(series: Sequence[Series]) -> list[Sequence[Series]]:
    return [series[i : i + MOST_LINES] for i in range(0, len(series), MOST_LINES)]


def _figures(charts: list[Chart], run: RunFolder) -> Html | None:
    drawn = [figure(chart, run.last_step) for chart in charts if chart.series]
    return element("div", *drawn, class_="charts") if drawn else None


def _charts(run: RunFolder) -> list[Chart]:
    train = _thinned(run.train)
    components = dict.fromkeys(name for record in train.values() for name in record.get("rewards") or {})
    parts = _series(train, [(f"rewards/{name}", _spaced(name)) for name in components])
    tasks = dict.fromkeys(name for record in train.values() for name in record.get("tasks") or {})
    sampled = [("accuracy", "training, sampled"), *((f"tasks/{name}/accuracy", f"{name}, sampled") for name in tasks)]
    return [
        Chart("Accuracy", "share", [*_held_out(run.evals), *_series(train, sampled)]),
        Chart("Reward", "number", _series(train, (("reward", "total"),))),
        *(Chart("Reward parts", "number", some) for some in _few(parts)),
        *(Chart(title, unit, _series(train, fields)) for title, unit, fields in CURVES),
        Chart("Seconds per step", "number", _phases(_thinned(run.timings))),
    ]


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _series(records: Records, fields: Any) -> list[Series]:
    found = []
    for field, name in fields:
        values = [number(record, *field.split("/")) for record in records.values()]
        if any(value is not None for value in values):
            found.append(Series(name, list(records), values))
    return found


def _held_out(evals: Records) -> list[Series]:
    points = {}
    for step, record in evals.items():
        score = number(record, "score")
        if score is not None:
            low, high = number(record, "low"), number(record, "high")
            points[step] = (score, (score if low is None else low, score if high is None else high))
    if not points:
        return []
    scores, bands = zip(*points.values(), strict=True)
    return [Series("held-out, greedy", list(points), scores, bands, "measured")]


def _phases(timings: Records) -> list[Series]:
    names = list(dict.fromkeys(name for record in timings.values() for name in record.get("seconds") or {}))
    if not names:
        return []
    values = [[number(record, "seconds", name) or 0.0 for record in timings.values()] for name in names]
    return stacked(names, list(timings), values)
