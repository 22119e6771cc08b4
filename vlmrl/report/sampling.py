"""Which part of a long run goes on the page, so that it stays a file one can open and send."""

from collections.abc import Callable, Sequence
from typing import TypeVar

MAX_STEPS = 60
MAX_GROUPS_PER_STEP = 8
MAX_HELD_OUT_ROWS = 60
MAX_CHARACTERS = 2000
"""Of one completion, prompt or error."""
GROUPS_BUDGET = 13_000_000
HELD_OUT_BUDGET = 4_000_000
"""Bytes of markup and pictures; together with the curves and settings the page stays under 20 MB."""

Item = TypeVar("Item")


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= limit:
        return list(items)
    if limit == 1:
        return [items[-1]]
    return [items[round(index * (len(items) - 1) / (limit - 1))] for index in range(limit)]


def within_budget(items: Sequence[Item], limit: int, budget: int, cost: Callable[[Sequence[Item]], int]) -> list[Item]:
    """At most `limit` evenly spaced items whose cost fits the budget: half as many until it does, at least one."""
    chosen = spread(items, limit)
    while len(chosen) > 1 and cost(chosen) > budget:
        chosen = spread(chosen, len(chosen) // 2)
    return chosen


def cut(written: str) -> str:
    """The first MAX_CHARACTERS, with a note about the rest."""
    rest = len(written) - MAX_CHARACTERS
    return written if rest <= 0 else f"{written[:MAX_CHARACTERS]} … ({rest:,} more characters)"
