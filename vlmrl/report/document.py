"""One self-contained HTML file: the frame that every page of vlmrl shares."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.report.filters import Button, Cards, filtered
from vlmrl.report.logged import Log, LoggedGroup
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count
from vlmrl.report.pictures import MAX_WIDTH
from vlmrl.report.sampling import cut
from vlmrl.report.timeline import SAME
from vlmrl.whole_files import write_whole

PICTURE_NOTE = f"Pictures are at most {MAX_WIDTH} px wide here; coordinates are in pixels of the originals."
SPANS = {"hit": f"{SAME} or more", "miss": f"below {SAME}"}
"""What the colours of bars on a time line mean."""
KEYS = "Keys: j and k step through the cards; point at a completion to see its answer alone."


def document(title: str, *content: Html | None, version: str = "") -> str:
    """A whole page. It opens from disk without a network, and without JavaScript but for its filters.

    A page with a version is live: it looks for a newer one on the server it came from.
    """
    scripts = ["page.js", "live.js"] if version else ["page.js"]
    # The policy is a second wall behind the escaping: no network, and no script or style but the page's own.
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src {_digest('page.css')}; "
        f"script-src {' '.join(map(_digest, scripts))}" + ("; connect-src 'self'" if version else "")
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Html(_asset("page.css"))),
    )
    body = element("body", element("main", *content), *(element("script", Html(_asset(name))) for name in scripts))
    return f"<!doctype html>\n{element('html', head, body, lang='en', data_version=version or None)}\n"


def write_document(page: str, file: Path) -> Path:
    """Writes the page whole or not at all. Raises UserError if the file cannot be written."""
    try:
        write_whole(file, page)
    except OSError as error:
        raise UserError(f"the report cannot be written to {file} ({error.strerror}); choose another place") from error
    return file


def section(title: str, anchor: str, *content: Html | None) -> Html:
    return element("section", element("h2", title), *content, id=anchor)


def card_section(title: str, anchor: str, cards: Cards, buttons: Sequence[Button], empty: str) -> Html:
    """The cards with their rule, legend and filters."""
    if not cards.cards:
        return section(title, anchor, element("p", empty, class_="empty"))
    return section(
        title,
        anchor,
        element("p", f"{cards.rule} {PICTURE_NOTE} {KEYS}", class_="note"),
        _legend(cards.groups),
        *filtered(cards, buttons),
    )


def damage(log: Log) -> Html | None:
    """Which lines could not be read, if any."""
    if not log.damaged:
        return None
    places = ", ".join(f"{count(lines, 'line')} of {name}" for name, lines in sorted(log.damaged.items()))
    return element("p", f"Left out because it is cut or damaged: {cut(places)}.", class_="notice")


def definitions(pairs: Sequence[tuple[str, str]], style: str) -> Html | None:
    """Names and values as a definition list."""
    if not pairs:
        return None
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in pairs),
        class_=style,
    )


def _legend(groups: Sequence[LoggedGroup]) -> Html:
    def key(shape: Html, meaning: str) -> Html:
        drawn = element("svg", shape, viewBox="0 0 16 16", width=16, height=16, aria_hidden="true")
        return element("span", drawn, meaning)

    def bar(kind: str) -> Html:
        return element("rect", class_=f"{kind} bar", x=1, y=5, width=14, height=6, rx=2)

    box = dict(x=2, y=3, width=12, height=10)
    return element(
        "p",
        key(element("rect", class_="gold", **box, stroke_width=2), "gold"),
        key(element("circle", class_="hit dot", cx=8, cy=8, r=4.5, stroke_width=1.5), "inside gold"),
        key(element("path", class_="miss", d="M4 4l8 8m0-8l-8 8", stroke_width=2.5), "outside gold"),
        key(
            element("rect", class_="answer", **box, stroke_width=1.5, stroke_dasharray="4 2"),
            "answered box; its centre decides",
        ),
        *(key(bar(kind), f"temporal IoU {words}") for kind, words in SPANS.items() if any(g.videos for g in groups)),
        element("span", element("mark", "text"), "what was parsed"),
        class_="legend",
    )


def _asset(name: str) -> str:
    return resources.files("vlmrl.report").joinpath(name).read_text(encoding="utf-8")


def _digest(name: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode('ascii')}'"
