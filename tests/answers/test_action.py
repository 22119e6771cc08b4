"""Actions: every rule of the parser's table, exact round trips, and requests that name the row's own actions."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.action import ACTION, DIRECTIONS, LONGEST_TEXT, ActionKind, ActionSpace, Argument, in_words
from vlmrl.answers.convention import Convention
from vlmrl.geometry import ImageRecord, Point, Size, Unit
from vlmrl.types import Action, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = {
    "qwen3": QWEN3,
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
    "internvl": Convention(Unit.NORM1000, "internvl_brackets"),
}
OLDER, RECORD = ImageRecord(0, Size(64, 64)), ImageRecord(1, Size(1080, 2400), Size(644, 1484))
FRAME = RECORD.frame(Unit.ORIGINAL)
SPACE = ActionSpace(
    "test",
    (
        ActionKind("click", Argument.POINT),
        ActionKind("type", Argument.TEXT),
        ActionKind("scroll", Argument.DIRECTION),
        ActionKind("press_key", Argument.TEXT, ("back", "home")),
        ActionKind("wait"),
    ),
)
CLICK = Action("click", point=Point(540, 1200, FRAME))


def row(gold: Action = CLICK, space: ActionSpace = SPACE) -> Sample:
    return Sample("row", (), (OLDER, RECORD), "do it", gold, asked_image=1, extra={"actions": space})


def read(text: str, convention: Convention = QWEN3) -> Action | Unparsed:
    return ACTION.read(text, row(), convention)


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
golds = st.one_of(
    st.builds(lambda x, y: Action("click", point=Point(x, y, FRAME)), st.floats(0, 1080), st.floats(0, 2400)),
    texts.map(lambda text: Action("type", text=text)),
    st.sampled_from(DIRECTIONS).map(lambda direction: Action("scroll", direction=direction)),
    st.sampled_from(["back", "home"]).map(lambda key: Action("press_key", text=key)),
    st.just(Action("wait")),
)


@pytest.mark.parametrize("name", CONVENTIONS)
@given(gold=golds)
def test_what_is_written_is_read(name: str, gold: Action) -> None:
    convention = CONVENTIONS[name]
    answer = ACTION.read(ACTION.render(row(gold), convention), row(gold), convention)
    assert isinstance(answer, Action)
    assert (answer.kind, answer.text, answer.direction) == (gold.kind, gold.text, gold.direction)
    if gold.point is None:
        assert answer.point is None
    else:
        assert answer.point is not None
        assert answer.point.frame == FRAME
        unit = convention.frame(RECORD)
        # Half a unit by rounding; a whole one for model pixels, whose last number is side - 1.
        slack = 1.0 if convention.unit is Unit.MODEL else 0.5
        assert abs(answer.point.x - gold.point.x) <= slack * 1080 / unit.width + 1e-6
        assert abs(answer.point.y - gold.point.y) <= slack * 2400 / unit.height + 1e-6


@pytest.mark.parametrize(
    ("gold", "as_json", "as_line"),
    [
        (CLICK, '{"action": "click", "point_2d": [500, 500]}', "click <|box_start|>(500,500)<|box_end|>"),
        (Action("type", text='say "hé"'), '{"action": "type", "text": "say \\"hé\\""}', 'type "say \\"hé\\""'),
        (Action("scroll", direction="down"), '{"action": "scroll", "direction": "down"}', "scroll down"),
        (Action("press_key", text="back"), '{"action": "press_key", "text": "back"}', 'press_key "back"'),
        (Action("wait"), '{"action": "wait"}', "wait"),
    ],
)
def test_each_notation(gold: Action, as_json: str, as_line: str) -> None:
    assert ACTION.render(row(gold), QWEN3) == as_json
    assert ACTION.render(row(gold), CONVENTIONS["qwen2"]) == as_line
    assert ACTION.render(row(CLICK), CONVENTIONS["internvl"]) == "click [[500, 500]]"


@pytest.mark.parametrize(
    "text",
    [
        '{"action": "click", "point_2d": [500, 500]}',
        '[{"action": "click", "point_2d": [500, 500]}]',
        '```json\n{"action": "click", "point_2d": [500.0, 500]}\n```',
        ' {"point_2d": [500, 500], "action": "click"}',
    ],
)
def test_forms_of_one_action(text: str) -> None:
    assert read(text.strip()) == CLICK


REFUSED = {
    "other text": "I would click the button",
    "text around": 'click: {"action": "wait"}',
    "a list of none": "[]",
    "two actions": '[{"action": "wait"}, {"action": "scroll", "direction": "up"}]',
    "two actions in a row": '{"action": "wait"}{"action": "wait"}',
    "a key twice": '{"action": "wait", "action": "scroll", "direction": "up"}',
    "no action": '{"point_2d": [500, 500]}',
    "unknown action": '{"action": "drag", "point_2d": [500, 500]}',
    "upper case": '{"action": "WAIT"}',
    "action of several": '{"action": ["wait", "click"]}',
    "missing argument": '{"action": "click"}',
    "extra argument": '{"action": "click", "point_2d": [500, 500], "text": "hello"}',
    "argument of another kind": '{"action": "type", "point_2d": [500, 500]}',
    "argument for none": '{"action": "wait", "text": "2"}',
    "filler": '{"action": "wait", "point_2d": [-100, -100], "text": "no input text"}',
    "a box": '{"action": "click", "point_2d": [400, 400, 600, 600]}',
    "two points": '{"action": "click", "point_2d": [[1, 1], [500, 500]]}',
    "a boolean": '{"action": "click", "point_2d": [true, 500]}',
    "a string": '{"action": "click", "point_2d": "500, 500"}',
    "off the picture": '{"action": "click", "point_2d": [500, 1001]}',
    "negative": '{"action": "click", "point_2d": [-1, 500]}',
    "huge": '{"action": "click", "point_2d": [1e400, 500]}',
    "huge whole": '{"action": "click", "point_2d": [%s, 500]}' % ("9" * 400),
    "not a number": '{"action": "click", "point_2d": [NaN, 500]}',
    "empty text": '{"action": "type", "text": ""}',
    "blank text": '{"action": "type", "text": "  "}',
    "no text": '{"action": "type", "text": null}',
    "a number as text": '{"action": "type", "text": 7}',
    "long text": json.dumps({"action": "type", "text": "a" * (LONGEST_TEXT + 1)}),
    "half a character": '{"action": "type", "text": "\\ud800"}',
    "unknown key": '{"action": "press_key", "text": "power"}',
    "unknown direction": '{"action": "scroll", "direction": "diagonal"}',
    "directions": '{"action": "scroll", "direction": ["up", "down"]}',
    "options": '{"action": "press_key", "text": "back|home"}',
    "nested": "[" * 100_000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_answers(name: str) -> None:
    answer = read(REFUSED[name])
    assert isinstance(answer, Unparsed)
    assert answer.reason


@pytest.mark.parametrize(
    "text",
    [
        "click",
        "click (500,500)",
        "click <|box_start|>(500,500)<|box_end|> <|box_start|>(1,1)<|box_end|>",
        "click <|box_start|>(500,500)<|box_end|>\nwait",
        "click <|box_start|>(400,400),(600,600)<|box_end|>",
        "click <|box_start|>(500,1001)<|box_end|>",
        "type hello",
        'type "a" type "b"',
        "type",
        "scroll",
        "scroll up down",
        "wait 2",
        "wait\nwait",
        "drag up",
        '{"action": "wait"}',
    ],
)
def test_refused_lines(text: str) -> None:
    assert isinstance(read(text, CONVENTIONS["qwen2"]), Unparsed)


def test_a_text_is_kept_as_it_is() -> None:
    assert read('{"action": "type", "text": " Two\\nlines "}') == Action("type", text=" Two\nlines ")


def test_a_place_is_on_the_asked_picture() -> None:
    answer = read('{"action": "click", "point_2d": [1000, 0]}')
    assert answer == Action("click", point=Point(1080, 0, FRAME))


def test_the_request_names_the_rows_own_actions() -> None:
    request = ACTION.request(row(), QWEN3)
    for kind in SPACE.kinds:
        assert f'"action": "{kind.name}"' in request
    assert "back|home" in request
    assert "up|down|left|right" in request
    only = ActionSpace("clicks", SPACE.kinds[:1])
    assert ACTION.request(row(space=only), QWEN3).endswith(': {"action": "click", "point_2d": [x, y]}')
    assert "scroll up|down|left|right" in ACTION.request(row(), CONVENTIONS["internvl"])


def test_a_row_without_actions_is_a_fault_of_the_task() -> None:
    sample = Sample("bare", (), (RECORD,), "do it", CLICK)
    with pytest.raises(TypeError, match="bare"):
        ACTION.request(sample, QWEN3)


def test_a_space_says_what_does_not_fit() -> None:
    assert SPACE.fault(CLICK) is None
    assert "unknown action" in str(SPACE.fault(Action("drag")))
    assert "nothing else" in str(SPACE.fault(Action("wait", text="2")))
    assert "on the picture" in str(SPACE.fault(Action("click", point=Point(-1, 0, FRAME))))
    assert "on the picture" in str(SPACE.fault(Action("click")))


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize(
    "gold", [CLICK, Action("type", text="a"), Action("scroll", direction="up"), Action("wait")], ids=in_words
)
def test_attacks_are_unparsed_or_well_formed_guesses(name: str, gold: Action) -> None:
    convention, sample = CONVENTIONS[name], row(gold)
    attacks = ACTION.attacks(sample, convention)
    assert len({attack.name for attack in attacks}) == len(attacks)
    for attack in attacks:
        answer = ACTION.read(attack.text, sample, convention)
        assert isinstance(answer, Action) == attack.guess, attack
    assert {"every action at once", "gold with an argument too many"} <= {attack.name for attack in attacks}


@given(st.binary(max_size=60))
def test_no_text_breaks_the_parser(noise: bytes) -> None:
    text = noise.decode("latin-1").strip() or "x"
    for convention in CONVENTIONS.values():
        assert isinstance(ACTION.read(text, row(), convention), Action | Unparsed)


def test_damaged_answers_never_break_the_parser() -> None:
    rng = random.Random(0)
    gold = ACTION.render(row(), QWEN3)
    for _ in range(2000):
        letters = list(gold)
        for _ in range(rng.randint(1, 4)):
            letters[rng.randrange(len(letters))] = rng.choice('{}[]",:0e-. ')
        assert isinstance(read("".join(letters).strip() or "x"), Action | Unparsed)
