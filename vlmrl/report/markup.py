"""HTML and SVG that cannot be forgotten to be escaped: only `Html` goes in as it is, every other string is escaped."""

import re
from html import escape

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that HTML forbids or UTF-8 cannot encode; a model can emit any of them."""

VOID_TAGS = frozenset({"meta"})

Attribute = str | int | float | bool | None


class Html(str):
    """Markup made by this module, or trusted text of our own."""

    __slots__ = ()


Child = str | None


def text(value: str) -> Html:
    """`value` as text: markup characters escaped, unprintable ones shown as U+FFFD."""
    return Html(escape(UNPRINTABLE.sub("\ufffd", value)))


def element(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """One element. Strings that are not `Html` are escaped; None children and None or False attributes are left out.

    An attribute's trailing underscore is dropped (`class_`, `for_`) and the others become hyphens (`data_step`).
    """
    parts = [f"<{tag}"]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        parts.append(f" {name}" if value is True else f' {name}="{text(_attribute(value))}"')
    parts.append(">")
    if tag in VOID_TAGS:
        return Html("".join(parts))
    parts.append(join(*children))
    parts.append(f"</{tag}>")
    return Html("".join(parts))


def join(*children: Child) -> Html:
    """The children one after another, escaped like those of `element`."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def folded(title: str, content: str) -> Html | None:
    """A text that opens on a click; nothing if it is empty."""
    return element("details", element("summary", title), element("pre", content)) if content else None


def _attribute(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
