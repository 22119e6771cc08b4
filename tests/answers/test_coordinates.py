import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmrl.answers.completion import answer_block
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT, CoordinateAnswer
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.types import PromptMode, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
QWEN2_5 = Convention(Unit.MODEL, "json")
QWEN2 = Convention(Unit.NORM1000, "qwen2_box_tokens")
INTERNVL = Convention(Unit.NORM1000, "internvl_brackets")
CONVENTIONS = (QWEN3, QWEN2_5, QWEN2, INTERNVL)

RECORD = ImageRecord(0, Size(2000, 500), Size(1008, 252))
FRAME = RECORD.frame(Unit.ORIGINAL)

sides = st.integers(8, 16_384)
records = st.builds(
    ImageRecord,
    st.just(0),
    st.builds(Size, sides, sides),
    st.builds(Size, st.integers(28, 4000), st.integers(28, 4000)),
)
fractions = st.floats(0, 1)
spans = st.tuples(fractions, fractions).map(sorted)


def row(gold: Point | Box, record: ImageRecord = RECORD) -> Sample:
    return Sample("row", (Image.new("RGB", (1, 1)),), (record,), "where?", gold)


def rendered(answer: CoordinateAnswer, gold: Point | Box, convention: Convention, record: ImageRecord = RECORD) -> str:
    return answer.render(row(gold, record), convention)


def parsed(
    text: str,
    answer: CoordinateAnswer = POINT,
    convention: Convention = QWEN3,
    mode: PromptMode = PromptMode.DIRECT,
    record: ImageRecord = RECORD,
) -> Point | Box | Unparsed:
    block = answer_block(text, mode)
    return block if isinstance(block, Unparsed) else answer.read(block, row(Point(0, 0, FRAME), record), convention)


def largest_error(convention: Convention, record: ImageRecord) -> tuple[float, float]:
    """Original pixels that rounding to the family's whole numbers may move a coordinate by, and a float's rounding.

    Half a unit; a whole one for model pixels, whose last number is side - 1.
    """
    frame = convention.frame(record)
    units = 1.0 if convention.unit is Unit.MODEL else 0.5
    slack = units * (1 + 1e-9)
    return slack * record.original.width / frame.width, slack * record.original.height / frame.height


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(record=records, x=fractions, y=fractions)
def test_a_rendered_point_parses_back(convention: Convention, record: ImageRecord, x: float, y: float) -> None:
    frame = record.frame(Unit.ORIGINAL)
    gold = Point(x * frame.width, y * frame.height, frame)
    answer = parsed(rendered(POINT, gold, convention, record), POINT, convention, record=record)
    assert isinstance(answer, Point)
    assert answer.frame == frame
    error_x, error_y = largest_error(convention, record)
    assert abs(answer.x - gold.x) <= error_x
    assert abs(answer.y - gold.y) <= error_y
    assert rendered(POINT, answer, convention, record) == rendered(POINT, gold, convention, record)


@pytest.mark.parametrize("convention", CONVENTIONS)
@given(record=records, xs=spans, ys=spans)
def test_a_rendered_box_parses_back(
    convention: Convention, record: ImageRecord, xs: list[float], ys: list[float]
) -> None:
    frame = record.frame(Unit.ORIGINAL)
    gold = Box(xs[0] * frame.width, ys[0] * frame.height, xs[1] * frame.width, ys[1] * frame.height, frame)
    answer = parsed(rendered(BOX, gold, convention, record), BOX, convention, record=record)
    assert isinstance(answer, Box)
    error_x, error_y = largest_error(convention, record)
    assert max(abs(answer.x1 - gold.x1), abs(answer.x2 - gold.x2)) <= error_x
    assert max(abs(answer.y1 - gold.y1), abs(answer.y2 - gold.y2)) <= error_y


@pytest.mark.parametrize(
    ("convention", "point", "box"),
    [
        (QWEN3, '{"point_2d": [250, 400]}', '{"bbox_2d": [200, 200, 300, 600]}'),
        (QWEN2_5, '{"point_2d": [252, 101]}', '{"bbox_2d": [202, 50, 302, 151]}'),
        (QWEN2, "<|box_start|>(250,400)<|box_end|>", "<|box_start|>(200,200),(300,600)<|box_end|>"),
        (INTERNVL, "[[250, 400]]", "<box>[[200, 200, 300, 600]]</box>"),
    ],
)
def test_notation_of_each_family(convention: Convention, point: str, box: str) -> None:
    gold = Box(400, 100, 600, 300, FRAME)
    assert rendered(POINT, gold, convention, RECORD) == point
    assert rendered(POINT, gold.center, convention, RECORD) == point
    assert rendered(BOX, gold, convention, RECORD) == box


def test_model_pixels_end_at_side_minus_one() -> None:
    corner = Point(2000, 500, FRAME)
    assert rendered(POINT, corner, QWEN2_5, RECORD) == '{"point_2d": [1007, 251]}'
    assert rendered(POINT, corner, QWEN3, RECORD) == '{"point_2d": [1000, 1000]}'


