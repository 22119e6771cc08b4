"""Cards of groups: what the model saw with every answer drawn, and what each completion earned and why."""

from collections.abc import Sequence
from math import fsum, isfinite
from statistics import pstdev

from vlmrl.report.filters import Button, Cards, kinds_attribute
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import LoggedGroup
from vlmrl.report.markup import Html, element, folded
from vlmrl.report.numbers import count, fixed, percent
from vlmrl.report.rollouts import table, written
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import EVERYTHING, SHORT, Limits, cut, within_budget
from vlmrl.types import Code, Unparsed

MAX_HEIGHT = 560
"""Of a drawing, in page pixels."""
DEAD = 1e-9
"""Rewards that differ by less teach nothing."""

BUTTONS = (
    Button("All"),
    Button("Newest", sort="step:-1"),
    Button("Best", sort="mean:-1"),
    Button("Worst", sort="mean:1"),
    Button("Most spread", sort="spread:-1"),
    Button("Dead", show="dead"),
    Button("Unparsed", show="unparsed"),
    Button("Errors", show="errors"),
)


Card = tuple[LoggedGroup, Html, frozenset[str]]
"""A group, its card, and the pictures on it."""


def group_cards(run: RunFolder, illustrator: Illustrator, limits: Limits) -> Cards:
    """Cards of the groups of evenly spread steps within the page's budget."""
    rendered: dict[int, list[Card]] = {}
    steps = list(run.rollout_files)

    def of_step(step: int) -> list[Card]:
        if step not in rendered:
            rendered[step] = _step_cards(run, step, illustrator, limits, min(len(steps), limits.steps))
        return rendered[step]

    def cost(steps: Sequence[int]) -> int:
        return card_bytes([card for step in steps for card in of_step(step)], illustrator)

    chosen = within_budget(steps, limits.steps, limits.groups_bytes, cost)
    cards = [card for step in chosen for card in of_step(step)]
    some = f"{len(chosen)} of {len(steps)} steps, spread evenly" if len(chosen) < len(steps) else "every step"
    rule = f"{count(len(cards), 'group')} from {some}" + (
        "."
        if limits is EVERYTHING
        else f": at most {limits.groups_per_step} of a step, those whose pictures the run kept (run.logged_groups). "
        "`vlmrl report RUN --all` shows every group."
    )
    return collected(cards, rule)


def collected(cards: Sequence[Card], rule: str) -> Cards:
    """What a section of a page is made of."""
    names = frozenset(name for _, _, pictures in cards for name in pictures)
    return Cards([markup for _, markup, _ in cards], names, rule, [group for group, _, _ in cards])


def card_bytes(cards: Sequence[Card], illustrator: Illustrator) -> int:
    """What cards and their pictures take up on the page."""
    names = {name for _, _, pictures in cards for name in pictures}
    return sum(len(markup.encode()) for _, markup, _ in cards) + illustrator.library.bytes(names)


def _step_cards(run: RunFolder, step: int, illustrator: Illustrator, limits: Limits, steps: int) -> list[Card]:
    groups = run.groups(run.rollout_files[step])
    if limits is not EVERYTHING:
        groups = [group for group in groups if group.kept] or groups
    groups = groups[: limits.groups_per_step]
    # at least one group of a step is drawn whole: half a group compares with nothing
    whole = len(groups[0].rollouts) if groups else 0
    illustrator.draw_charts(groups, max(whole, limits.charts // steps))
    title = element("span", f"Step {step}", class_="step-name")
    return [group_card(group, illustrator, title) for group in groups]


def group_card(
    group: LoggedGroup, illustrator: Illustrator, title: Html | None = None, *, metric: str = "", state: str = ""
) -> Card:
    """One group; `title` stands before its question, `state` is a further class of the card.

    Cards are sorted by the mean reward, or by `metric`.
    """
    rewards = [rollout.reward for rollout in group.rollouts if isfinite(rollout.reward)]
    mean = fsum(rewards) / len(rewards) if rewards else 0.0
    spread = pstdev(rewards) if rewards else 0.0
    unparsed = sum(isinstance(rollout.answer, Unparsed) for rollout in group.rollouts)
    errors = sum(score.error is not None for rollout in group.rollouts for score in rollout.scores.values())
    several = len(group.rollouts) > 1
    dead = several and spread < DEAD
    badges = [
        element("span", "dead: all rewards equal", class_="badge") if dead else None,
        element("span", f"{unparsed} unparsed", class_="badge warn") if unparsed else None,
        element("span", count(errors, "reward error"), class_="badge warn") if errors else None,
        element("span", "the scorer failed", class_="badge warn") if group.error else None,
        *(element("span", f"{name} {percent(value)}", class_="badge") for name, value in group.metrics.items()),
    ]
    states = {"dead": dead, "unparsed": unparsed, "errors": errors or group.error, state: state}
    statistics = f"mean reward {fixed(mean)}, standard deviation {fixed(spread)} " if several else ""
    markup = element(
        "article",
        element(
            "header",
            element("h3", title, cut(group.question)),
            element("p", " · ".join([*facts(group), f"gold {cut(written(group.gold), 4 * SHORT)}"]), class_="note"),
            element("p", statistics, *badges, class_="state"),
        ),
        element(
            "div",
            illustrator.drawings(group, group.rollouts, numbered=several, max_height=MAX_HEIGHT),
            table(group),
            class_="body",
        ),
        *words(group),
        class_=" ".join(["card", *(name for name, holds in states.items() if holds)]),
        tabindex=-1,
        data_kinds=kinds_attribute(group),
        data_step=group.step,
        data_mean=f"{group.metrics.get(metric, 0.0) if metric else mean:.6f}",
        data_spread=f"{spread:.6f}",
    )
    return group, markup, illustrator.names(group, group.rollouts)


def words(group: LoggedGroup) -> list[Html | None]:
    """What is too long to stand in a card."""
    script = group.gold.source if isinstance(group.gold, Code) else ""
    return [
        folded("Prompt", cut(group.prompt)),
        folded("Gold script", cut(script)),
        folded("Why the scorer failed", cut(group.error)),
    ]


def facts(group: LoggedGroup) -> list[str]:
    """What a row is, in a few words: its id, its tags, its pictures' sizes and its clips' lengths."""
    sizes = [
        f"{record.original} px" + (f", model sees {record.model}" if record.model else "") for record in group.records
    ]
    clips = [
        f"{video.clip.duration:g} s" + (f", model sees {video.shown} frames" if video.shown else "")
        for video in group.videos
    ]
    tags = (cut(f"{key} {value}", SHORT) for key, value in group.tags.items())
    return [f"row {group.sample_id}", *tags, *sizes, *clips, *([] if group.kept else ["picture not kept"])]
