"""What `vlmrl eval` prints: the progress of answering, and the score card as tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from string import ascii_uppercase
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from vlmrl.evaluation.compare import Paired
from vlmrl.progress import phase

Json = Mapping[str, Any]

PLAIN_PARTS = 10
"""Lines about the progress when the output is not a terminal."""
SMALLEST_P = 0.001


@contextmanager
def progress_bar(console: Console, what: str, rows: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields the function that is told how many rows were just done; a bar on a terminal, some lines elsewhere."""
    done = 0
    with phase(what, rows, console if shown else Console(quiet=True)) as advance:

        def answered(count: int) -> None:
            nonlocal done
            before, done = done, done + count
            advance(count)
            if shown and not console.is_terminal and done * PLAIN_PARTS // rows > before * PLAIN_PARTS // rows:
                console.print(f"{what}: {done} of {rows} rows")

        yield answered


def card_tables(card: Json) -> Iterator[Table]:
    """The score with its interval, both averages named, cells, other metrics; audit and published figures."""
    yield _score_table(card)
    if "audit" in card:
        yield _audit_table(card)
    if card["anchors"]:
        yield anchor_table(card["anchors"], card["metric"], "measured otherwise than here", card)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _score_table(card: Json) -> Table:
    title = card["benchmark"] or card["task"]
    table = _table(f"{title}, {card['split']}" if card["split"] else title, "n", card["metric"], "95% interval")
    published = {card["average"]: " (published)"} if card["benchmark"] else {}
    counted = card["metrics"][card["metric"]]["n"]
    of = {card["n"], card["published_rows"] or card["n"]} - {counted}
    count = " of ".join(map(str, [counted, *sorted(of)]))
    micro, macro = published.get("micro", ""), published.get("macro", "")
    table.add_row(f"micro: over rows{micro}", count, f"{card['score']:.1%}", _interval(card))
    if len(card["cells"]) > 1:
        table.add_row(f"macro: over {len(card['cells'])} cells{macro}", "", f"{card['macro']:.1%}", "")
        for name, cell in card["cells"].items():
            table.add_row(f"  {name}", str(cell["n"]), f"{cell['value']:.1%}", _interval(cell))
    for name, figure in card["metrics"].items():
        if name != card["metric"]:
            table.add_row(name, str(figure["n"]), f"{figure['value']:.1%}", _interval(figure))
    for name, reason in (("unparsed", "scored 0"), ("unscorable", "the scorer failed; scored 0")):
        if card[name] or name == "unparsed":
            table.add_row(f"{name} ({reason})", str(card[name]), f"{card[name] / card['n']:.1%}", "")
    return table


def _interval(figure: Json) -> str:
    return f"[{100 * figure['low']:.1f}, {100 * figure['high']:.1f}]"


def _audit_table(card: Json) -> Table:
    table = _table("what is not vision", "n", card["metric"], "95% interval", "unparsed")
    for name, figure in card["audit"].items():
        table.add_row(name, str(figure["n"]), f"{figure['value']:.1%}", _interval(figure), str(figure["unparsed"]))
    return table


def anchor_table(anchors: Sequence[Json], metric: str, settings_title: str, card: Json | None) -> Table:
    """Published figures with their settings: all of them, or those that are not the card's."""
    table = Table("published", "figure", "of", settings_title, "source", box=SIMPLE_HEAD)
    for anchor in anchors:
        model = f"{anchor['model']}, {anchor['training']}" if anchor["training"] else anchor["model"]
        about = ", ".join(filter(None, [anchor["metric"] or metric, anchor["cell"]]))
        named = anchor["settings"] if card is None else differing(anchor["settings"], card)
        settings = ", ".join(f"{name}: {value}" for name, value in named.items())
        table.add_row(model, f"{anchor['score']:.1%}", about, settings, anchor["source"])
    return table


def differing(settings: Mapping[str, str], card: Json) -> dict[str, str]:
    """The settings of a published figure that are not the card's; one that a card does not have counts as such."""
    provenance = card["provenance"]
    known = {**card["options"], **provenance.get("pixels", {}), **provenance.get("decoding", {})}
    here = {name: str(value) for name, value in known.items()}
    here |= {"mode": provenance["mode"], "average": card["average"]}
    return {name: value for name, value in settings.items() if here.get(name) != value}


def comparison_table(pairs: Sequence[Paired]) -> Table:
    """Each evaluation against the first, A."""
    first = pairs[0]
    table = _table("", first.metric, "difference", "95% interval", "p", "better on", "worse on")
    table.add_row("A", f"{first.scores[0]:.1%}", "", "", "", "", "")
    names = [f"A: {first.first}"]
    for letter, pair in zip(ascii_uppercase[1:], pairs, strict=False):
        names.append(f"{letter}: {pair.second}")
        table.add_row(
            letter,
            f"{pair.scores[1]:.1%}",
            f"{100 * pair.difference:+.1f}",
            f"[{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]",
            f"{pair.p_value:.3f}" if pair.p_value >= SMALLEST_P else f"< {SMALLEST_P}",
            str(len(pair.only_second)),
            str(len(pair.only_first)),
        )
    tests = {"mcnemar_exact": "exact McNemar test", "paired_bootstrap": "paired bootstrap"}
    named = "\n".join(names)
    table.caption = f"n = {first.n}; p by {tests[first.test]}, not adjusted for several comparisons\n{named}"
    table.caption_justify = "left"
    return table
