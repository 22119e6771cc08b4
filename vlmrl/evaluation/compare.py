"""`vlmrl compare`: two or more evaluations of the same rows, row against row."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest

from vlmrl.errors import UserError
from vlmrl.evaluation.statistics import BOOTSTRAP_RESAMPLES

Json = dict[str, Any]

ALIKE = (
    ("task",),
    ("options",),
    ("benchmark",),
    ("metric",),
    ("average",),
    ("provenance", "scorer"),
    ("provenance", "mode"),
    ("provenance", "prompts"),
    ("provenance", "pixels"),
    ("provenance", "decoding"),
    ("provenance", "convention"),
)
"""Fields of two cards that must be equal, or their scores differ for other reasons than the model."""


@dataclass(frozen=True)
class Paired:
    """One evaluation against another on the same rows."""

    first: str
    second: str
    metric: str
    """Metric of single rows that is compared."""
    test: str
    """mcnemar_exact where every row is right or wrong, else paired_bootstrap."""
    n: int
    scores: tuple[float, float]
    difference: float
    """Second minus first."""
    low: float
    """Lower end of the difference's 95% interval (percentile bootstrap over rows)."""
    high: float
    p_value: float
    """Two-sided, that rows like these differ so much by chance; not adjusted for several comparisons."""
    only_first: tuple[str, ...]
    """Ids of the rows that the first scores higher on."""
    only_second: tuple[str, ...]

    def record(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation as its folder holds it."""

    name: str
    card: Json
    values: Mapping[str, Mapping[str, float]]
    """Row id -> metric -> value."""


def read_evaluation(folder: Path) -> Evaluation:
    """Raises UserError for a folder without a card: no evaluation, or one that has not finished."""
    card = folder / "card.json"
    if not card.is_file():
        if (folder / "evaluation.json").is_file():
            raise UserError(f"{folder} holds an unfinished evaluation; repeat its vlmrl eval command to finish it")
        raise UserError(f"{folder} holds no evaluation (card.json); give folders that `vlmrl eval` wrote")
    values = {}
    with (folder / "answers.jsonl").open(encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text)
            values[str(line["sample"]["id"])] = line["metrics"]
    return Evaluation(str(folder), json.loads(card.read_text(encoding="utf-8")), values)


def require_alike(first: Evaluation, second: Evaluation, anyway: bool) -> None:
    """Raises UserError if the two are not about the same rows, or (unless `anyway`) were not measured alike, naming
    every difference."""
    if first.card["checksum"] != second.card["checksum"]:
        raise UserError(
            f"{first.name} and {second.name} are not about the same rows ({_rows(first.card)}; {_rows(second.card)}): "
            "evaluate one of them again on the other's rows"
        )
    differences = []
    for path in ALIKE:
        one, other = (_field(evaluation.card, path) for evaluation in (first, second))
        if one != other:
            differences += _named("provenance" if path[0] == "provenance" else "", path[-1], one, other)
    if differences and not anyway:
        raise UserError(
            f"{first.name} and {second.name} were not measured alike: {'; '.join(differences)}. What differs besides "
            "the model may be the whole difference; compare all the same with --anyway"
        )


def _rows(card: Json) -> str:
    return f"{card['rows']} of {card['data']}, checksum {card['checksum']}"


def _field(card: Json, path: Sequence[str]) -> Any:
    value: Any = card
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _named(room: str, name: str, one: Any, other: Any) -> list[str]:
    """Differences of two values, key by key where both are objects."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        return [text for key in keys for text in _named(room, f"{name}.{key}", one.get(key), other.get(key))]
    return [f"{name} {one} and {other}"]


def compare(first: Evaluation, second: Evaluation) -> Paired:
    """Row by row, on the card's metric, or on the task's first where that one is a figure over rows together."""
    rows = list(first.values)
    known = list(first.values[rows[0]])
    metric = first.card["metric"] if first.card["metric"] in known else known[0]
    a, b = (np.array([evaluation.values[row][metric] for row in rows]) for evaluation in (first, second))
    differences = b - a
    random = np.random.default_rng(0)
    means = np.array(
        [differences[random.integers(len(rows), size=len(rows))].mean() for _ in range(BOOTSTRAP_RESAMPLES)]
    )
    right_or_wrong = bool(np.isin(np.concatenate([a, b]), (0.0, 1.0)).all())
    low, high = np.quantile(means, [0.025, 0.975])
    return Paired(
        first=first.name,
        second=second.name,
        metric=metric,
        test="mcnemar_exact" if right_or_wrong else "paired_bootstrap",
        n=len(rows),
        scores=(float(a.mean()), float(b.mean())),
        difference=float(differences.mean()),
        low=float(low),
        high=float(high),
        p_value=mcnemar(int((b < a).sum()), int((b > a).sum())) if right_or_wrong else _bootstrap_p(means),
        only_first=tuple(row for row, d in zip(rows, differences, strict=True) if d < 0),
        only_second=tuple(row for row, d in zip(rows, differences, strict=True) if d > 0),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test (Q. McNemar, Psychometrika 1947) from the discordant pairs."""
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def _bootstrap_p(means: np.ndarray) -> float:
    """Twice the smaller tail of the resampled differences beyond 0 (Efron and Tibshirani 1993, chapter 15), with one
    added to each count, so that no finite number of resamples claims 0."""
    tail = min((means <= 0).sum(), (means >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(means) + 1)))
