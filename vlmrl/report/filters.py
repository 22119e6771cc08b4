"""A list of cards with the bar that sorts and filters them; page.js makes it work."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmrl.report.logged import LoggedGroup
from vlmrl.report.markup import Html, element

MAX_CHOICES = 200
"""A list of choices longer than this is no help."""


@dataclass(frozen=True)
class Button:
    """One way to look at the cards."""

    label: str
    show: str = ""
    """Class that a card must have."""
    sort: str = ""
    """Number that cards are sorted by (data-NAME), and its direction: mean:-1."""


@dataclass(frozen=True)
class Cards:
    """Rendered cards, the pictures they show, how they were chosen, and the groups they are about."""

    cards: Sequence[Html]
    pictures: frozenset[str]
    rule: str
    groups: Sequence[LoggedGroup] = ()


def kinds(group: LoggedGroup) -> dict[str, str]:
    """What a group can be chosen by: its step, its task, and its tags."""
    named = {"step": str(group.step), "task": group.task, **group.tags}
    return {name: " ".join(value.split()) for name, value in named.items() if value}


def kinds_attribute(group: LoggedGroup) -> str:
    """A card's data-kinds: one name=value per line."""
    return "\n".join(f"{name}={value}" for name, value in kinds(group).items())


def filtered(cards: Cards, buttons: Sequence[Button]) -> list[Html]:
    """The bar and the cards. Without JavaScript the bar stays hidden and every card is shown in order."""
    pressed = [
        element(
            "button",
            button.label,
            type="button",
            data_show=button.show,
            data_sort=button.sort,
            aria_pressed=str(not (button.show or button.sort)).lower(),
        )
        for button in buttons
    ]
    return [
        element(
            "nav", *pressed, *_lists(cards.groups), element("output", class_="note"), class_="filters", hidden=True
        ),
        element("div", *cards.cards, class_="cards"),
    ]


def _lists(groups: Sequence[LoggedGroup]) -> list[Html]:
    values: dict[str, dict[str, None]] = {}
    for group in groups:
        for name, value in kinds(group).items():
            values.setdefault(name, {})[value] = None
    return [
        element(
            "select",
            element("option", f"any {name}", value=""),
            *(element("option", f"{name} {value}", value=f"{name}={value}") for value in found),
            aria_label=name,
        )
        for name, found in values.items()
        if 1 < len(found) <= MAX_CHOICES
    ]
