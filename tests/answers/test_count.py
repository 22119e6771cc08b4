"""Counts in digits and words, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.answers.convention import Convention
from vlmrl.answers.count import COUNT, as_count
from vlmrl.geometry import Unit
from vlmrl.types import Sample, Text, Unparsed

ANY = Convention(Unit.NORM1000, "json")
ROW = Sample("row", (), (), "How many?", Text("7"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("3", 3), ("0", 0), ("12.", 12), ("007", 7), ("999999", 999_999),
        ("three", 3), ("Zero", 0), ("TWELVE.", 12), ("twenty", 20), ("twenty-one", 21), ("ninety nine", 99),
    ],
)  # fmt: skip
def test_counts(text: str, count: int) -> None:
    assert as_count(text) == count
    assert COUNT.read(text, ROW, ANY) == Text(str(count))


@pytest.mark.parametrize(
    "text",
    [
        "3.5", "-3", "+3", "1e3", "1,200", "1000000", "NaN", "3 tiles", "There are 3.", "3 or 4", "3-4", "3..",
        "between three and five", "twenty-eleven", "twenty-", "a dozen", "³", "٣",
    ],
)  # fmt: skip
def test_what_is_no_count(text: str) -> None:
    assert isinstance(COUNT.read(text, ROW, ANY), Unparsed)


@given(st.integers(0, 999_999))
def test_digits_read_back(count: int) -> None:
    assert as_count(str(count)) == count


@given(st.text(max_size=20))
def test_any_text_is_read(text: str) -> None:
    count = as_count(text)
    assert count is None or 0 <= count < 1_000_000


def test_gold_is_written_in_digits_and_attacks_that_are_no_guesses_are_unparsed() -> None:
    assert COUNT.render(ROW, ANY) == "7"
    for attack in COUNT.attacks(ROW, ANY):
        assert isinstance(COUNT.read(attack.text, ROW, ANY), Text if attack.guess else Unparsed), attack.name
