import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.boxes import BOXES, MAX_BOXES
from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.types import Boxes, LabelledBox, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
QWEN2_5 = Convention(Unit.MODEL, "json")
QWEN2 = Convention(Unit.NORM1000, "qwen2_box_tokens")
INTERNVL = Convention(Unit.NORM1000, "internvl_brackets")
CONVENTIONS = (QWEN3, QWEN2_5, QWEN2, INTERNVL)

RECORD = ImageRecord(0, Size(2000, 500), Size(1008, 252))
FRAME = RECORD.frame(Unit.ORIGINAL)
CLASSES = ("cat", "traffic light")


def row(*items: LabelledBox, record: ImageRecord = RECORD) -> Sample:
    return Sample("row", (), (record,), "find them", Boxes(items), extra={"classes": CLASSES})


def labelled(label: str, x1: float, y1: float, x2: float, y2: float) -> LabelledBox:
    return LabelledBox(label, Box(x1, y1, x2, y2, FRAME))


CAT = labelled("cat", 400, 100, 600, 300)
LIGHT = labelled("traffic light", 0, 0, 200, 50)
OTHER_CAT = labelled("cat", 1000, 250, 2000, 500)


def parsed(text: str, convention: Convention = QWEN3) -> Boxes | Unparsed:
    return BOXES.read(text, row(), convention)


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        (
            QWEN3,
            '[{"bbox_2d": [200, 200, 300, 600], "label": "cat"}, {"bbox_2d": [500, 500, 1000, 1000], "label": "cat"}, '
            '{"bbox_2d": [0, 0, 100, 100], "label": "traffic light"}]',
        ),
        (
            QWEN2_5,
            '[{"bbox_2d": [202, 50, 302, 151], "label": "cat"}, {"bbox_2d": [504, 126, 1007, 251], "label": "cat"}, '
            '{"bbox_2d": [0, 0, 101, 25], "label": "traffic light"}]',
        ),
        (
            QWEN2,
            "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(200,200),(300,600)<|box_end|>"
            "<|box_start|>(500,500),(1000,1000)<|box_end|>"
            "<|object_ref_start|>traffic light<|object_ref_end|><|box_start|>(0,0),(100,100)<|box_end|>",
        ),
        (
            INTERNVL,
            "<ref>cat</ref><box>[[200, 200, 300, 600], [500, 500, 1000, 1000]]</box>"
            "<ref>traffic light</ref><box>[[0, 0, 100, 100]]</box>",
        ),
    ],
)
def test_notation_of_each_family(convention: Convention, text: str) -> None:
    assert BOXES.render(row(CAT, OTHER_CAT, LIGHT), convention) == text


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_no_objects_is_an_answer(convention: Convention) -> None:
    text = BOXES.render(row(), convention)
    assert text == ("[]" if convention.notation == "json" else "none")
    assert parsed(text, convention) == Boxes(())


sides = st.integers(8, 16_384)
records = st.builds(
    ImageRecord,
    st.just(0),
    st.builds(Size, sides, sides),
    st.builds(Size, st.integers(28, 4000), st.integers(28, 4000)),
)
spans = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(
    record=records, items=st.lists(st.tuples(st.sampled_from([*CLASSES, 'the "old" dog']), spans, spans), max_size=6)
)
def test_a_rendered_list_parses_back(
    convention: Convention, record: ImageRecord, items: list[tuple[str, list[float], list[float]]]
) -> None:
    frame = record.frame(Unit.ORIGINAL)
    width, height = frame.width, frame.height
    gold = [
        LabelledBox(label, Box(xs[0] * width, ys[0] * height, xs[1] * width, ys[1] * height, frame))
        for label, xs, ys in items
    ]
    text = BOXES.render(row(*gold, record=record), convention)
    answer = BOXES.read(text, row(record=record), convention)
    assert isinstance(answer, Boxes)
    assert [item.label for item in answer.items] == [item.label for item in gold]
    own = convention.frame(record)
    # half a unit; a whole one for model pixels, whose last number is side - 1
    units = (1.0 if convention.unit is Unit.MODEL else 0.5) * (1 + 1e-9)
    for read, meant in zip(answer.items, gold, strict=True):
        assert read.box.frame == frame
        error_x, error_y = units * width / own.width, units * height / own.height
        assert max(abs(read.box.x1 - meant.box.x1), abs(read.box.x2 - meant.box.x2)) <= error_x
        assert max(abs(read.box.y1 - meant.box.y1), abs(read.box.y2 - meant.box.y2)) <= error_y
    assert BOXES.render(row(*answer.items, record=record), convention) == text


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [200, 200, 300, 600], "label": "cat"}]',
        '[{"label":"cat","bbox_2d":[200,200.0,3e2,600]}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": " Cat "}]',
        '```json\n[{"bbox_2d": [200, 200, 300, 600], "label": "CAT"}]\n```',
    ],
)
def test_accepted_json(text: str) -> None:
    assert parsed(text) == Boxes((CAT,))


