"""Golden values follow from ChartQA's and DocVQA's published rules, worked out by hand."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.rewards.short_answers import SCORERS, anls, exact_match, relaxed_accuracy

TEXTS = st.text(max_size=30)


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("14", "14", 1),
        ("14.7", "14", 1),  # exactly 5%
        ("14.71", "14", 0),
        ("13.3", "14", 1),
        ("-14", "14", 0),
        ("yes", "Yes", 1),
        ("Yes.", "Yes", 0),
        ("green", "green line", 0),
        ("0.05", "5%", 1),
        ("5.2%", "5%", 1),
        ("nan", "14", 0),
        ("inf", "14", 0),
        ("NaN", "nan", 1),
        ("", "14", 0),
        ("[1, 2]", "[1, 2]", 1),
    ],
)
def test_relaxed_accuracy(answer: str, gold: str, score: float) -> None:
    assert relaxed_accuracy(answer, [gold]) == score


def test_pitfall_a_gold_of_zero_needs_its_very_text() -> None:
    assert [relaxed_accuracy(answer, ["0"]) for answer in ("0", "0.0", "0%", "0.001")] == [1, 0, 0, 0]


def test_pitfall_a_percent_sign_divides_by_a_hundred() -> None:
    assert relaxed_accuracy("5%", ["5"]) == relaxed_accuracy("5", ["5%"]) == 0


def test_pitfall_commas_and_units_are_no_part_of_a_number() -> None:
    assert relaxed_accuracy("1,200", ["1200"]) == relaxed_accuracy("$5", ["5"]) == 0
    assert relaxed_accuracy("$5", ["$5"]) == 1


def test_pitfall_years_have_slack() -> None:
    assert relaxed_accuracy("1950", ["2014"]) == 1


@pytest.mark.parametrize(
    ("answer", "accepted", "score"),
    [
        ("1/8/93", ["1/8/93"], 1),
        ("EDWARD  shannon", ["Edward R. Shannon", "Edward Shannon"], 1),
        ("Edward Shanon", ["Edward R. Shannon", "Edward Shannon"], 1 - 1 / 14),
        ("ab", ["ax"], 0.5),  # exactly the threshold stays
        ("abc", ["axy"], 0),
        ("", ["abc"], 0),
        ("a date in 1993", ["1/8/93"], 0),
    ],
)
def test_anls(answer: str, accepted: list[str], score: float) -> None:
    assert anls(answer, accepted) == pytest.approx(score)


def test_pitfall_spaces_do_not_lengthen_an_answer() -> None:
    """Measured before spaces are folded, the length would make this 1 - 3 / 502."""
    assert anls(f"~{' ' * 500}~", ["rates"]) == 0


@pytest.mark.parametrize(
    ("answer", "score"), [("Café  au lait", 1), ("cafe\u0301 au lait", 1), ("cafe", 0), ("a café au lait", 0)]
)
def test_exact_match(answer: str, score: float) -> None:
    assert exact_match(answer, ["tea", "café au lait"]) == score


@pytest.mark.parametrize("scorer", SCORERS.values(), ids=SCORERS)
def test_nothing_to_compare_with_is_an_error(scorer: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="at least one accepted answer"):
        scorer("14", [])


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=4))
def test_scores_are_in_bounds_and_every_accepted_answer_is_right(answer: str, accepted: list[str]) -> None:
    for scorer in SCORERS.values():
        assert 0 <= scorer(answer, accepted) <= 1
        assert all(scorer(text, accepted) == 1 for text in accepted)
        assert scorer(answer, [*accepted, "another"]) >= scorer(answer, accepted)
