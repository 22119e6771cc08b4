"""``vlmrl data``: cards of the public data sets that the tasks read."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.data_cards import DataCard, Fact

DESCRIPTION = """\
Say where the public data sets of the tasks come from, under which licence, what their files hold, and which command
reads them. Cards only describe: you bring the files, and nothing is downloaded.
"""
EXAMPLES = """\
examples:
  vlmrl data list
  vlmrl data show screenspot-v2
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    looks: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = commands.add_parser(
        "data",
        help="describe the public data sets that the tasks read",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        **looks,
    )
    actions = parser.add_subparsers(metavar="ACTION", title="actions", required=True)
    listing = actions.add_parser("list", help="all data sets by task", **looks)
    listing.set_defaults(run=run_list)
    show = actions.add_parser("show", help="one data set's card", **looks)
    show.add_argument("name", metavar="NAME", help="one of the names that `vlmrl data list` prints")
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> None:
    from vlmrl.data_cards import find_cards

    cards = find_cards()
    width = max(map(len, cards))
    for task in sorted({task for card in cards.values() for task in card.tasks}):
        print(task)
        for name, card in cards.items():
            if task in card.tasks:
                print(f"  {name:<{width}}  {card.about}")
        print()


def run_show(args: argparse.Namespace) -> None:
    from vlmrl.data_cards import find_card

    for label, text in _lines(find_card(args.name)):
        print(f"{label:<10} {text}".rstrip())


def _lines(card: "DataCard") -> Iterator[tuple[str, str]]:
    yield "data set", card.title
    yield "what", card.about
    for place in card.origin:
        yield "from", place
    yield "licence", _said(card.licence)
    for split in card.splits:
        rows = "no published count" if split.rows is None else f"{split.rows:,} rows"
        yield "split", f"{split.name}: {rows}  [{_source(split.source, split.verified)}]"
    for form in card.forms:
        yield "", ""
        yield "task", f"{form.task}, format {form.format}"
        yield "files", form.files
        yield "frame", _said(form.frame)
        if form.convert:
            yield "first", form.convert
        yield "use", form.use
    yield "", ""
    for note in card.notes:
        yield "note", _said(note)


def _said(fact: "Fact") -> str:
    return f"{fact.text}  [{_source(fact.source, fact.verified)}]"


def _source(source: str, verified: bool) -> str:
    return source if verified else f"UNVERIFIED: {source}"