GOOD = '{"bbox_2d": [200, 200, 300, 600], "label": "cat"}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"[[{GOOD}]]",
        f"[{GOOD}][{GOOD}]",
        f"Here: [{GOOD}]",
        f"[{GOOD}] done",
        f"[{GOOD}, null]",
        f"[{GOOD}",
        "null",
        "none",
        "{}",
        '[{"bbox_2d": [200, 200, 300, 600]}]',
        '[{"label": "cat"}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": "cat", "score": 0.9}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": "cat", "label": "dog"}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": ""}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": " "}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": 3}]',
        '[{"bbox_2d": [200, 200, 300, 600], "label": ["cat"]}]',
        f'[{GOOD}, {{"bbox_2d": [300, 200, 200, 600], "label": "cat"}}]',  # swapped
        f'[{GOOD}, {{"bbox_2d": [200, 200, 300, 1001], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": [-1, 200, 300, 600], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": [NaN, 200, 300, 600], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": [200, 200, 300, 1e309], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": [200, 200, 300], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": [true, 200, 300, 600], "label": "cat"}}]',
        f'[{GOOD}, {{"bbox_2d": ["200", 200, 300, 600], "label": "cat"}}]',
        "[{'bbox_2d': [200, 200, 300, 600], 'label': 'cat'}]",
        "[__import__('os').getcwd()]",
        "[" * 100_000,
        f"[{', '.join([GOOD] * (MAX_BOXES + 1))}]",
    ],
    ids=lambda text: text[:50],
)
def test_refused_json(text: str) -> None:
    assert isinstance(parsed(text), Unparsed)


def test_the_longest_answer() -> None:
    answer = parsed(f"[{', '.join([GOOD] * MAX_BOXES)}]")
    assert isinstance(answer, Boxes)
    assert len(answer.items) == MAX_BOXES


def test_boxes_are_kept_as_they_were_written() -> None:
    flat = '{"bbox_2d": [200, 200, 200, 600], "label": "cat"}'
    dog = '{"bbox_2d": [200, 200, 300, 600], "label": "Dog"}'
    answer = parsed(f"[{GOOD}, {flat}, {dog}, {GOOD}]")
    assert isinstance(answer, Boxes)
    assert [item.label for item in answer.items] == ["cat", "cat", "Dog", "cat"]
    assert [item.box.area for item in answer.items] == [40_000, 0, 40_000, 40_000]


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        (QWEN2, "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(200,200),(300,600)<|box_end|>"),
        (QWEN2, "<|object_ref_start|> CAT <|object_ref_end|> <|box_start|>( 200 , 200 ),(300.0,600)<|box_end|>"),
        (INTERNVL, "<ref>cat</ref><box>[[200, 200, 300, 600]]</box>"),
        (INTERNVL, "<ref>cat</ref> <box>[[200,200,300,600.0]]</box>"),
    ],
)
def test_accepted_markup(convention: Convention, text: str) -> None:
    assert parsed(text, convention) == Boxes((CAT,))


def test_groups_in_a_markup() -> None:
    expected = Boxes((CAT, OTHER_CAT, LIGHT))
    repeated = (
        "<ref>cat</ref><box>[[200,200,300,600]]</box>\n<ref>cat</ref><box>[[500,500,1000,1000]]</box>\n"
        "<ref>traffic light</ref><box>[[0,0,100,100]]</box>"
    )
    assert parsed(repeated, INTERNVL) == expected
    for convention in (QWEN2, INTERNVL):
        assert parsed(BOXES.render(row(*expected.items), convention), convention) == expected


QWEN2_CAT = "<|object_ref_start|>cat<|object_ref_end|>"
QWEN2_BOX = "<|box_start|>(200,200),(300,600)<|box_end|>"


