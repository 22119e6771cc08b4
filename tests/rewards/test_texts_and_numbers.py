"""Golden numbers are worked out from the formulas in the docstrings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.rewards.numbers import equal_to_cents, mean_relative_accuracy, relative_agreement
from vlmrl.rewards.texts import rouge_mean, word_accuracy


@pytest.mark.parametrize(
    ("answer", "target", "equal", "agreement", "mra"),
    [
        (10, 10, 1, 1.0, 1.0),
        (8, 10, 0, 0.8, 0.6),  # an error of a fifth is not below the threshold of a fifth
        (10.004, 10, 1, 0.9996, 1.0),
        (30, 10, 0, 0.0, 0.0),
        (-10, 10, 0, 0.0, 0.0),
        (0, 0, 1, 1.0, 1.0),
        (1, 0, 0, 0.0, 0.0),
    ],
)
def test_numbers(answer: float, target: float, equal: float, agreement: float, mra: float) -> None:
    assert equal_to_cents(answer, target) == equal
    assert relative_agreement(answer, target) == pytest.approx(agreement)
    assert mean_relative_accuracy(answer, target) == pytest.approx(mra)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_scores_of_numbers_are_bounded_and_the_target_earns_everything(answer: float, target: float) -> None:
    for score in (equal_to_cents, relative_agreement, mean_relative_accuracy):
        assert 0 <= score(answer, target) <= 1
        assert score(target, target) == 1


@pytest.mark.parametrize(
    ("answer", "target", "score"),
    [
        ("a red ball", "a red ball", 1.0),
        ("A RED BALL.", "a red ball", 1.0),
        ("dog", "dog", 1.0),
        ("dog", "cat", 0.0),
        # one word of two in common on both sides, no pair
        ("red ball", "blue ball", (1 / 2 + 0 + 1 / 2) / 3),
        # 3 of 3 words found among 6: F1 = 6/9; pairs 2 of 2 among 5: 4/7; longest common 3: 6/9
        ("a red ball a red ball", "a red ball", (6 / 9 + 4 / 7 + 6 / 9) / 3),
        # all words, none in order: pairs 0, longest common subsequence 1 of 3
        ("ball red a", "a red ball", (1 + 0 + 1 / 3) / 3),
        ("...", "a red ball", 0.0),
        ("мяч красный", "мяч красный", 1.0),
    ],
)
def test_rouge(answer: str, target: str, score: float) -> None:
    assert rouge_mean(answer, target) == pytest.approx(score)


@pytest.mark.parametrize(
    ("answer", "target", "score"),
    [
        ("exit only", "exit only", 1.0),
        ("Exit only", "exit only", 0.5),
        ("exit", "exit only", 0.5),
        ("the exit only", "exit only", 0.5),
        ("only exit", "exit only", 0.0),
        ("a b c d e f", "exit only", 0.0),  # more errors than words
        ("a x c d", "a b c d", 0.75),
    ],
)
def test_word_accuracy(answer: str, target: str, score: float) -> None:
    assert word_accuracy(answer, target) == pytest.approx(score)


texts = st.lists(st.sampled_from(["red", "ball", "a", "exit"]), min_size=1, max_size=8).map(" ".join)


@given(texts, texts)
def test_scores_of_texts_are_bounded_and_the_target_earns_everything(answer: str, target: str) -> None:
    for score in (rouge_mean, word_accuracy):
        assert 0 <= score(answer, target) <= 1
        assert score(target, target) == 1


def test_a_target_without_words_is_an_error() -> None:
    for score in (rouge_mean, word_accuracy):
        with pytest.raises(ValueError, match="no words"):
            score("a", " ")
