"""A completion in words: what was parsed of it, how that compares with gold, and what each reward said."""

from collections.abc import Sequence

from vlmrl.answers.completion import answer_place
from vlmrl.geometry import Box, Point, Span
from vlmrl.report import timeline
from vlmrl.report.logged import LoggedGroup, LoggedRollout
from vlmrl.report.markup import Html, element, join
from vlmrl.report.numbers import count, fixed, signed
from vlmrl.report.overlay import Kind, Target, shapes
from vlmrl.report.sampling import cut
from vlmrl.types import (
    Action,
    Answer,
    Boxes,
    Choice,
    Code,
    Finish,
    Points,
    PromptMode,
    Refusal,
    Score,
    Spans,
    Text,
    Unparsed,
)

LONG_THOUGHT = 300
"""Characters from which on what stands before the answer gets a frame of its own, which scrolls."""


def outcome(rollout: LoggedRollout, group: LoggedGroup) -> Html:
    """The parsed answer in original pixels or seconds and how it compares with gold, or why there is none."""
    answer = rollout.answer
    if isinstance(answer, Unparsed):
        return element("span", f"unparsed: {cut(answer.reason)}", class_="bad")
    kind, verdict = compared(answer, Target(group.gold, group.target))
    return element("span", f"{written(answer)}{verdict}", class_=kind)


def compared(answer: Answer, target: Target) -> tuple[Kind, str]:
    """What geometry alone says of an answer: its colour on the page and a few words. Rewards may judge otherwise."""
    gold = target.gold
    match answer, gold:
        case Action(kind, place), Action(wanted):
            if kind != wanted:
                return "miss", f", another action than {wanted}"
            return _placed(answer, target) if place else ("answer", "")
        case Span(), Span() if answer.clip == gold.clip:
            return timeline.kind_of(answer, gold), f", temporal IoU {fixed(answer.tiou(gold))}"
        case Span() | Spans(), Span() | Spans():
            return timeline.kind_of(answer, gold), ""
        case Choice(letter), Choice(wanted):
            return ("hit", ", right") if letter == wanted else ("miss", f", not {wanted}")
        case Refusal(), Refusal():
            return "hit", ", right"
        case (Refusal(), _) | (_, Refusal()):
            return "miss", ", wrong"
    return _placed(answer, target)


def _placed(answer: Answer, target: Target) -> tuple[Kind, str]:
    kinds = [target.kind_of(shape) for shape in shapes(answer)]
    if not kinds or "answer" in kinds:
        return "answer", ""
    hits = kinds.count("hit")
    if isinstance(answer, Boxes):
        return "hit" if hits == len(kinds) else "miss", f", {hits} of {len(kinds)} inside a gold box of the class"
    if isinstance(answer, Points):
        return "hit" if hits else "miss", f", {hits} of {len(kinds)} inside gold"
    overlap = ""
    if isinstance(answer, Box) and isinstance(target.gold, Box) and answer.frame == target.gold.frame:
        overlap = f", IoU {fixed(answer.iou(target.gold))}"
    return ("hit", f"{overlap}, inside gold") if hits else ("miss", f"{overlap}, outside gold")


def written(answer: Answer) -> str:
    """An answer in one line: point (12.0, 34.5)."""
    match answer:
        case Point(x, y):
            return f"point ({x:.1f}, {y:.1f}){'' if answer.in_image else ', off the picture'}"
        case Box(x1, y1, x2, y2):
            outside = "" if answer.in_image else ", reaching off the picture"
            return f"box ({x1:.1f}, {y1:.1f}, {x2:.1f}, {y2:.1f}){outside}"
        case Boxes(items):
            return "; ".join(f"{item.label} {written(item.box)}".strip() for item in items) or "no boxes"
        case Points(items):
            return "; ".join(map(written, items))
        case Refusal():
            return "not in the picture"
        case Span(start, end):
            return f"{start:.1f} to {end:.1f} s{'' if answer.in_clip else ', beyond the clip'}"
        case Spans(items):
            return "; ".join(map(written, items)) or "no spans"
        case Action(kind, point, text, direction):
            details = (point and written(point), text and repr(cut(text)), direction)
            return " ".join([kind, *(detail for detail in details if detail)])
        case Choice(letter):
            return f"option {letter}"
        case Text(text):
            return repr(cut(text))
        case Code(source):
            return f"script of {count(len(source.splitlines()), 'line')}"