@pytest.mark.parametrize(
    "text",
    [
        '{"point_2d": [250, 400]}',
        ' \n{"point_2d":[250,400]}\n',
        '[{"point_2d": [250, 400]}]',
        '[{"point_2d": [250, 400], "label": "save"}]',
        '```json\n{"point_2d": [250, 400]}\n```',
        '```\n[{"point_2d": [250, 400]}]```',
        '{"point_2d": [250.0, 4.0e2]}',
    ],
)
def test_accepted_json(text: str) -> None:
    assert parsed(text) == Point(500, 200, FRAME)


def test_decimals_are_not_rounded() -> None:
    assert parsed('{"point_2d": [250.5, 400.25]}') == Point(501, 200.125, FRAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "the button is at 250, 400",
        "[250, 400]",
        "250, 400",
        'The answer is {"point_2d": [250, 400]}',
        '{"point_2d": [250, 400]} as asked',
        '```json\n{"point_2d": [250, 400]}\n``` done',
        '```json\n{"point_2d": [250, 400]}\n```\n```json\n{"point_2d": [250, 400]}\n```',
        "```json\n```",
        '{"point_2d": [250, 400]}{"point_2d": [250, 400]}',
        '{"point_2d": [250, 400]}\n{"point_2d": [0, 0]}',
        '[{"point_2d": [250, 400]}, {"point_2d": [0, 0]}]',
        '[[{"point_2d": [250, 400]}]]',
        "[]",
        "{}",
        "null",
        "7",
        '{"point_2d": [250, 400], "point_2d": [0, 0]}',
        '{"point_2d": [250, 400], "confidence": 1}',
        '{"bbox_2d": [200, 200, 300, 600]}',
        '{"point_2d": [250, 400], "bbox_2d": [200, 200, 300, 600]}',
        '{"POINT_2D": [250, 400]}',
        '{"point_2d": [250]}',
        '{"point_2d": [250, 400, 1]}',
        '{"point_2d": [200, 200, 300, 600]}',
        '{"point_2d": [[250, 400]]}',
        '{"point_2d": {"x": 250, "y": 400}}',
        '{"point_2d": [true, false]}',
        '{"point_2d": ["250", "400"]}',
        '{"point_2d": "250, 400"}',
        '{"point_2d": [null, 400]}',
        '{"point_2d": [NaN, 400]}',
        '{"point_2d": [Infinity, 400]}',
        '{"point_2d": [-Infinity, 400]}',
        '{"point_2d": [1e309, 400]}',
        '{"point_2d": [-1e309, 400]}',
        '{"point_2d": [' + "9" * 400 + ", 400]}",
        '{"point_2d": [' + "9" * 5000 + ", 400]}",
        '{"point_2d": [-1, 400]}',
        '{"point_2d": [1000.01, 400]}',
        '{"point_2d": [250, 1001]}',
        "{'point_2d': [250, 400]}",
        "__import__('os').getcwd()",
        "[" * 100_000,
        '{"point_2d": ' * 100_000,
        "<|box_start|>(250,400)<|box_end|>",
        '<think></think><answer>{"point_2d": [250, 400]}</answer>',
    ],
    ids=lambda text: text[:40],
)
def test_refused_json(text: str) -> None:
    assert isinstance(parsed(text), Unparsed)


def test_the_edges_of_the_picture_are_on_it() -> None:
    assert parsed('{"point_2d": [0, 0]}') == Point(0, 0, FRAME)
    assert parsed('{"point_2d": [1000, 1000]}') == Point(2000, 500, FRAME)
    assert parsed('{"point_2d": [1008, 252]}', convention=QWEN2_5) == Point(2000, 500, FRAME)
    assert isinstance(parsed('{"point_2d": [1009, 252]}', convention=QWEN2_5), Unparsed)


def test_boxes() -> None:
    assert parsed('{"bbox_2d": [200, 200, 300, 600]}', BOX) == Box(400, 100, 600, 300, FRAME)
    assert parsed('{"bbox_2d": [200, 200, 200, 200]}', BOX) == Box(400, 100, 400, 100, FRAME)
    swapped = parsed('{"bbox_2d": [300, 200, 200, 600]}', BOX)
    assert isinstance(swapped, Unparsed)
    assert "swapped" in swapped.reason
    assert isinstance(parsed('{"point_2d": [250, 400]}', BOX), Unparsed)


@pytest.mark.parametrize(
    "text",
    [
        "<|box_start|>(250,400)<|box_end|>",
        "<|box_start|>( 250 , 400 )<|box_end|>",
        "<|object_ref_start|>the save button<|object_ref_end|><|box_start|>(250,400)<|box_end|>",
    ],
)
def test_accepted_box_tokens(text: str) -> None:
    assert parsed(text, convention=QWEN2) == Point(500, 200, FRAME)


