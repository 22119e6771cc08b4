"""Rewards for one action that should be the recorded one. Actions of another kind agree in nothing."""

from math import hypot

from vlmrl.geometry import Box, Point
from vlmrl.rewards.texts import same_text, text_agreement
from vlmrl.types import Action

REACH = 0.14
"""How far a click may lie from the recorded one, in fractions of the picture's width and height, where no target box is
known. Source: Android in the Wild's action matching, kept by OS-Atlas, GUI-R1 and GUI-Odyssey."""


def same_kind(answer: Action, gold: Action) -> bool:
    return answer.kind == gold.kind


def on_target(click: Point, recorded: Point, target: Box | None) -> bool:
    """Whether a click lies in the target, edges included; without a target, within `REACH` of the recorded click.

    Points may be in any frame of the same picture.
    """
    if target is not None:
        return target.contains(click.to(target.frame))
    return fraction_distance(click, recorded) <= REACH


def fraction_distance(click: Point, recorded: Point) -> float:
    """Euclidean distance of two points of one picture in fractions of its width and height."""
    frame = recorded.frame
    click = click.to(frame)
    return hypot((click.x - recorded.x) / frame.width, (click.y - recorded.y) / frame.height)


def argument_agreement(answer: Action, gold: Action, target: Box | None) -> float:
    """How well the argument agrees, in [0, 1]; 0 for another kind of action, 1 for a kind that has no argument.

    Place: 1 if it is on target, else 0. Direction: 1 if equal, else 0. Text: `text_agreement`. The kind as a gate
    to the argument is common to UI-R1, GUI-R1, InfiGUI-R1 and UI-S1.
    """
    if not same_kind(answer, gold):
        return 0.0
    if gold.text is not None:
        return 0.0 if answer.text is None else text_agreement(answer.text, gold.text)
    return float(step_success(answer, gold, target))


def step_success(answer: Action, gold: Action, target: Box | None) -> bool:
    """Whether the kind is right and the argument too: on target, the same direction, the same text (normalised)."""
    if not same_kind(answer, gold) or answer.direction != gold.direction:
        return False
    if gold.point is not None and (answer.point is None or not on_target(answer.point, gold.point, target)):
        return False
    return gold.text is None or (answer.text is not None and same_text(answer.text, gold.text))
