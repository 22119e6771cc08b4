"""How others score a step, rule for rule, on typed actions: three scorers of AndroidControl and GUI-Odyssey's own.

All of them print "type", "grounding" and "step success", and mean different things by it: compare only figures of one
scorer. What differs from the originals is stated per function; reading model text is left to this project's parser.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vlmrl.evaluation.statistics import Estimate, bootstrap_estimates, mean_estimate
from vlmrl.geometry import Box, ImageRecord, Point, Unit
from vlmrl.rewards.actions import REACH, fraction_distance
from vlmrl.rewards.texts import edit_similarity
from vlmrl.types import Action, Sample, Unparsed

QWEN_ENLARGEMENT = 1.2
"""Factor on the sides of a candidate box, about its centre."""
QWEN_REACH = 0.04
"""Distance that counts as a hit, in longer sides of the picture."""
TEXT_THRESHOLD = 0.5
TEXT_KINDS = ("open_app", "type", "scroll", "select")
"""What GUI-R1 compares by text; a scroll's direction is one."""
PLACE_KINDS = ("click", "long_press", "move_to", "double_click", "right_click")
"""What GUI-R1 counts as grounding."""


@dataclass(frozen=True)
class ScoredStep:
    """A recorded step and a model's answer to it."""

    gold: Action
    answer: Action | Unparsed
    picture: ImageRecord
    candidates: tuple[Box, ...] = ()

    @classmethod
    def of(cls, sample: Sample, answer: object) -> "ScoredStep":
        if not isinstance(sample.gold, Action) or not isinstance(answer, Action | Unparsed):
            raise TypeError(f"row {sample.id}: an action task compares actions, not {answer} with {sample.gold}")
        return cls(sample.gold, answer, sample.asked, tuple(sample.extra.get("candidates", ())))


@dataclass(frozen=True)
class Share:
    """What a step adds to a figure, which is the sum of hits over the sum of counts."""

    hit: bool
    count: int = 1
    kind: str = ""
    """What GUI-R1 counts apart: a kind without a single hit adds nothing. Empty for other scorers."""


Shares = dict[str, Share]
"""Figure -> the step's share of it; figures that the step has no part in are left out."""


def _type_name(action: Action | Unparsed) -> str | None:
    """The name that OS-Atlas and GUI-R1 give to an action's type: every key and every end is a type of its own."""
    if isinstance(action, Unparsed):
        return None
    return f"{action.kind} {action.text}" if action.kind in ("press_key", "finish") else action.kind


def osatlas_step(step: ScoredStep) -> bool:
    """Whether OS-Atlas' AndroidControl scorer counts a step as right.

    Source: OS-Copilot/OS-Atlas, eval/eval_scripts/android_control/evaluation_unify.py. The types are equal, and:
    click, long_press: distance of at most 140 where both sides of the picture are 1000, boxes are not looked at.
    type, open_app: the lines are equal, or their *first words* after the command are, case folded (an F1 of sets with
    one element each); as the line is `TYPE [text]`, that word has a bracket: "red" does not start like "red hat".
    All others: the lines are equal.
    Points are not rounded to whole thousandths here.
    """
    gold, answer = step.gold, step.answer
    if isinstance(answer, Unparsed) or _type_name(answer) != _type_name(gold):
        return False
    if gold.kind in ("click", "long_press"):
        return fraction_distance(_place(answer), _place(gold)) <= REACH
    if gold.kind in ("type", "open_app"):
        return answer.text == gold.text or _first_word(answer) == _first_word(gold)
    return answer == gold


def _first_word(action: Action) -> str:
    return f"[{action.text}]".lower().split()[0]


def _place(action: Action) -> Point:
    if action.point is None:
        raise ValueError(f"a {action.kind} has a place, and {action} has none")
    return action.point


def osatlas_shares(step: ScoredStep) -> Shares:
    """OS-Atlas: type and step success over all steps; grounding over the clicks whose *type was right* (no others)."""
    right = osatlas_step(step)
    typed = _type_name(step.answer) == _type_name(step.gold)
    shares = {"type": Share(typed), "step": Share(right)}
    return shares | {"grounding": Share(right)} if typed and step.gold.kind == "click" else shares


