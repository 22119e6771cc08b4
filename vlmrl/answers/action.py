"""One step on a device: typed action -> text in the family's convention, and text -> typed action.

What a step may be is declared by the row: an `ActionSpace` in `Sample.extra["actions"]`. In JSON an action is one
object, in the other notations its kind, a space, and its argument:

| argument  | JSON                                       | other notations                                |
|-----------|--------------------------------------------|------------------------------------------------|
| a place   | {"action": "click", "point_2d": [x, y]}    | click <|box_start|>(x,y)<|box_end|>            |
| a text    | {"action": "type", "text": "hello"}        | type "hello" (the text is a JSON string)       |
| direction | {"action": "scroll", "direction": "down"}  | scroll down                                    |
| none      | {"action": "wait"}                         | wait                                           |

One strict rule set for training, evaluation and data checks:

| completion                                                  | result                                       |
|-------------------------------------------------------------|----------------------------------------------|
| one action of the row's space                               | the action                                   |
| a JSON list with exactly one such object, or a fence        | the action                                   |
| empty, other text, text around the action                   | Unparsed                                     |
| several actions, a key given twice                          | Unparsed                                     |
| a kind that the space does not have, or not in lower case   | Unparsed                                     |
| an argument missing, one too many, or of the wrong type     | Unparsed                                     |
| an empty text, one of spaces, one that is not Unicode       | Unparsed                                     |
| a text longer than `LONGEST_TEXT`                           | Unparsed                                     |
| a key, status or direction that the space does not list     | Unparsed                                     |
| NaN, Infinity, a place outside the picture                  | Unparsed                                     |
| decimals of a place                                         | the action, not rounded                      |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.attack import Attack
from vlmrl.answers.completion import parse_json
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import MARKUP, POINT, listed_numbers, placed
from vlmrl.geometry import Point, Unit
from vlmrl.types import Action, Sample, Unparsed

DIRECTIONS = ("up", "down", "left", "right")
LONGEST_TEXT = 1000
"""Characters of a typed text or an answer; comparing texts costs the product of their lengths."""


class Argument(Enum):
    """What a kind of action needs besides its name; the value is its key in a JSON answer."""

    POINT = "point_2d"
    TEXT = "text"
    DIRECTION = "direction"


@dataclass(frozen=True)
class ActionKind:
    """One kind of action."""

    name: str
    argument: Argument | None = None
    options: tuple[str, ...] = ()
    """The texts it may have (keys to press, states to finish in); any text if there are none."""

    @property
    def words(self) -> tuple[str, ...]:
        """Everything that may stand as its argument, where that can be listed."""
        return DIRECTIONS if self.argument is Argument.DIRECTION else self.options

    def action(self, argument: Any = None) -> Action:
        """An action of this kind."""
        return Action(self.name, **{self.argument.name.lower(): argument} if self.argument else {})

    def actions(self) -> tuple[Action, ...]:
        """Every action of this kind; none where its arguments cannot be listed."""
        return tuple(map(self.action, self.words)) if self.argument else (self.action(),)

    def argument_of(self, action: Action) -> Any:
        return getattr(action, self.argument.name.lower()) if self.argument else None


@dataclass(frozen=True)
class ActionSpace:
    """The actions that a row allows."""

    name: str
    kinds: tuple[ActionKind, ...]

    def kind(self, name: object) -> ActionKind | None:
        return next((kind for kind in self.kinds if kind.name == name), None)

    def fault(self, action: Action) -> str | None:
        """Why an action is not one of this space, if it is not."""
        kind = self.kind(action.kind)
        if kind is None:
            return f"unknown action {action.kind!r}; the actions are {', '.join(k.name for k in self.kinds)}"
        argument = kind.argument_of(action)
        if action != kind.action(argument):
            return f"{kind.name} takes {_named(kind)} and nothing else"
        match kind.argument:
            case Argument.POINT:
                in_image = isinstance(argument, Point) and argument.in_image
                return None if in_image else f"{kind.name} needs a place on the picture"
            case Argument.TEXT | Argument.DIRECTION:
                return _text_fault(kind, argument)
        return None


def _named(kind: ActionKind) -> str:
    return kind.argument.name.lower() if kind.argument else "no argument"


def _text_fault(kind: ActionKind, text: object) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return f"{kind.name} needs a {_named(kind)} that is not empty"
    if kind.words and text not in kind.words:
        return f"the {_named(kind)} of {kind.name} is one of {', '.join(kind.words)}"
    if len(text) > LONGEST_TEXT:
        return f"the text of {kind.name} has {len(text)} characters; {LONGEST_TEXT} are allowed"
    # A lone surrogate can be written in JSON but not in any file.
    if any("\ud800" <= character <= "\udfff" for character in text):
        return f"the text of {kind.name} is not Unicode"
    return None


def action_space(sample: Sample) -> ActionSpace:
    """The row's declared actions."""
    space = sample.extra.get("actions")
    if not isinstance(space, ActionSpace):
        raise TypeError(f"row {sample.id}: extra['actions'] must be an ActionSpace, not {space!r}")
    return space