@pytest.mark.parametrize(
    ("convention", "text"),
    [
        (QWEN2, QWEN2_BOX),
        (QWEN2, QWEN2_CAT),
        (QWEN2, QWEN2_CAT + QWEN2_BOX + " there"),
        (QWEN2, "so: " + QWEN2_CAT + QWEN2_BOX),
        (QWEN2, QWEN2_CAT + "<|box_start|>(200,200)<|box_end|>"),
        (QWEN2, QWEN2_CAT + "<|box_start|>(300,200),(200,600)<|box_end|>"),
        (QWEN2, QWEN2_CAT + "<|box_start|>(200,200),(300,1001)<|box_end|>"),
        (QWEN2, "<|object_ref_start|><|object_ref_end|>" + QWEN2_BOX),
        (QWEN2, "<|object_ref_start|> <|object_ref_end|>" + QWEN2_BOX),
        (QWEN2, "[]"),
        (QWEN2, "None at all"),
        (QWEN2, f"[{GOOD}]"),
        (INTERNVL, "<box>[[200, 200, 300, 600]]</box>"),
        (INTERNVL, "<ref>cat</ref><box>[]</box>"),
        (INTERNVL, "<ref>cat</ref><box>[[200, 200, 300]]</box>"),
        (INTERNVL, "<ref>cat</ref><box>[[200, 200, 300, 600] [1, 2, 3, 4]]</box>"),
        (INTERNVL, "<ref>cat</ref><box>[[200, 200, 300, 600]"),
        (INTERNVL, "<ref>cat</ref><box>[[nan, 200, 300, 600]]</box>"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else value.notation,
)
def test_refused_markup(convention: Convention, text: str) -> None:
    assert isinstance(parsed(text, convention), Unparsed)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["bbox_2d", "label"]), inner),
    ).map(json.dumps)
)
def test_any_text_gives_boxes_on_the_picture_or_a_reason(convention: Convention, text: str) -> None:
    value = parsed(text, convention)
    assert isinstance(value, Unparsed) or all(item.box.in_image for item in value.items)


@pytest.mark.parametrize(
    "text",
    [
        "<ref>" * 20_000,
        "<ref>a</ref><box>[" + "[1, 2, 3, 4], " * 20_000,
        "<ref>a</ref><box>[[1, 2, 3, 4]" + " " * 50_000 + "x",
        "<|object_ref_start|>a<|object_ref_end|>" + "<|box_start|>(1,2),(3,4)<|box_end|>" * 20_000 + " " * 50_000 + "x",
    ],
    ids=lambda text: text[:30],
)
def test_parsing_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    for convention in CONVENTIONS:
        assert isinstance(parsed(text, convention), Unparsed)
    assert time.perf_counter() - start < 2.0


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_attacks_on_a_row_with_gold(convention: Convention) -> None:
    attacks = {attack.name: attack for attack in BOXES.attacks(row(CAT, LIGHT), convention)}
    assert set(attacks) == {
        "the whole picture as every class",
        "a grid of guesses",
        "the format without numbers",
        "no objects",
        "gold three times",
        "gold as every class",
        "swapped corners",
    }
    answers = {name: parsed(attack.text, convention) for name, attack in attacks.items()}
    assert {name for name, answer in answers.items() if isinstance(answer, Unparsed)} == {
        "the format without numbers",
        "swapped corners",
    }
    assert {name for name, attack in attacks.items() if not attack.guess} == {
        "the format without numbers",
        "swapped corners",
    }
    counts = {name: len(answer.items) for name, answer in answers.items() if isinstance(answer, Boxes)}
    assert counts == {
        "the whole picture as every class": 2,
        "a grid of guesses": 100,
        "no objects": 0,
        "gold three times": 6,
        "gold as every class": 4,
    }


def test_no_objects_is_no_attack_where_it_is_right() -> None:
    assert "no objects" not in {attack.name for attack in BOXES.attacks(row(), QWEN3)}


def test_requests_show_the_format() -> None:
    assert BOXES.request(row(), QWEN3) == (
        'Answer with JSON only: [{"bbox_2d": [x1, y1, x2, y2], "label": "name"}, ...], or [] for none'
    )
    assert BOXES.request(row(), INTERNVL) == (
        "Answer only with <ref>name</ref><box>[[x1, y1, x2, y2]]</box> for each object, or none for none"
    )