def completion(rollout: LoggedRollout, mode: PromptMode) -> Html:
    """The completion as the model wrote it, what was parsed of it marked."""
    if not rollout.text:
        return element("p", "(empty completion)", class_="note")
    place = answer_place(rollout.text, mode)
    if isinstance(rollout.answer, Unparsed) or isinstance(place, Unparsed):
        return element("pre", cut(rollout.text), class_="completion")
    thought = cut(rollout.text[: place.start])
    answer = join(element("mark", cut(rollout.text[place])), cut(rollout.text[place.stop :]))
    if len(thought) <= LONG_THOUGHT:
        return element("pre", thought, answer, class_="completion")
    # The answer is what a reader looks for: thoughts of any length must not hide it.
    return join(element("pre", thought, class_="completion"), element("pre", answer, class_="completion"))


def table(group: LoggedGroup) -> Html:
    """Every completion with its reward, the reward's parts, and its advantage."""
    names = dict.fromkeys(name for rollout in group.rollouts for name in rollout.scores)
    unscorable = {name: reason for name in names if (reason := _never_scorable(name, group))}
    components = [name for name in names if name not in unscorable]
    figures = _figures(group)
    head = element(
        "tr",
        element("th", "#"),
        element("th", "Completion", class_="wide"),
        *(element("th", name, class_="figure") for name in figures),
    )
    rows = [_row(number, rollout, components, figures, group) for number, rollout in enumerate(group.rollouts, start=1)]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", *rows)),
        *(
            element("p", f"{_spaced(name)} does not apply: {cut(reason)}", class_="note")
            for name, reason in unscorable.items()
        ),
        class_="scroll rollouts",
    )


def parts(rollout: LoggedRollout, components: Sequence[str]) -> Html:
    """Each reward component and what it gave."""
    given = [element("span", f"{_spaced(name)} ", element("b", _part(rollout.scores.get(name)))) for name in components]
    return element("p", *given, class_="parts")


def explanations(rollout: LoggedRollout, components: Sequence[str]) -> list[Html | None]:
    """Why components have no value."""
    return [_explanation(name, rollout.scores[name]) for name in components if name in rollout.scores]


def ending(rollout: LoggedRollout) -> str:
    """How long the completion is, why it ends, and where it comes from if not from the policy alone."""
    length = [count(rollout.tokens, "token")] if rollout.tokens else []
    finish = "stop" if rollout.finish is Finish.STOP else "cut at the token limit"
    source = [rollout.source] if rollout.source != "sampled" else []
    return ", ".join([*length, finish, *source])


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _never_scorable(name: str, group: LoggedGroup) -> str | None:
    """Why a component has no score for any answer of the group; None if it has one or failed.

    Unparsed completions earn a component's lower bound whether it applies or not, so they say nothing about it.
    """
    answered = [rollout for rollout in group.rollouts if not isinstance(rollout.answer, Unparsed)]
    scores = [rollout.scores[name] for rollout in answered if name in rollout.scores]
    return scores[0].unscorable if scores and all(score.unscorable is not None for score in scores) else None


def _figures(group: LoggedGroup) -> tuple[str, ...]:
    """What is known of every completion: a lone one has no advantage, one that no reward has seen no reward."""
    if not any(rollout.scores for rollout in group.rollouts):
        return ()
    return ("reward", "advantage") if len(group.rollouts) > 1 else ("reward",)


def _row(
    number: int, rollout: LoggedRollout, components: Sequence[str], figures: Sequence[str], group: LoggedGroup
) -> Html:
    values = {"reward": fixed(rollout.reward), "advantage": signed(rollout.advantage)}
    said = element(
        "p", outcome(rollout, group), " · ", element("span", ending(rollout), class_="ending"), class_="note"
    )
    return element(
        "tr",
        element("th", str(number), class_="figure", scope="row"),
        element(
            "td",
            completion(rollout, group.mode),
            said,
            parts(rollout, components),
            *explanations(rollout, components),
        ),
        # A cell names itself for narrow screens, where the table has no head.
        *(element("td", values[name], class_="figure", data_label=name) for name in figures),
        data_answer=number,
    )


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