def in_words(action: Action) -> str:
    """An action without its place, for a row's history: click, type "hello", scroll down."""
    text = None if action.text is None else json.dumps(action.text, ensure_ascii=False)
    return " ".join(part for part in (action.kind, text, action.direction) if part is not None)


class ActionAnswer(AnswerType):
    """An answer that is one action of the row's own space."""

    def request(self, sample: Sample, convention: Convention) -> str:
        """The sentence that names the allowed actions."""
        as_json = convention.notation == "json"
        forms = ", ".join(self._form(kind, convention) for kind in action_space(sample).kinds)
        return f"Answer with one action{' as JSON only' if as_json else ' only'}: {forms}"

    def render(self, sample: Sample, convention: Convention) -> str:
        """The text a model of this family should write for the gold action."""
        if not isinstance(sample.gold, Action):
            raise TypeError(f"an action answer needs an action as gold, not {type(sample.gold).__name__}")
        return self._rendered(sample.gold, sample, convention)

    def read(self, block: str, sample: Sample, convention: Convention) -> Action | Unparsed:
        """The action, its place in original pixels of the asked picture, or why there is none (module docstring)."""
        from_json = convention.notation == "json"
        found = _from_json(block, sample) if from_json else _from_line(block, sample, convention)
        if isinstance(found, Unparsed):
            return found
        kind, argument = found
        if kind.argument is Argument.POINT:
            argument = argument if isinstance(argument, Unparsed) else placed(argument, sample.asked, convention)
            if isinstance(argument, Unparsed):
                return argument
        action = kind.action(argument)
        fault = action_space(sample).fault(action)
        return Unparsed(fault) if fault else action

    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        """Constant actions, the right kind with a wrong argument, and ways to do several things at once."""
        space, gold = action_space(sample), sample.gold
        if not isinstance(gold, Action):
            raise TypeError(f"an action answer needs an action as gold, not {type(gold).__name__}")
        right, right_kind = self.render(sample, convention), space.kind(gold.kind)
        if right_kind is None:
            raise ValueError(f"row {sample.id}: {space.fault(gold)}")
        every = [self._rendered(kind.action(_constant(kind, sample)), sample, convention) for kind in space.kinds]
        attacks = [
            *(Attack(f"always {in_words(kind.action(_constant(kind, sample)))}", text, guess=True, blind=True)
              for kind, text in zip(space.kinds, every, strict=True)),
            Attack("every action at once", _several([*every, right], convention)),
            Attack("gold three times", _several([right] * 3, convention)),
            Attack("an unknown action", self._rendered(Action("do_it"), sample, convention)),
            Attack("the request repeated", self.request(sample, convention)),
            Attack("gold with an argument too many", _with_more(right, right_kind, convention)),
        ]  # fmt: skip
        if right_kind.argument:
            attacks.append(Attack("gold without its argument", self._rendered(Action(gold.kind), sample, convention)))
        wrong = _wrong(right_kind, gold, sample)
        if wrong is not None:
            text = self._rendered(right_kind.action(wrong), sample, convention)
            attacks.append(Attack("the right action with a wrong argument", text, guess=True))
        return attacks

    def _rendered(self, action: Action, sample: Sample, convention: Convention) -> str:
        place = action.point and convention.coordinates(action.point, sample.asked)
        return _written(
            action.kind, {Argument.POINT: place, Argument.TEXT: action.text, Argument.DIRECTION: action.direction},
            convention,
        )  # fmt: skip

    def _form(self, kind: ActionKind, convention: Convention) -> str:
        """How an action of this kind is written, with names in the place of values."""
        if kind.argument is Argument.POINT:
            if convention.notation == "json":
                return f'{{"action": "{kind.name}", "point_2d": [x, y]}}'
            return f"{kind.name} {MARKUP[convention.notation].template(2).format('x', 'y')}"
        values = "|".join(kind.words) or "..."
        return _written(kind.name, {kind.argument: values} if kind.argument else {}, convention)


