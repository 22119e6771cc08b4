"""Cards of rows that were answered twice: two answers to the same question side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vlmrl.report.filters import Button, Cards, kinds_attribute
from vlmrl.report.groups import Card, card_bytes, collected, facts, words
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import LoggedGroup
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count, percent
from vlmrl.report.rollouts import completion, explanations, outcome, parts, written
from vlmrl.report.sampling import SHORT, Limits, cut, spread, within_budget
from vlmrl.types import Unparsed

Change = Literal["gained", "lost", "kept", "never"]
MAX_HEIGHT = 360
"""Of a drawing, in page pixels."""
RIGHT = 0.5
"""A row counts as right from this value of the headline metric on."""


@dataclass(frozen=True)
class Pair:
    """One row as it was answered first and second; `second` is missing while there is no second answer."""

    first: LoggedGroup
    second: LoggedGroup | None

    @property
    def sides(self) -> tuple[LoggedGroup, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True)
class Contrast:
    """What two answers to a row are judged by, what stands above them, and what their differences are called."""

    metric: str
    first: str
    second: str
    words: Mapping[Change, str]

    def change(self, pair: Pair) -> Change | None:
        """What became of the row; None without a second answer."""
        if pair.second is None:
            return None
        match is_right(pair.first, self.metric), is_right(pair.second, self.metric):
            case False, True:
                return "gained"
            case True, False:
                return "lost"
            case True, True:
                return "kept"
            case _:
                return "never"

    def tally(self, pairs: Sequence[Pair]) -> str:
        """How many rows changed how."""
        found = [self.change(pair) for pair in pairs]
        return ", ".join(f"{found.count(change)} {label}" for change, label in self.words.items())


def is_right(row: LoggedGroup, metric: str) -> bool:
    """Whether the row's answer counts as right."""
    return row.metrics.get(metric, 0.0) >= RIGHT


def paired(first: Sequence[LoggedGroup], second: Sequence[LoggedGroup]) -> list[Pair]:
    """The rows of `first`, each with its answer in `second`."""
    other = {row.sample_id: row for row in second if row.rollouts}
    return [Pair(row, other.get(row.sample_id)) for row in first if row.rollouts]


def buttons(words: Mapping[Change, str]) -> tuple[Button, ...]:
    """Filters by what became of the rows, in these words."""
    shown = [Button(label.capitalize(), show=change) for change, label in words.items()]
    return (Button("All"), *shown, Button("Unparsed", show="unparsed"), Button("Errors", show="errors"))


def pair_cards(
    pairs: Sequence[Pair], illustrator: Illustrator, contrast: Contrast, rule: str, limits: Limits, rest: str = ""
) -> Cards:
    """Cards of evenly spread pairs within the page's budget.

    `rule` says which pairs they are spread over, and `rest` where to find those that are left out.
    """
    chosen = spread(pairs, limits.rows)
    illustrator.draw_charts([side for pair in chosen for side in pair.sides], limits.charts)
    cards = [_card(pair, illustrator, contrast) for pair in chosen]
    shown = within_budget(cards, limits.rows, limits.rows_bytes, lambda some: card_bytes(some, illustrator))
    how = f", spread evenly{rest}" if len(shown) < len(pairs) else ""
    return collected(shown, f"{rule}Shown: {count(len(shown), 'row')}{how}.")


def _card(pair: Pair, illustrator: Illustrator, contrast: Contrast) -> Card:
    first, change = pair.first, contrast.change(pair)
    rollouts = [rollout for side in pair.sides for rollout in side.rollouts]
    states = {
        change or "": change,
        "unparsed": any(isinstance(rollout.answer, Unparsed) for rollout in rollouts),
        "errors": any(score.error for rollout in rollouts for score in rollout.scores.values()),
    }
    markup = element(
        "article",
        element(
            "header",
            element("h3", cut(first.question)),
            element("p", " · ".join([*facts(first), f"gold {cut(written(first.gold), 4 * SHORT)}"]), class_="note"),
            element("p", element("span", contrast.words[change], class_="badge"), class_="state") if change else None,
        ),
        element(
            "div",
            _side(contrast.first, first, illustrator, contrast.metric),
            _side(contrast.second, pair.second, illustrator, contrast.metric) if pair.second else None,
            class_="pair",
        ),
        *words(first),
        class_=" ".join(["card", *(name for name, holds in states.items() if holds)]),
        tabindex=-1,
        data_kinds=kinds_attribute(first),
    )
    names = [illustrator.names(side, side.rollouts[:1]) for side in pair.sides]
    return first, markup, frozenset().union(*names)


def _side(title: str, row: LoggedGroup, illustrator: Illustrator, metric: str) -> Html:
    rollout = row.rollouts[0]
    value = row.metrics.get(metric)
    return element(
        "section",
        element("h4", title, element("span", f" {metric} {percent(value)}", class_="note")),
        illustrator.drawings(row, row.rollouts[:1], numbered=False, max_height=MAX_HEIGHT),
        completion(rollout, row.mode),
        element("p", outcome(rollout, row), class_="note"),
        parts(rollout, list(rollout.scores)),
        *explanations(rollout, list(rollout.scores)),
    )
