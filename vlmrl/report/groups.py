"""Cards of training groups: the picture with every answer drawn, and what each completion earned and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import fsum, isfinite
from statistics import pstdev

from vlmrl.geometry import Box, Point, Span
from vlmrl.report.markup import Html, element, join
from vlmrl.report.numbers import count, fixed, signed
from vlmrl.report.overlay import drawing, kind_of
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.run_folder import LoggedGroup, LoggedRollout, RunFolder
from vlmrl.report.sampling import GROUPS_BUDGET, MAX_GROUPS_PER_STEP, MAX_STEPS, cut, within_budget
from vlmrl.types import Action, Answer, Boxes, Choice, Code, Finish, Points, Refusal, Score, Spans, Text, Unparsed

MAX_HEIGHT = 560
"""Of a drawing, in page pixels."""

FILTERS = (
    ("All", "", ""),
    ("Best", "", "mean:-1"),
    ("Worst", "", "mean:1"),
    ("Most spread", "", "spread:-1"),
    ("Dead", "dead", ""),
    ("Unparsed", "unparsed", ""),
    ("Errors", "errors", ""),
)
"""Label, class that a card must have, and the number cards are sorted by with its direction."""


@dataclass(frozen=True)
class Cards:
    """Rendered cards, the pictures they show, and how they were chosen."""

    cards: Sequence[Html]
    pictures: frozenset[str]
    rule: str


def group_cards(run: RunFolder, library: PictureLibrary) -> Cards:
    """Cards of the groups whose pictures were kept, of evenly spread steps within the page's budget."""
    rendered: dict[int, list[tuple[Html, tuple[str, ...]]]] = {}

    def of_step(step: int) -> list[tuple[Html, tuple[str, ...]]]:
        if step not in rendered:
            groups = (group for group in run.groups(run.rollout_files[step]) if has_pictures(group, run, library))
            rendered[step] = [(_card(group), group.pictures) for group in islice(groups, MAX_GROUPS_PER_STEP)]
        return rendered[step]

    def cost(steps: Sequence[int]) -> int:
        cards = [card for step in steps for card in of_step(step)]
        names = {name for _, pictures in cards for name in pictures}
        return sum(len(card.encode()) for card, _ in cards) + library.bytes(names)

    steps = list(run.rollout_files)
    chosen = within_budget(steps, MAX_STEPS, GROUPS_BUDGET, cost)
    cards = [card for step in chosen for card in of_step(step)]
    some = f"{len(chosen)} of {len(steps)} steps, spread evenly" if len(chosen) < len(steps) else "every step"
    rule = (
        f"{count(len(cards), 'group')} from {some}: those whose pictures the run kept, at most "
        f"{MAX_GROUPS_PER_STEP} of a step. Everything else is in the run folder, under rollouts/."
    )
    return Cards([card for card, _ in cards], frozenset(name for _, names in cards for name in names), rule)


def has_pictures(group: LoggedGroup, run: RunFolder, library: PictureLibrary) -> bool:
    """Takes the group's pictures into the library; whether all of them can be shown."""
    return bool(group.pictures) and all(library.add(name, run.picture(name)) for name in group.pictures)


def drawings(group: LoggedGroup, rollouts: Sequence[LoggedRollout], *, numbered: bool, max_height: int) -> Html:
    """Every picture of the row with gold and answers drawn."""
    return element(
        "div",
        *(
            drawing(record, name, group.gold, rollouts, numbered=numbered, max_height=max_height)
            for record, name in zip(group.records, group.pictures, strict=True)
        ),
        class_="drawings",
    )


def facts(group: LoggedGroup) -> list[str]:
    """What a row is, in a few words: its id, its tags, its pictures' sizes."""
    sizes = [
        f"{record.original} px" + (f", model sees {record.model}" if record.model else "") for record in group.records
    ]
    return [f"row {group.sample_id}", *(f"{key} {value}" for key, value in group.tags.items()), *sizes]


def outcome(rollout: LoggedRollout, gold: Answer) -> Html:
    """The parsed answer in original pixels, or why there is none."""
    answer = rollout.answer
    if isinstance(answer, Unparsed):
        return element("span", f"unparsed: {cut(answer.reason)}", class_="bad")
    kind = kind_of(answer, gold)
    verdict = {"hit": ", inside gold", "miss": ", outside gold", "answer": ""}[kind]
    return element("span", f"{written(answer)}{verdict}", class_=kind)


def written(answer: Answer) -> str:
    """An answer in one line: point (12.0, 34.5)."""
    match answer:
        case Point(x, y):
            return f"point ({x:.1f}, {y:.1f}){'' if answer.in_image else ', off the picture'}"
        case Box(x1, y1, x2, y2):
            outside = "" if answer.in_image else ", reaching off the picture"
            return f"box ({x1:.1f}, {y1:.1f}, {x2:.1f}, {y2:.1f}){outside}"
        case Boxes(items):
            return "; ".join(f"{item.label} {written(item.box)}" for item in items) or "no boxes"
        case Points(items):
            return "; ".join(map(written, items))
        case Refusal():
            return "not in the picture"
        case Span(start, end):
            return f"{start:.1f} to {end:.1f} s{'' if answer.in_clip else ', beyond the clip'}"
        case Spans(items):
            return "; ".join(map(written, items)) or "no spans"
        case Action(kind, point, text, direction):
            details = (point and written(point), text and repr(text), direction)
            return " ".join([kind, *(detail for detail in details if detail)])
        case Choice(letter):
            return f"option {letter}"
        case Text(text):
            return repr(text)
        case Code(source):
            return f"script of {count(len(source.splitlines()), 'line')}"


