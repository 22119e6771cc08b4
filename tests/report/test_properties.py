"""What holds for any text and any run: nothing is read as markup, and a page keeps to its budget."""

from html.parser import HTMLParser
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vlmrl.geometry import Clip, Span
from vlmrl.report.logged import LoggedVideo
from vlmrl.report.markup import UNPRINTABLE, element
from vlmrl.report.overlay import Target
from vlmrl.report.sampling import cut, spread, within_budget
from vlmrl.report.timeline import kind_of, timeline
from vlmrl.types import Choice, Spans


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text())
def test_any_text_is_shown_as_it_is_and_never_read_as_markup(text: str) -> None:
    reader = Reader()
    reader.feed(element("p", text, title=text))
    reader.close()
    shown = UNPRINTABLE.sub("\ufffd", text)
    assert reader.tags == [("p", [("title", shown)])]
    assert reader.text == shown


@given(st.lists(st.integers(0, 100)), st.integers(1, 50), st.integers(0, 500))
def test_a_choice_is_in_order_and_within_the_budget_if_one_item_is(items: list[int], limit: int, budget: int) -> None:
    chosen = within_budget(items, limit, budget, sum)
    assert len(chosen) <= limit
    assert bool(chosen) == bool(items)
    assert sum(chosen) <= budget or len(chosen) == 1
    rest = iter(items)
    assert all(any(item == other for other in rest) for item in chosen)


@given(st.integers(1, 60), st.integers(2, 30))
def test_a_spread_reaches_both_ends_evenly(count: int, limit: int) -> None:
    chosen = spread(range(count), limit)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1
    gaps = {b - a for a, b in pairwise(chosen)}
    assert len(gaps) <= 1 or max(gaps) - min(gaps) == 1


@given(st.text(), st.integers(1, 20))
def test_a_cut_text_begins_as_the_whole_one(text: str, limit: int) -> None:
    assert cut(text, limit).startswith(text[:limit])


@given(st.floats(0.1, 1e4), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1.2)), max_size=5))
def test_any_spans_lie_inside_the_drawing(duration: float, ends: list[tuple[float, float]]) -> None:
    clip = Clip(0, duration)
    gold = Spans(tuple(Span(min(pair) * duration, max(pair) * duration, clip) for pair in ends))
    reader = Reader()
    reader.feed(timeline(LoggedVideo(clip), None, Target(gold), [], numbered=True))
    bands = [dict(attrs) for tag, attrs in reader.tags if tag == "rect"]
    assert len(bands) == len(ends)
    for band in bands:
        left, width = float(band["x"] or 0), float(band["width"] or 0)
        assert 22 <= left
        assert left + width <= 480.01 + 2
    assert kind_of(gold, gold) == ("hit" if all(span.length > 0 for span in gold.items) and ends else "miss")


def test_an_answer_of_another_kind_has_no_spans() -> None:
    clip = Clip(0, 5.0)
    drawn = timeline(LoggedVideo(clip), None, Target(Choice("A")), [], numbered=True)
    assert "gold-band" not in drawn
