"""What `vlmrl eval` prints: the progress of answering, and the score card as tables."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as Bar
from rich.table import Table
from rich.text import Text

Json = Mapping[str, Any]

PLAIN_PARTS = 10
"""Lines about the progress when the output is not a terminal."""


class _Rate(ProgressColumn):
    def render(self, task: Bar) -> Text:
        return Text(f"{task.speed:.1f} rows/s" if task.speed else "")


@contextmanager
def progress_bar(console: Console, what: str, rows: int, shown: bool) -> Iterator[Callable[[int], None]]:
    """Yields the function that is told how many rows were just done; a bar on a terminal, some lines elsewhere."""
    columns = (TextColumn(what), BarColumn(bar_width=20), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    done = 0
    with Progress(*columns, console=console, transient=True, disable=not (shown and console.is_terminal)) as bars:
        bar = bars.add_task(what, total=rows)

        def advance(count: int) -> None:
            nonlocal done
            before, done = done, done + count
            bars.advance(bar, count)
            if shown and not console.is_terminal and done * PLAIN_PARTS // rows > before * PLAIN_PARTS // rows:
                console.print(f"{what}: {done} of {rows} rows")

        yield advance


def card_tables(card: Json) -> Iterator[Table]:
    """The score with its interval, both averages named, cells, other metrics; audit and published figures."""
    yield _score_table(card)
    if "audit" in card:
        yield _audit_table(card)
    if card["anchors"]:
        yield _anchor_table(card)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _score_table(card: Json) -> Table:
    title = card["benchmark"] or card["task"]
    table = _table(f"{title}, {card['split']}" if card["split"] else title, "n", card["metric"], "95% interval")
    published = {card["average"]: " (published)"} if card["benchmark"] else {}
    count = str(card["n"])
    if card["published_rows"] not in (None, card["n"]):
        count += f" of {card['published_rows']}"
    micro, macro = published.get("micro", ""), published.get("macro", "")
    table.add_row(f"micro: over rows{micro}", count, f"{card['score']:.1%}", _interval(card))
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


def _anchor_table(card: Json) -> Table:
    table = Table("published", "figure", "of", "measured otherwise than here", "source", box=SIMPLE_HEAD)
    for anchor in card["anchors"]:
        model = f"{anchor['model']}, {anchor['training']}" if anchor["training"] else anchor["model"]
        about = ", ".join(filter(None, [anchor["metric"] or card["metric"], anchor["cell"]]))
        table.add_row(model, f"{anchor['score']:.1%}", about, differences(anchor["settings"], card), anchor["source"])
    return table


def differences(settings: Mapping[str, str], card: Json) -> str:
    """The settings of a published figure that are not the card's; those a card does not have are all named."""
    provenance = card["provenance"]
    pixels, decoding = provenance.get("pixels", {}), provenance.get("decoding", {})
    here = {name: str(value) for name, value in {**pixels, **decoding}.items() if not isinstance(value, dict)}
    here |= {"mode": provenance["mode"], "average": card["average"]}
    return ", ".join(f"{name}: {value}" for name, value in settings.items() if here.get(name) != value)
