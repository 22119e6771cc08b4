"""How others score a step, rule for rule, on typed actions: three scorers of AndroidControl and GUI-Odyssey's own.

All of them print "type", "grounding" and "step success", and mean different things by it: compare only figures of one
scorer. What differs from the originals is stated per function; reading model text is left to this project's parser.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

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
class StepScores:
    """A scorer's three figures over a set of steps, in [0, 1]; None where it divides by zero."""

    type: float | None
    grounding: float | None
    step: float | None


def _share(hits: int, count: int) -> float | None:
    return hits / count if count else None


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


def ac_osatlas(steps: Sequence[ScoredStep]) -> StepScores:
    """OS-Atlas: type and step success over all steps; grounding over the clicks whose *type was right* (no others)."""
    typed = [step for step in steps if _type_name(step.answer) == _type_name(step.gold)]
    clicks = [step for step in typed if step.gold.kind == "click"]
    return StepScores(
        type=_share(len(typed), len(steps)),
        grounding=_share(sum(map(osatlas_step, clicks)), len(clicks)),
        step=_share(sum(map(osatlas_step, steps)), len(steps)),
    )


def ac_guir1(steps: Sequence[ScoredStep]) -> StepScores:
    """GUI-R1: step success is (places hit + texts hit) / (steps with a place + steps with a text).

    Source: ritzz-ai/GUI-R1, guir1/eval/eval_omni.py. The *type of the answer is not looked at* for places and texts,
    and wait and key presses are in no step success. An answer without a place is at (0, 0), one without a text says "no
    input text". Every kind of action *without a single hit vanishes* from numerator and denominator of each figure.
    A place is hit below 0.14 of the picture's own sides; texts by the F1 of their word sets, at least 0.5, where two
    single words also match if one contains the other. Kinds are counted per data set there; here for the given steps.
    """
    types = _over_hit_classes((str(_type_name(s.gold)), _type_name(s.answer) == _type_name(s.gold)) for s in steps)
    places = _over_hit_classes((s.gold.kind, _guir1_place(s)) for s in steps if s.gold.kind in PLACE_KINDS)
    texts = _over_hit_classes((s.gold.kind, _guir1_text(s)) for s in steps if s.gold.kind in TEXT_KINDS)
    return StepScores(
        type=_share(*types), grounding=_share(*places), step=_share(places[0] + texts[0], places[1] + texts[1])
    )


def _over_hit_classes(outcomes: Iterable[tuple[str, bool]]) -> tuple[int, int]:
    """Hits and steps of the classes with a hit."""
    hits: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for name, hit in outcomes:
        counts[name] += 1
        hits[name] += hit
    return hits.total(), sum(count for name, count in counts.items() if hits[name])


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


def ac_qwen(steps: Sequence[ScoredStep]) -> StepScores:
    """Qwen2.5-VL and InfiGUI-R1: type and step success ("EM") over all steps; grounding over the recorded clicks.

    As published, a right click that opens an app is counted among the grounding hits, though not among the clicks.
    """
    clicks = sum(step.gold.kind == "click" for step in steps)
    hits = sum(qwen_step(s) for s in steps if isinstance(s.answer, Action) and s.answer.kind == "click")
    return StepScores(
        type=_share(sum(map(qwen_type, steps)), len(steps)),
        grounding=_share(hits, clicks),
        step=_share(sum(map(qwen_step, steps)), len(steps)),
    )


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


ANDROID_CONTROL_SCORERS: dict[str, Callable[[Sequence[ScoredStep]], StepScores]] = {
    "ac_osatlas": ac_osatlas,
    "ac_guir1": ac_guir1,
    "ac_qwen": ac_qwen,
}
