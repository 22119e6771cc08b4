"""Official figures of the temporal grounding benchmarks, and what evaluations of them get wrong."""

import shutil
from pathlib import Path

import pytest

from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.evaluation.statistics import mean_interval
from vlmrl.geometry import Clip, Span
from vlmrl.registry import find_task
from vlmrl.task import metric_values
from vlmrl.types import Answer, Finish, Group, Prompt, Rollout, Sample, Spans, Unparsed

FOLDER = find_task("video_temporal")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
CLIP = Clip(0, 150.0)
NONE = Unparsed("no answer")
Windows = list[tuple[float, float]]

QUERIES: list[tuple[Windows, Windows]] = [
    ([(3, 33), (56, 64)], [(59, 64)]),
    ([(7, 47), (71, 83)], [(69, 82)]),
    ([(9, 29)], [(60, 83)]),
    ([(6, 46), (73, 83)], [(7, 46), (74, 83), (64, 80)]),
    ([(8, 20)], [(85, 111), (20, 46)]),
    ([(8, 20), (44, 64)], [(42, 66), (9, 19)]),
    ([(4, 44)], [(75, 89), (2, 46), (70, 82)]),
    ([(0, 4)], [(0, 4), (37, 60)]),
    ([(100, 130)], [*((i, i + 5) for i in range(10)), (100, 130)]),  # right, but after the tenth window
]
"""Made-up targets and answers."""
OFFICIAL = {
    "map": 39.44, "map_50": 50.00, "map_75": 44.44, "map_short": 58.33, "map_middle": 21.67, "map_long": 48.33,
    "correct": 55.56, "r1_at_07": 44.44,
}  # fmt: skip
"""What standalone_eval/eval.py of jayleicn/moment_detr prints for them, with falling confidences."""


def spans(windows: Windows, clip: Clip = CLIP) -> Spans:
    return Spans(tuple(Span(start, end, clip) for start, end in windows))


def row(targets: Windows, clip: Clip = CLIP) -> Sample:
    return Sample(
        "q", (), (), "when?", spans(targets, clip), tags={"kind": "spans"}, clips=(clip,), extra={"kind": "spans"}
    )


def metrics(sample: Sample, answer: Answer | Unparsed) -> dict[str, float]:
    return metric_values(FOLDER.create({}), sample, Rollout([], [], 0.0, "", Finish.STOP, answer))


def test_qvhighlights_figures_are_the_official_ones() -> None:
    rows = [(row(targets), spans(answer)) for targets, answer in QUERIES]
    figures = BENCHMARKS["qvhighlights"].figures(rows)
    found = {name: 100 * figure.value for name, figure in figures.items()}
    for name in ("correct", "r1_at_07"):
        found[name] = 100 * sum(metrics(*one)[name] for one in rows) / len(rows)
    assert found == pytest.approx(OFFICIAL, abs=0.005)
    assert [figures[f"map_{name}"].n for name in ("short", "middle", "long")] == [3, 6, 3]


def test_the_card_is_about_map_with_an_interval_over_queries() -> None:
    benchmark, task = BENCHMARKS["qvhighlights"], FOLDER.create({})
    evaluated = []
    for targets, answer in [*QUERIES, ([(0, 10)], None)]:
        rollout = Rollout([], [], 0.0, "", Finish.STOP, spans(answer) if answer else NONE)
        sample = row(targets)
        group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
        evaluated.append(Evaluated(group, metric_values(task, sample, rollout)))
    card = score_card(task, evaluated, benchmark.cells, benchmark.metric, benchmark.figures)
    assert (card.metric, card.n, card.unparsed) == ("map", 10, 1)
    assert card.score == pytest.approx(0.3944 * 9 / 10, abs=5e-5)  # the unparsed answer scores 0 and stays in
    precisions = [benchmark.figures([(item.group.sample, item.answer)])["map"].value for item in evaluated]
    assert (card.low, card.high) == mean_interval(precisions)
    assert card.metrics["map_short"].n == 4


def test_a_query_without_a_window_of_a_length_is_not_in_its_figure() -> None:
    figures = BENCHMARKS["qvhighlights"].figures([(row([(0, 10)]), NONE)])
    assert {name: (figure.value, figure.n) for name, figure in figures.items()} == {
        "map": (0, 1), "map_50": (0, 1), "map_75": (0, 1), "map_short": (0, 1),
    }  # fmt: skip


def test_pitfall_the_threshold_itself_is_reached() -> None:
    """Integer times make an IoU of exactly 0.5 common; a strict comparison drops it."""
    found = metrics(row([(10, 20)]), spans([(10, 15)]))
    assert (found["correct"], found["r1_at_03"], found["r1_at_07"]) == (1, 1, 0)
    assert BENCHMARKS["qvhighlights"].figures([(row([(10, 20)]), spans([(10, 15)]))])["map_50"].value == 1


def test_pitfall_one_window_of_several_is_compared_with_the_target_that_it_fits_best() -> None:
    targets: Windows = [(0, 10), (50, 60)]
    assert metrics(row(targets), spans([(50, 60)]))["correct"] == 1
    assert metrics(row(targets), spans([(80, 90), (50, 60)]))["correct"] == 0  # the first one named


def test_pitfall_a_window_that_ends_after_its_clip_is_compared_as_it_is() -> None:
    clip = Clip(0, 30.0)
    assert metrics(row([(24, 31.5)], clip), spans([(24, 31.5)], clip))["miou"] == 1
    assert metrics(row([(24, 31.5)], clip), spans([(24, 30)], clip))["miou"] == pytest.approx(6 / 7.5)


def test_pitfall_repeated_queries_are_scored_as_often_as_they_occur(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "videos", tmp_path / "videos")
    line = "3DEMO 2.0 5.0##a red ball is shown.\n"
    (tmp_path / "charades_sta_test.txt").write_text(line * 3)
    assert len({sample.id for sample in BENCHMARKS["charades-sta"].load(tmp_path)}) == 3


def test_a_query_id_that_comes_twice_is_named(tmp_path: Path) -> None:
    """The official script keeps one of the two answers."""
    shutil.copytree(SAMPLES / "videos", tmp_path / "videos")
    line = (SAMPLES / "qvhighlights" / "highlight_val_release.jsonl").read_text()
    (tmp_path / "highlight_val_release.jsonl").write_text(line * 2)
    with pytest.raises(UserError, match="the id '1' is given to several rows"):
        BENCHMARKS["qvhighlights"].load(tmp_path)


def test_pitfall_a_row_without_its_video_is_no_row_less(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_test.txt").write_text("GONE 2.0 5.0##a red ball is shown.\n")
    with pytest.raises(UserError, match=r"charades_sta_test\.txt line 1: video 'GONE' not found"):
        BENCHMARKS["charades-sta"].load(tmp_path)


def test_pitfall_a_reversed_window_is_named(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "videos", tmp_path / "videos")
    (tmp_path / "charades_sta_test.txt").write_text("3DEMO 5.0 2.0##a red ball is shown.\n")
    with pytest.raises(UserError, match=r"line 1: the span 5\.\.2 s ends before it starts"):
        BENCHMARKS["charades-sta"].load(tmp_path)


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=BENCHMARKS)
def test_published_figures_have_a_source_and_the_name_of_a_metric(benchmark) -> None:
    known = {*FOLDER.task_class.metrics(), *(["map"] if benchmark.figures else [])}
    assert benchmark.metric in known
    assert all(anchor.metric in known and anchor.source and 0 < anchor.score < 1 for anchor in benchmark.anchors)