def completion(rollout: LoggedRollout) -> Html:
    """The completion as the model wrote it."""
    if not rollout.text:
        return element("p", "(empty completion)", class_="note")
    return element("pre", cut(rollout.text), class_="completion")


def _card(group: LoggedGroup) -> Html:
    rewards = [rollout.reward for rollout in group.rollouts if isfinite(rollout.reward)]
    mean = fsum(rewards) / len(rewards) if rewards else 0.0
    spread = pstdev(rewards) if rewards else 0.0
    unparsed = sum(isinstance(rollout.answer, Unparsed) for rollout in group.rollouts)
    errors = sum(score.error is not None for rollout in group.rollouts for score in rollout.scores.values())
    dead = spread < 1e-9
    badges = [
        element("span", "dead: all rewards equal", class_="badge") if dead else None,
        element("span", f"{unparsed} unparsed", class_="badge warn") if unparsed else None,
        element("span", count(errors, "reward error"), class_="badge warn") if errors else None,
    ]
    summary = [*facts(group), f"gold {written(group.gold)}"]
    states = {"dead": dead, "unparsed": unparsed, "errors": errors}
    return element(
        "article",
        element(
            "header",
            element("h3", element("span", f"Step {group.step}", class_="step-name"), group.question),
            element("p", " · ".join(summary), class_="note"),
            element(
                "p",
                f"mean reward {fixed(mean)}, standard deviation {fixed(spread)} ",
                *badges,
                class_="state",
            ),
        ),
        element(
            "div",
            drawings(group, group.rollouts, numbered=True, max_height=MAX_HEIGHT),
            _table(group),
            class_="body",
        ),
        element("details", element("summary", "Prompt"), element("pre", cut(group.prompt))),
        class_=" ".join(["card", *(name for name, holds in states.items() if holds)]),
        data_mean=f"{mean:.6f}",
        data_spread=f"{spread:.6f}",
    )


def _table(group: LoggedGroup) -> Html:
    names = dict.fromkeys(name for rollout in group.rollouts for name in rollout.scores)
    unscorable = {name: reason for name in names if (reason := _never_scorable(name, group))}
    components = [name for name in names if name not in unscorable]
    head = element(
        "tr",
        element("th", "#"),
        element("th", "Completion", class_="wide"),
        *(element("th", name.replace("_", " "), class_="figure") for name in components),
        element("th", "reward", class_="figure"),
        element("th", "advantage", class_="figure"),
    )
    rows = [_row(number, rollout, components, group.gold) for number, rollout in enumerate(group.rollouts, start=1)]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", *rows)),
        *(
            element("p", f"{name.replace('_', ' ')} does not apply: {cut(reason)}", class_="note")
            for name, reason in unscorable.items()
        ),
        class_="scroll rollouts",
    )


def _never_scorable(name: str, group: LoggedGroup) -> str | None:
    """Why a component has no score for any answer of the group; None if it has one or failed.

    Unparsed completions earn a component's lower bound whether it applies or not, so they say nothing about it.
    """
    answered = [rollout for rollout in group.rollouts if not isinstance(rollout.answer, Unparsed)]
    scores = [rollout.scores[name] for rollout in answered if name in rollout.scores]
    return scores[0].unscorable if scores and all(score.unscorable is not None for score in scores) else None


def _row(number: int, rollout: LoggedRollout, components: Sequence[str], gold: Answer) -> Html:
    finish = "stop" if rollout.finish is Finish.STOP else "cut at the token limit"
    ending = f"{count(rollout.tokens, 'token')}, {finish}" if rollout.tokens else finish
    return element(
        "tr",
        element("th", str(number), class_="figure", scope="row"),
        element(
            "td",
            completion(rollout),
            element("p", outcome(rollout, gold), " · ", element("span", ending, class_="ending"), class_="note"),
            *(_explanation(name, rollout.scores[name]) for name in components if name in rollout.scores),
        ),
        *(_figure(name.replace("_", " "), _part(rollout.scores.get(name))) for name in components),
        _figure("reward", join(fixed(rollout.reward))),
        _figure("advantage", join(signed(rollout.advantage))),
    )


def _figure(label: str, content: Html) -> Html:
    """A cell that names itself, for narrow screens where the table has no head."""
    return element("td", content, class_="figure", data_label=label)


def _part(score: Score | None) -> Html:
    if score is None:
        return join(fixed(None))
    if score.error is not None:
        return element("span", "error", class_="bad")
    if score.unscorable is not None:
        return element("span", "unscorable", class_="bad")
    return join(fixed(score.value))


def _explanation(name: str, score: Score) -> Html | None:
    if score.error is not None:
        last_line = (score.error.strip().splitlines() or ["no message"])[-1]
        return element(
            "details",
            element("summary", f"{name} failed: {last_line[:200]}", class_="bad"),
            element("pre", cut(score.error)),
        )
    if score.unscorable is not None:
        return element("p", f"{name} is unscorable: {cut(score.unscorable)}", class_="note bad")
    return None