@pytest.mark.parametrize(
    "text",
    [
        "(250,400)",
        "<|box_start|>(250,400)",
        "<|box_start|>(250,400),(300,600)<|box_end|>",
        "<|box_start|>(250,400)<|box_end|><|box_start|>(0,0)<|box_end|>",
        "<|box_start|>(250,400)<|box_end|> there",
        "<|box_start|>(250,1001)<|box_end|>",
        "<|box_start|>(-1,400)<|box_end|>",
        "<|box_start|>(nan,400)<|box_end|>",
        "<|box_start|>(1e2,400)<|box_end|>",
        "<|box_start|>(٢٥٠,400)<|box_end|>",
        "<|box_start|>(" + "9" * 5000 + ",400)<|box_end|>",
        '{"point_2d": [250, 400]}',
    ],
    ids=lambda text: text[:40],
)
def test_refused_box_tokens(text: str) -> None:
    assert isinstance(parsed(text, convention=QWEN2), Unparsed)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("[[250, 400]]", POINT),
        ("<ref>save</ref>[[250,400]]", POINT),
        ("<box>[[200, 200, 300, 600]]</box>", BOX),
        ("<ref>the save button</ref> <box>[[200,200,300.0,600]]</box>", BOX),
    ],
)
def test_accepted_internvl_brackets(text: str, answer: CoordinateAnswer) -> None:
    expected = {POINT: Point(500, 200, FRAME), BOX: Box(400, 100, 600, 300, FRAME)}
    assert parsed(text, answer, INTERNVL) == expected[answer]


@pytest.mark.parametrize(
    "text",
    [
        "[250, 400]",
        "[[250, 400], [1, 2]]",
        "<box>[[250, 400]]</box>",
        "[[200, 200, 300, 600]]",
        "<box>[[200, 200, 300, 600], [1, 2, 3, 4]]</box>",
        "<box>[[200, 200, 300, 600]]</box><box>[[1, 2, 3, 4]]</box>",
        "<box>[[300, 200, 200, 600]]</box>",
        "<box>[[200, 200, 300, 1001]]</box>",
    ],
)
@pytest.mark.parametrize("answer", [POINT, BOX])
def test_refused_internvl_brackets(text: str, answer: CoordinateAnswer) -> None:
    assert isinstance(parsed(text, answer, INTERNVL), Unparsed)


GOOD, OTHER = '{"point_2d": [250, 400]}', '{"point_2d": [0, 0]}'


@pytest.mark.parametrize(
    "text",
    [
        f"<think></think><answer>{GOOD}</answer>",
        f"<think>It is on the left.</think>\n<answer>\n{GOOD}\n</answer>\n",
        f"<think>Maybe {OTHER}, or <answer>{OTHER}</answer>?</think><answer>{GOOD}</answer>",
    ],
)
def test_thoughts_are_followed_by_the_answer(text: str) -> None:
    assert parsed(text, mode=PromptMode.THINK) == Point(500, 200, FRAME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD,
        f"<answer>{GOOD}</answer>",
        f"<think>{GOOD}</think>",
        f"<think><answer>{GOOD}</answer></think>",
        f"<think><answer>{GOOD}</answer>",
        f"<think></think>{GOOD}",
        f"<think></think><answer>{GOOD}",
        f"<think></think><answer>{GOOD}</answer> or so",
        f"<think></think>It is <answer>{GOOD}</answer>",
        f"<think></think><answer>{GOOD}</answer><answer>{OTHER}</answer>",
        f"<think></think><answer><answer>{GOOD}</answer></answer>",
        f"<think></think><think></think><answer>{GOOD}</answer>",
        f"So <think></think><answer>{GOOD}</answer>",
        "<think></think><answer></answer>",
    ],
)
def test_refused_thoughts(text: str) -> None:
    assert isinstance(parsed(text, mode=PromptMode.THINK), Unparsed)


@pytest.mark.parametrize("answer", [POINT, BOX])
@pytest.mark.parametrize("convention", CONVENTIONS)
@given(
    text=st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["point_2d", "bbox_2d", "label"]), inner),
    ).map(json.dumps)
)
def test_any_text_gives_an_answer_on_the_picture_or_a_reason(
    answer: CoordinateAnswer, convention: Convention, text: str
) -> None:
    value = parsed(text, answer, convention)
    assert isinstance(value, Unparsed) or value.in_image


@pytest.mark.parametrize("text", ["```\n" + " " * 50_000 + "x", "```" * 50_000, "<|box_start|>(" + " " * 50_000])
def test_parsing_takes_linear_time(text: str) -> None:
    start = time.perf_counter()
    for convention in CONVENTIONS:
        assert isinstance(parsed(text, convention=convention), Unparsed)
    assert time.perf_counter() - start < 1.0


def test_requests_show_the_format() -> None:
    assert POINT.request(row(Point(0, 0, FRAME)), QWEN3) == 'Answer with JSON only: {"point_2d": [x, y]}'
    assert BOX.request(row(Point(0, 0, FRAME)), QWEN2_5) == 'Answer with JSON only: {"bbox_2d": [x1, y1, x2, y2]}'
    assert BOX.request(row(Point(0, 0, FRAME)), QWEN2) == "Answer only with <|box_start|>(x1,y1),(x2,y2)<|box_end|>"