def guir1_shares(step: ScoredStep) -> Shares:
    """GUI-R1: step success is (places hit + texts hit) / (steps with a place + steps with a text).

    Source: ritzz-ai/GUI-R1, guir1/eval/eval_omni.py. The *type of the answer is not looked at* for places and texts,
    and wait and key presses are in no step success. An answer without a place is at (0, 0), one without a text says "no
    input text". Every kind of action *without a single hit vanishes* from numerator and denominator of each figure.
    A place is hit below 0.14 of the picture's own sides; texts by the F1 of their word sets, at least 0.5, where two
    single words also match if one contains the other. Kinds are counted per data set there; here for the given steps.
    """
    kind = step.gold.kind
    shares = {"type": Share(_type_name(step.answer) == _type_name(step.gold), kind=str(_type_name(step.gold)))}
    if kind in PLACE_KINDS:
        place = Share(_guir1_place(step), kind=kind)
        return shares | {"grounding": place, "step": place}
    return shares | {"step": Share(_guir1_text(step), kind=kind)} if kind in TEXT_KINDS else shares


def _guir1_place(step: ScoredStep) -> bool:
    answer, gold = step.answer, _place(step.gold)
    point = None if isinstance(answer, Unparsed) else answer.point
    return fraction_distance(point or Point(0.0, 0.0, gold.frame), gold) < REACH


def _guir1_text(step: ScoredStep) -> bool:
    answer, gold = step.answer, step.gold
    said = answer.text or answer.direction if isinstance(answer, Action) and answer.kind in TEXT_KINDS else None
    return guir1_f1(said or "no input text", gold.text or gold.direction or "") >= TEXT_THRESHOLD


def guir1_f1(first: str, second: str) -> float:
    """GUI-R1's F1 of two word sets, case folded, brackets removed; 1 for two single words if one contains the other."""
    one, other = (set(text.replace("[", "").replace("]", "").lower().split()) for text in (first, second))
    if len(one) == len(other) == 1:
        (word,), (second_word,) = one, other
        if word in second_word or second_word in word:
            return 1.0
    return 2 * len(one & other) / (len(one) + len(other)) if one or other else 0.0


def qwen_type(step: ScoredStep) -> bool:
    """Whether the Qwen scorer counts a step's type as right: equal, or a click where an app with an icon was opened."""
    if isinstance(step.answer, Unparsed):
        return False
    taps_icon = step.gold.kind == "open_app" and step.answer.kind == "click" and bool(step.candidates)
    return step.answer.kind == step.gold.kind or taps_icon


def qwen_step(step: ScoredStep) -> bool:
    """Whether the AndroidControl scorer of Qwen2.5-VL and InfiGUI-R1 counts a step as right.

    Source: evaluate_android_control_action of the evaluation code that InfiGUI-R1 builds on.
    click, long_press: in *any* candidate box, each enlarged 1.2 times about its centre, or within 0.04 of the longer
    side. type, open_app: either text contains the other, case folded, so that one letter is enough; an app may also be
    opened by a click on the icon boxes or near the centre of the first. Keys and directions are equal; wait by type.
    Distances are measured in pixels of the resized picture, or of the stored one where it is not resized. An end of the
    task, which the original refuses to score, counts if it is equal.
    """
    gold, answer = step.gold, step.answer
    if isinstance(answer, Unparsed) or not qwen_type(step):
        return False
    if answer.point is not None:
        center = gold.point or step.candidates[0].center
        enlarged = [_enlarged(box) for box in step.candidates]
        return any(box.contains(answer.point) for box in enlarged) or _qwen_near(answer.point, center, step.picture)
    if gold.kind in ("type", "open_app"):
        one, other = (str(action.text).lower().strip() for action in (answer, gold))
        return one in other or other in one
    return answer == gold


def _enlarged(box: Box) -> Box:
    across, down = (side * (QWEN_ENLARGEMENT - 1) / 2 for side in (box.width, box.height))
    return Box(box.x1 - across, box.y1 - down, box.x2 + across, box.y2 + down, box.frame)


