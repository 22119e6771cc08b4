"""Which part of a long run goes on the page, so that it stays a file one can open and send."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

MAX_CHARACTERS = 2000
"""Of one completion, prompt or error."""
SHORT = 80
"""Of what stands in a line with other facts."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Limits:
    """How much of a run a page shows."""

    steps: int = 60
    groups_per_step: int = 8
    rows: int = 60
    """Rows that were answered twice."""
    answers: int = 400
    """Rows of one evaluation."""
    charts: int = 600
    """Answered scripts that are run to show what they draw, over all steps together."""
    groups_bytes: int = 13_000_000
    rows_bytes: int = 4_000_000
    """Markup and pictures; together with the curves and settings the page stays under 20 MB."""


EVERYTHING = Limits(*[sys.maxsize] * len(fields(Limits)))


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    if limit == 1:
        return [items[-1]]
    return [items[round(index * (len(items) - 1) / (limit - 1))] for index in range(limit)]


def within_budget(items: Sequence[Item], limit: int, budget: int, cost: Callable[[Sequence[Item]], int]) -> list[Item]:
    """At most `limit` evenly spaced items whose cost fits the budget; at least one, if there is any."""
    chosen = spread(items, limit)
    while len(chosen) > 1 and (spent := cost(chosen)) > budget:
        chosen = spread(chosen, max(1, min(len(chosen) - 1, len(chosen) * budget // spent)))
    return chosen


def cut(written: str, limit: int = MAX_CHARACTERS) -> str:
    """The first `limit` characters, with a note about the rest."""
    rest = len(written) - limit
    return written if rest <= 0 else f"{written[:limit]} … ({rest:,} more characters)"
