"""Code answers: one fenced block and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.code import CODE, MAX_BYTES, fenced, trimmed, unusable
from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.types import Code, Sample, Unparsed

CONVENTIONS = [
    Convention(Unit.NORM1000, "json"),
    Convention(Unit.MODEL, "json"),
    Convention(Unit.NORM1000, "qwen2_box_tokens"),
    Convention(Unit.NORM1000, "internvl_brackets"),
]
SOURCE = "import matplotlib.pyplot as plt\n\nplt.plot([1, 2])"


def row(source: str = SOURCE) -> Sample:
    return Sample("row", (), (), "draw it", Code(source))


def read(text: str) -> Code | Unparsed:
    return CODE.read(text, row(), CONVENTIONS[0])


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_gold_is_read_back_exactly(convention: Convention) -> None:
    assert CODE.read(CODE.render(row(), convention), row(), convention) == Code(SOURCE)


@given(st.text(max_size=200))
def test_every_usable_script_is_read_back_exactly(text: str) -> None:
    source = trimmed(text)
    assert trimmed(source) == source
    answer = read(fenced(source))
    assert isinstance(answer, Unparsed) if unusable(source) else answer == Code(source)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_unparsed(text: str) -> None:
    assert isinstance(read(text), Code | Unparsed)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOURCE, "begins with"),
        (f"```\n{SOURCE}\n```", "begins with"),
        (f"```json\n{SOURCE}\n```", "begins with"),
        (f"```python {SOURCE}```", "begins with"),
        (f"Here:\n{fenced(SOURCE)}", "begins with"),
        (f"{fenced(SOURCE)}\nDone.", "one block"),
        (f"{fenced(SOURCE)}\n{fenced(SOURCE)}", "one block"),
        (f"```python\n{SOURCE}", "one block"),
        (fenced('s = """\n```\n"""'), "one block"),
        (fenced(""), "empty"),
        (fenced(" \n\t"), "empty"),
        (fenced("x = 1\0"), "null"),
        (fenced("x = '\ud800'"), "Unicode"),
        (fenced("#" * (MAX_BYTES + 1)), "bytes"),
        (fenced("é" * (MAX_BYTES // 2 + 1)), "bytes"),
    ],
    ids=lambda text: text[:25],
)
def test_what_is_no_answer(text: str, reason: str) -> None:
    answer = read(text)
    assert isinstance(answer, Unparsed)
    assert reason in answer.reason


def test_the_longest_answer() -> None:
    assert read(fenced("#" * MAX_BYTES)) == Code("#" * MAX_BYTES)


def test_code_is_not_looked_into() -> None:
    assert read(fenced("this is not python (")) == Code("this is not python (")


def test_indentation_and_line_ends_stay() -> None:
    assert read("```python\r\n\n  x = 1\r\n\ty\n\n```") == Code("  x = 1\r\n\ty")


def test_attacks_on_the_block_are_unparsed() -> None:
    for attack in CODE.attacks(row(), CONVENTIONS[0]):
        assert isinstance(read(attack.text), Unparsed), attack.name
