"""Agreement of texts: figures computed by hand, and what must hold for any two texts."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.rewards.texts import edit_similarity, same_text, text_agreement, word_f1

texts = st.text(max_size=20)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("red hat", "Red  HAT", 1.0),
        ("red hat", "red", 2 / 3),
        ("the the the", "the", 0.5),  # 2 * 1 / (3 + 1): a repeated word pays once
        ("a b c d", "a b x y", 0.5),
        ("shoes", "hats", 0.0),
        ("e", "shoes", 0.0),
        ("50%", "50", 1.0),
        ("!!!", "!!!", 1.0),
        ("!!!", "???", 0.0),
        ("", "shoes", 0.0),
    ],
)
def test_word_f1(first: str, second: str, expected: float) -> None:
    assert word_f1(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("kitten", "sitting", 1 - 3 / 7), ("", "abc", 0.0), ("abc", "abc", 1.0), ("flaw", "lawn", 0.5), ("a", "A", 0.0)],
)
def test_edit_similarity(first: str, second: str, expected: float) -> None:
    assert edit_similarity(first, second) == pytest.approx(expected)


def table_of_distances(first: str, second: str) -> int:
    """Levenshtein distance by its definition, a row of the table at a time."""
    row = list(range(len(second) + 1))
    for i, one in enumerate(first, start=1):
        above, row = row, [i]
        for j, other in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (one != other)))
    return row[-1]


@given(st.text(alphabet="abc", max_size=80), st.text(alphabet="abcd", max_size=80))
def test_edit_similarity_counts_the_fewest_edits(first: str, second: str) -> None:
    longer = max(len(first), len(second), 1)
    assert edit_similarity(first, second) == pytest.approx(1 - table_of_distances(first, second) / longer)


def test_texts_of_thousands_of_characters_are_compared_at_once() -> None:
    start = time.perf_counter()
    assert edit_similarity("ab" * 5000, "ba" * 5000) == pytest.approx(1 - 2 / 10_000)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Cx File  Explorer ", "cx file explorer", True),
        ("\uff21\uff22", "ab", True),
        ("-5", "5", False),
        ("", "a", False),
    ],
)
def test_same_text(first: str, second: str, same: bool) -> None:
    assert same_text(first, second) is same


@given(first=texts, second=texts)
def test_what_holds_for_any_two_texts(first: str, second: str) -> None:
    for measure in (word_f1, edit_similarity, text_agreement):
        assert 0 <= measure(first, second) <= 1
        assert measure(first, second) == pytest.approx(measure(second, first))
        assert measure(first, first) == 1
    assert (text_agreement(first, second) == 1) == same_text(first, second)


@pytest.mark.parametrize("other", ["50", "hat red", "red", "red hat red hat", "e", "red hat!"])
def test_only_the_same_text_agrees_in_full(other: str) -> None:
    for text in ("50%", "red hat"):
        assert text_agreement(text, other) < 1
