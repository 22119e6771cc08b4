"""Letters, numbers and texts: the documented result of every kind of completion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.choice import CHOICE, listed_options
from vlmrl.answers.convention import Convention
from vlmrl.answers.text import LONGEST, NUMBER_ANSWER, TEXT, as_number
from vlmrl.geometry import Unit
from vlmrl.types import Answer, Choice, Sample, Text, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
OPTIONS = ("a dog", "a cat", "no animal")


def sample(gold: Answer) -> Sample:
    return Sample("s", (), (), f"which?\n{listed_options(OPTIONS)}", gold, extra={"options": OPTIONS})


@pytest.mark.parametrize("text", ["B", "b", "B.", "(B)", "(b)"])
def test_one_letter_is_a_choice(text: str) -> None:
    assert CHOICE.read(text, sample(Choice("A")), QWEN3) == Choice("B")


@pytest.mark.parametrize(
    "text",
    [
        "D",
        "AB",
        "A, B",
        "A or B",
        "B. a cat",
        "a cat",
        "B because",
        "(B",
        "B)",
        "1",
        "",
        "Б",
        "\uff22",
        "*B*",
        "A\nB",
        "ABC",
    ],
)
def test_anything_else_is_no_choice(text: str) -> None:
    assert isinstance(CHOICE.read(text, sample(Choice("A")), QWEN3), Unparsed)


def test_a_sentence_that_begins_with_a_is_no_choice() -> None:
    assert isinstance(CHOICE.read("a person walks", sample(Choice("A")), QWEN3), Unparsed)


def test_choices_are_asked_for_and_written_by_their_letters() -> None:
    row = sample(Choice("C"))
    assert CHOICE.request(row, QWEN3) == "Answer with the letter only: A, B or C"
    assert CHOICE.read(CHOICE.render(row, QWEN3), row, QWEN3) == row.gold
    assert listed_options(OPTIONS) == "A. a dog\nB. a cat\nC. no animal"


@pytest.mark.parametrize("gold", "ABC")
def test_attacks_on_choices(gold: str) -> None:
    row = sample(Choice(gold))
    for attack in CHOICE.attacks(row, QWEN3):
        assert isinstance(CHOICE.read(attack.text, row, QWEN3), Unparsed) != attack.guess


@pytest.mark.parametrize(
    ("text", "number"),
    [("3", 3), ("-3.5", -3.5), ("+2", 2), ("1,250", 1250), ("1,250,000.5", 1250000.5), ("0", 0), ("007", 7)],
)
def test_numbers(text: str, number: float) -> None:
    assert as_number(text) == number
    assert NUMBER_ANSWER.read(text, sample(Text("3")), QWEN3) == Text(text)


@pytest.mark.parametrize(
    "text",
    [
        "three",
        "3 dogs",
        "3 or 4",
        "1,2",
        "12,50",
        "1e5",
        "0x10",
        "NaN",
        "inf",
        "3.",
        ".5",
        "1" * 13,
        "\u22123",
        "\uff13",
        "3%",
        "",
    ],
)
def test_anything_else_is_no_number(text: str) -> None:
    assert as_number(text) is None
    assert isinstance(NUMBER_ANSWER.read(text, sample(Text("3")), QWEN3), Unparsed)


def test_attacks_on_numbers() -> None:
    row = sample(Text("3"))
    for attack in NUMBER_ANSWER.attacks(row, QWEN3):
        assert isinstance(NUMBER_ANSWER.read(attack.text, row, QWEN3), Unparsed) != attack.guess


@pytest.mark.parametrize(
    "text", ["x" * (LONGEST + 1), "<think>a dog</think>", "<answer>a dog</answer>", "a </think> dog"]
)
def test_texts_that_are_refused(text: str) -> None:
    assert isinstance(TEXT.read(text, sample(Text("a dog")), QWEN3), Unparsed)


@given(st.text(min_size=1, max_size=LONGEST).filter(lambda text: "<" not in text))
def test_other_texts_are_kept_as_they_are(text: str) -> None:
    assert TEXT.read(text, sample(Text("a dog")), QWEN3) == Text(text)
