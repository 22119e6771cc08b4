"""The page of `vlmrl rescore`: what changed of every reward component, and the groups whose ranking changed."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from vlmrl.progress import tracked
from vlmrl.report.charts import ChartStudio
from vlmrl.report.document import card_section, damage, document, section, write_document
from vlmrl.report.filters import Button, Cards, kinds_attribute
from vlmrl.report.groups import MAX_HEIGHT, facts, words
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import LoggedRollout
from vlmrl.report.markup import Html, element
from vlmrl.report.numbers import count, fixed, signed
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.rollouts import completion, explanations, outcome, written
from vlmrl.report.sampling import Limits, cut
from vlmrl.rescoring import HEAD, RescoredGroup, Rescoring, same_outcome

BUTTONS = (
    Button("All"),
    Button("Most flips", sort="flips:-1"),
    Button("Largest change", sort="change:-1"),
    Button("Parsed otherwise", show="reparsed"),
    Button("Errors", show="errors"),
)


def write_rescored_page(found: Rescoring, file: Path) -> Path:
    """Writes the page and returns its path. Raises UserError if the file cannot be written."""
    library, limits = PictureLibrary(), Limits()
    with closing(ChartStudio(library)) as studio:
        illustrator = Illustrator(found.run, library, studio)
        illustrator.draw_charts([group.before for group in found.examples], limits.charts)
        examples = tracked(found.examples, "drawing groups", len(found.examples))
        rendered = [(_card(group, illustrator), group) for group in examples]
    names = [illustrator.names(group.before, group.before.rollouts) for _, group in rendered]

    def cost(places: Sequence[int]) -> int:
        pictures = {name for i in places for name in names[i]}
        return sum(len(rendered[i][0].encode()) for i in places) + library.bytes(pictures)

    # the first ones have changed most
    shown = len(rendered)
    while shown > 1 and cost(range(shown)) > limits.groups_bytes:
        shown //= 2
    pictures = frozenset(name for i in range(shown) for name in names[i])
    rule = f"{count(shown, 'group')} of {count(found.groups, 'group')}: those that changed most."
    cards = Cards(
        [card for card, _ in rendered[:shown]], pictures, rule, [group.before for _, group in rendered[:shown]]
    )
    page = document(
        f"{found.run.path.resolve().name} rescored · vlmrl",
        element(
            "header",
            element("p", "vlmrl rescore", class_="eyebrow"),
            element("h1", found.run.path.resolve().name, element("span", " under today's rewards")),
            element("p", found.summary(), class_="note"),
            class_="hero",
        ),
        damage(found.run),
        section("Reward components", "components", _table(found)),
        card_section("Groups that changed", "groups", cards, BUTTONS, "No group has changed."),
        library.definitions(pictures),
    )
    return write_document(page, file)


def _table(found: Rescoring) -> Html:
    head = element("tr", *(element("th", name, class_="figure" if i else None) for i, name in enumerate(HEAD)))
    rows = [
        element(
            "tr",
            element("th", name, scope="row"),
            *(element("td", figure, class_="figure") for figure in figures),
        )
        for name, *figures in found.table()
    ]
    table = element("table", element("thead", head), element("tbody", *rows), class_="cells")
    return element("div", table, class_="scroll")


def _card(group: RescoredGroup, illustrator: Illustrator) -> Html:
    before, after = group.before, group.after
    pairs = list(zip(before.rollouts, after.rollouts, strict=True))
    flips = group.flips
    states = {
        "reparsed": any(old.answer != new.answer for old, new in pairs),
        "errors": group.fails,
    }
    flipped = "; ".join(f"{a} and {b}" for a, b in flips)
    return element(
        "article",
        element(
            "header",
            element("h3", element("span", f"Step {before.step}", class_="step-name"), cut(before.question)),
            element("p", " · ".join([*facts(before), f"gold {cut(written(before.gold))}"]), class_="note"),
            element(
                "p",
                f"{count(len(flips), 'pair')} of answers changed places: {cut(flipped)}" if flips else "same ranking",
                class_="state",
            ),
        ),
        element(
            "div",
            illustrator.drawings(after, after.rollouts, numbered=True, max_height=MAX_HEIGHT),
            _answers(group),
            class_="body",
        ),
        *words(before),
        class_=" ".join(["card", *(name for name, holds in states.items() if holds)]),
        tabindex=-1,
        data_kinds=kinds_attribute(before),
        data_flips=len(flips),
        data_change=f"{group.largest_change:.6f}",
    )


def _answers(group: RescoredGroup) -> Html:
    head = element(
        "tr",
        element("th", "#"),
        element("th", "Completion", class_="wide"),
        *(element("th", name, class_="figure") for name in ("old", "new", "change")),
    )
    return element(
        "div",
        element(
            "table",
            element("thead", head),
            element("tbody", *(_answer(number, group) for number in range(1, len(group.before.rollouts) + 1))),
        ),
        class_="scroll rollouts",
    )


def _answer(number: int, group: RescoredGroup) -> Html:
    old, new = group.before.rollouts[number - 1], group.after.rollouts[number - 1]
    changed = [
        name
        for name in dict.fromkeys([*old.scores, *new.scores])
        if not same_outcome(old.scores.get(name), new.scores.get(name))
    ]
    figures = {
        "old": fixed(old.reward),
        "new": fixed(new.reward),
        "change": signed(new.reward - old.reward),
    }
    return element(
        "tr",
        element("th", str(number), class_="figure", scope="row"),
        element(
            "td",
            completion(new, group.after.mode),
            element("p", outcome(new, group.after), class_="note"),
            element("p", "was ", outcome(old, group.before), class_="note") if old.answer != new.answer else None,
            element("p", *(_part(name, old, new) for name in changed), class_="parts"),
            *explanations(new, changed),
        ),
        *(element("td", figure, class_="figure", data_label=label) for label, figure in figures.items()),
        data_answer=number,
    )


def _part(name: str, old: LoggedRollout, new: LoggedRollout) -> Html:
    """A component with its old and its new value."""
    was, is_ = (side.scores[name].value if name in side.scores else None for side in (old, new))
    return element("span", f"{name.replace('_', ' ')} {fixed(was)} → ", element("b", fixed(is_)))