def _qwen_near(click: Point, recorded: Point, picture: ImageRecord) -> bool:
    unit = Unit.ORIGINAL if picture.model is None else Unit.MODEL
    frame = picture.frame(unit)
    return click.to(frame).distance(recorded.to(frame)) <= QWEN_REACH * max(frame.width, frame.height)


def qwen_shares(step: ScoredStep) -> Shares:
    """Qwen2.5-VL and InfiGUI-R1: type and step success ("EM") over all steps; grounding over the recorded clicks.

    As published, a right click that opens an app is counted among the grounding hits, though not among the clicks.
    """
    right = qwen_step(step)
    clicked = isinstance(step.answer, Action) and step.answer.kind == "click"
    shares = {"type": Share(qwen_type(step)), "step": Share(right)}
    if step.gold.kind == "click" or (clicked and right):
        shares["grounding"] = Share(clicked and right, int(step.gold.kind == "click"))
    return shares


def odyssey_step(step: ScoredStep) -> bool:
    """Whether GUI-Odyssey's scorer counts a step as right; the share of such steps is its action matching score (AMS).

    Source: OpenGVLab/GUI-Odyssey, src/eval_mm/GUIOdyssey_action_matching.py. The types are equal (each key is one):
    click, long_press: in the box, edges included, or within 0.14. type: either stripped text contains the other, or
    their edit similarity is at least 0.5, case kept. swipe: the same direction. An empty text, which is right there,
    is unparsed here.
    """
    gold, answer = step.gold, step.answer
    if isinstance(answer, Unparsed) or _type_name(answer) != _type_name(gold):
        return False
    if gold.point is not None:
        place = _place(answer)
        return any(box.contains(place) for box in step.candidates) or fraction_distance(place, gold.point) <= REACH
    if gold.kind == "type":
        one, other = (str(action.text).strip() for action in (answer, gold))
        return one in other or other in one or edit_similarity(one, other) >= TEXT_THRESHOLD
    return answer == gold


ANDROID_CONTROL_SCORERS: dict[str, Callable[[ScoredStep], Shares]] = {
    "ac_osatlas": osatlas_shares,
    "ac_guir1": guir1_shares,
    "ac_qwen": qwen_shares,
}


def step_figures(scorer: str, steps: Sequence[ScoredStep]) -> dict[str, Estimate]:
    """The figures "type", "grounding" and "step" of one of `ANDROID_CONTROL_SCORERS` over a set of steps.

    They are in [0, 1], but for Qwen's grounding, which may exceed 1. A figure is left out where the scorer divides by
    zero. Intervals are Wilson's for plain rates, else bootstrapped.
    """
    found: dict[str, list[Share]] = defaultdict(list)
    for step in steps:
        for figure, share in ANDROID_CONTROL_SCORERS[scorer](step).items():
            found[figure].append(share)
    estimates = {figure: _estimate(shares) for figure, shares in found.items()}
    return {figure: estimate for figure, estimate in estimates.items() if estimate is not None}


def _estimate(shares: Sequence[Share]) -> Estimate | None:
    if all(share.count == 1 and not share.kind for share in shares):
        return mean_estimate([float(share.hit) for share in shares])
    number = {kind: i for i, kind in enumerate(sorted({share.kind for share in shares}))}
    kinds = np.array([number[share.kind] for share in shares])
    hits, counts = np.array([share.hit for share in shares]), np.array([share.count for share in shares])

    def sums(chosen: Sequence[int]) -> tuple[float, float]:
        kinds_, size = kinds[chosen], len(number)
        hit, counted = (np.bincount(kinds_, weights[chosen], size) for weights in (hits, counts))
        return hit.sum(), counted.sum() if "" in number else counted[hit > 0].sum()

    def ratio(chosen: Sequence[int]) -> dict[str, float]:
        hit, counted = sums(chosen)
        return {"share": float(hit / counted)} if counted else {}

    every = range(len(shares))
    estimate = bootstrap_estimates(ratio, every).get("share")
    return estimate and replace(estimate, n=int(sums(every)[1]))