def _written(kind: str, arguments: Mapping[Any, Any], convention: Convention) -> str:
    given = {argument: value for argument, value in arguments.items() if value is not None}
    if convention.notation == "json":
        return json.dumps({"action": kind} | {a.value: value for a, value in given.items()}, ensure_ascii=False)
    parts = [kind]
    for argument, value in given.items():
        match argument:
            case Argument.POINT:
                parts.append(MARKUP[convention.notation].template(2).format(*value))
            case Argument.TEXT:
                parts.append(json.dumps(value, ensure_ascii=False))
            case Argument.DIRECTION:
                parts.append(value)
    return " ".join(parts)


def _from_json(block: str, sample: Sample) -> tuple[ActionKind, Any] | Unparsed:
    value = parse_json(block)
    if isinstance(value, Unparsed):
        return value
    if isinstance(value, list):
        if len(value) != 1:
            return Unparsed(f"expected one action, found a list of {len(value)}")
        value = value[0]
    if not isinstance(value, dict) or "action" not in value:
        return Unparsed('expected an object with the key "action"')
    kind = _known(value["action"], sample)
    if isinstance(kind, Unparsed):
        return kind
    if set(value) != {"action"} | ({kind.argument.value} if kind.argument else set()):
        return Unparsed(f"{kind.name} takes {_named(kind)} and nothing else, not the keys {', '.join(value)}")
    argument = value[kind.argument.value] if kind.argument else None
    return kind, listed_numbers(argument, POINT.key, len(POINT.names)) if kind.argument is Argument.POINT else argument


def _from_line(block: str, sample: Sample, convention: Convention) -> tuple[ActionKind, Any] | Unparsed:
    name, _, rest = block.partition(" ")
    kind, rest = _known(name, sample), rest.strip()
    if isinstance(kind, Unparsed):
        return kind
    match kind.argument:
        case Argument.POINT:
            numbers = MARKUP[convention.notation].parse(rest, 2)
            return kind, Unparsed(f"{kind.name} needs a point") if numbers is None else numbers
        case Argument.TEXT:
            text = parse_json(rest)
            return text if isinstance(text, Unparsed) else (kind, text)
        case Argument.DIRECTION:
            return kind, rest
    return Unparsed(f"{kind.name} takes no argument") if rest else (kind, None)


def _known(name: object, sample: Sample) -> ActionKind | Unparsed:
    space = action_space(sample)
    kind = space.kind(name)
    return kind or Unparsed(
        f"unknown action {str(name)[:40]!r}; the actions are {', '.join(k.name for k in space.kinds)}"
    )


def _several(actions: list[str], convention: Convention) -> str:
    return f"[{', '.join(actions)}]" if convention.notation == "json" else "\n".join(actions)


def _with_more(right: str, kind: ActionKind, convention: Convention) -> str:
    """Gold with one argument more than its kind has."""
    if convention.notation != "json":
        return f'{right} "more"'
    more = Argument.DIRECTION if kind.argument is Argument.TEXT else Argument.TEXT
    return json.dumps(json.loads(right) | {more.value: "up"})


def _constant(kind: ActionKind, sample: Sample) -> Any:
    """The argument of someone who does not look."""
    if kind.argument is Argument.POINT:
        frame = sample.asked.frame(Unit.ORIGINAL)
        return Point(frame.width / 2, frame.height / 2, frame)
    if kind.argument is None:
        return None
    return "down" if kind.argument is Argument.DIRECTION else next(iter(kind.options), "a")


def _wrong(kind: ActionKind, gold: Action, sample: Sample) -> Any:
    """An argument that is as far from the gold one as can be; None if there is no other."""
    if kind.argument is Argument.POINT and gold.point is not None:
        frame = gold.point.frame
        far_x = 0.0 if gold.point.x > frame.width / 2 else frame.width
        far_y = 0.0 if gold.point.y > frame.height / 2 else frame.height
        return replace(gold.point, x=far_x, y=far_y)
    others = [word for word in kind.words if word != kind.argument_of(gold)]
    if kind.argument is Argument.TEXT and not kind.words:
        return "something else"
    return others[0] if others else None


ACTION = ActionAnswer()
