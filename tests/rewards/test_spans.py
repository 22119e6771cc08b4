"""Golden numbers are worked out from the formulas: the target is 10..20 s of 60 s unless stated."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Clip, FrameError, Span
from vlmrl.rewards.spans import average_precisions, best_tiou, distance_tiou, matched_tiou, set_iou

CLIP = Clip(0, 60.0)


def span(start: float, end: float, clip: Clip = CLIP) -> Span:
    return Span(start, end, clip)


TARGET = span(10, 20)


@pytest.mark.parametrize(
    ("start", "end", "tiou", "distance"),
    [
        (10, 20, 1.0, 1.0),
        (12, 18, 0.6, 0.6 * (58 / 60) ** 2),
        (15, 30, 0.25, 0.25 * (55 / 60) * (50 / 60)),
        (25, 30, 0.0, 0.0),
        (0, 60, 1 / 6, 1 / 6 * (50 / 60) * (20 / 60)),
        (10, 10, 0.0, 0.0),
    ],
)
def test_time_r1(start: float, end: float, tiou: float, distance: float) -> None:
    answer = span(start, end)
    assert answer.tiou(TARGET) == pytest.approx(tiou)
    assert distance_tiou(answer, TARGET) == pytest.approx(distance)


def test_time_r1s_factors_stop_at_zero() -> None:
    clip = Clip(0, 1.0)
    assert distance_tiou(span(0, 2.9, clip), span(0, 1, clip)) == 0.0  # 1 - 1.9 would be negative


@pytest.mark.parametrize(
    ("answers", "targets", "matched", "both"),
    [
        ([(5, 10), (20, 25)], [(5, 10), (20, 25)], 1.0, 1.0),
        ([(0, 10), (20, 30)], [(5, 10), (20, 25)], 0.5, 0.5),
        ([(5, 10)], [(5, 10), (20, 25)], 0.5, 0.5),
        ([(5, 10), (20, 25), (40, 50)], [(5, 10), (20, 25)], 2 / 3, 0.5),
        ([(10, 20), (10, 19), (11, 20)], [(10, 20)], 1 / 3, 1.0),  # one target is paid once
        ([(0, 6), (4, 10)], [(4, 9), (0, 5)], (5 / 6 + 5 / 6) / 2, 0.9),  # crossed order
        ([(40, 50)], [(5, 10)], 0.0, 0.0),
        ([(7, 7)], [(5, 10)], 0.0, 0.0),
    ],
)
def test_several_spans(
    answers: list[tuple[float, float]], targets: list[tuple[float, float]], matched: float, both: float
) -> None:
    given_spans, wanted = ([span(*times) for times in side] for side in (answers, targets))
    assert matched_tiou(given_spans, wanted) == pytest.approx(matched)
    assert set_iou(given_spans, wanted) == pytest.approx(both)


def test_the_first_window_is_compared_with_the_best_target() -> None:
    assert best_tiou(span(20, 30), [TARGET, span(20, 25)]) == 0.5


def test_nothing_to_compare_with() -> None:
    assert matched_tiou([], [TARGET]) == 0.0
    assert set_iou([span(3, 3)], [span(3, 3)]) == 0.0
    with pytest.raises(ValueError, match="at least one target"):
        matched_tiou([TARGET], [])


def test_spans_of_two_clips_are_not_compared() -> None:
    other = span(10, 20, Clip(1, 60.0))
    for score in (distance_tiou, Span.tiou):
        with pytest.raises(FrameError):
            score(other, TARGET)
    for score in (matched_tiou, set_iou):
        with pytest.raises(FrameError):
            score([other], [TARGET])


times = st.tuples(st.floats(0, 60), st.floats(0, 60)).map(sorted).map(tuple)
several = st.lists(times, min_size=1, max_size=5, unique=True)


def spans(of: list[tuple[float, float]], scale: float = 1.0) -> list[Span]:
    clip = Clip(0, 60.0 * scale)
    return [span(start * scale, end * scale, clip) for start, end in of]


@given(several, several, st.randoms())
def test_scores_are_bounded_and_do_not_depend_on_the_order(answers, targets, rng) -> None:
    shuffled = rng.sample(answers, len(answers))
    for score in (matched_tiou, set_iou):
        value = score(spans(answers), spans(targets))
        assert 0 <= value <= 1
        assert score(spans(shuffled), spans(targets)) == pytest.approx(value)


@given(several, several, st.floats(0.1, 50))
def test_scores_do_not_depend_on_the_clips_length(answers, targets, scale: float) -> None:
    for score in (matched_tiou, set_iou):
        assert score(spans(answers, scale), spans(targets, scale)) == pytest.approx(
            score(spans(answers), spans(targets)), abs=1e-6
        )
    one, other = spans(answers)[0], spans(targets)[0]
    wide, wide_other = spans(answers, scale)[0], spans(targets, scale)[0]
    assert distance_tiou(wide, wide_other) == pytest.approx(distance_tiou(one, other), abs=1e-6)


@given(several.filter(lambda items: all(end - start > 1e-3 for start, end in items)))
def test_the_target_itself_earns_everything(targets) -> None:
    assert matched_tiou(spans(targets), spans(targets)) == pytest.approx(1)
    assert set_iou(spans(targets), spans(targets)) == pytest.approx(1)
    assert distance_tiou(spans(targets)[0], spans(targets)[0]) == 1.0


@given(several, several)
def test_no_other_matching_is_better(answers, targets) -> None:
    given_spans, wanted = spans(answers), spans(targets)
    short, long = sorted((given_spans, wanted), key=len)
    best = max(
        sum(a.tiou(b) for a, b in zip(short, chosen, strict=True))
        for chosen in itertools.permutations(long, len(short))
    )
    assert matched_tiou(given_spans, wanted) == pytest.approx(best / len(long))


@given(several, several.filter(bool), times)
def test_a_span_too_many_never_pays(answers, targets, extra) -> None:
    with_gold = spans([*targets, extra]) if extra not in targets else spans(targets)
    assert matched_tiou(with_gold, spans(targets)) <= matched_tiou(spans(targets), spans(targets)) + 1e-9


@given(st.floats(0, 9), st.floats(0, 9))
def test_a_span_that_comes_nearer_earns_no_less(a: float, b: float) -> None:
    near, far = sorted((a, b))
    for score in (Span.tiou, distance_tiou):
        assert score(span(10 + near, 20 + near), TARGET) >= score(span(10 + far, 20 + far), TARGET)


@pytest.mark.parametrize(
    ("ranked", "targets", "at_50", "at_75"),
    [
        ([(10, 20)], [(10, 20)], 1, 1),
        ([], [(10, 20)], 0, 0),
        ([(30, 40), (10, 20)], [(10, 20)], 1 / 2, 1 / 2),
        ([(10, 20), (30, 40)], [(10, 20)], 1, 1),  # a miss after every target is found costs nothing
        ([(10, 20), (10, 19), (30, 40)], [(10, 20), (30, 40)], (1 + 2 / 3) / 2, (1 + 2 / 3) / 2),
        ([(0, 5), (10, 20), (30, 40)], [(10, 20), (30, 40)], 2 / 3, 2 / 3),  # the envelope lifts 1/2 to 2/3
        ([(10, 15), (10, 20)], [(10, 20)], 1, 1 / 2),  # a tIoU of exactly 0.5 hits
        ([(10, 20), (12, 22)], [(10, 20), (14, 24)], 1, 1 / 2),  # the second takes the target that is left
    ],
)
def test_average_precision(
    ranked: list[tuple[float, float]], targets: list[tuple[float, float]], at_50: float, at_75: float
) -> None:
    sides = [[span(*times) for times in side] for side in (ranked, targets)]
    assert average_precisions(sides[0], sides[1], (0.5, 0.75)) == pytest.approx([at_50, at_75])


def test_average_precision_needs_a_target() -> None:
    with pytest.raises(ValueError, match="at least one target"):
        average_precisions([TARGET], [], (0.5,))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=6), st.integers(1, 19))
def test_targets_themselves_have_full_precision_in_any_order(ends: list[tuple[int, int]], twentieths: int) -> None:
    targets = list(dict.fromkeys(span(start, start + length + 1) for start, length in ends))
    assert average_precisions(list(reversed(targets)), targets, (twentieths / 20,)) == [1]
