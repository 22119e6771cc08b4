"""What the official scorers of ScreenSpot and OSWorld-G say of single answers, and traps of their files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard, score_card
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values
from vlmrl.types import Answer, Finish, Group, Prompt, Refusal, Rollout, Sample, Unparsed

FOLDER = find_task("gui_grounding")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
TARGETS = FOLDER.submodule("targets")
THOUSANDTHS = Convention(Unit.NORM1000, "json")
PIXELS = Convention(Unit.MODEL, "json")


def gui(**options: str) -> Task:
    return FOLDER.create(options)


def row(gold: Box | Refusal, record: ImageRecord, **extra: Any) -> Sample:
    return Sample("row", (), (record,), "open the settings", gold, tags={"platform": "web"}, extra=extra)


def box(record: ImageRecord, *corners: float) -> Box:
    return Box(*corners, record.frame(Unit.ORIGINAL))


def answered(text: str, sample: Sample, convention: Convention = THOUSANDTHS, **options: str) -> Answer | Unparsed:
    return gui(**options).parse(text, Finish.STOP, sample, convention)


def hit(text: str, sample: Sample, convention: Convention = THOUSANDTHS, **options: str) -> float:
    task = gui(**options)
    rollout = Rollout([], [], 0.0, text, Finish.STOP, task.parse(text, Finish.STOP, sample, convention))
    return metric_values(task, sample, rollout)["hit"]


def card(rows: list[tuple[Sample, str]], benchmark: str, convention: Convention = THOUSANDTHS) -> ScoreCard:
    task, evaluated = gui(), []
    for sample, text in rows:
        rollout = Rollout([], [], 0.0, text, Finish.STOP, task.parse(text, Finish.STOP, sample, convention))
        group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
        evaluated.append(Evaluated(group, metric_values(task, sample, rollout)))
    about = BENCHMARKS[benchmark]
    return score_card(task, evaluated, about.cells, about.metric, about.figures)


SMALL, LARGE = ImageRecord(0, Size(640, 480), Size(644, 476)), ImageRecord(0, Size(3840, 2160), Size(1932, 1092))


@pytest.mark.parametrize(("x", "right"), [(499, 0), (500, 1), (600, 1), (601, 0)])
@pytest.mark.parametrize("axis", [0, 1])
def test_edges_of_the_target_are_inside(x: int, right: float, axis: int) -> None:
    record = ImageRecord(0, Size(1000, 1000))
    numbers = [550, 550]
    numbers[axis] = x
    assert hit(json.dumps({"point_2d": numbers}), row(box(record, 500, 500, 600, 600), record)) == right


def test_a_target_at_the_left_edge_of_the_picture() -> None:
    sample = row(box(SMALL, 0, 0, 20, 20), SMALL)
    assert hit('{"point_2d": [0, 0]}', sample) == 1
    assert hit("", sample) == 0  # an unreadable answer is not the point (0, 0)


@pytest.mark.parametrize("record", [SMALL, LARGE], ids=["640x480", "3840x2160"])
def test_the_frame_comes_from_the_family_and_not_from_the_numbers(record: ImageRecord) -> None:
    """The same place in thousandths and in pixels of the resized picture; numbers of one family in the other miss."""
    width, height = record.original.width, record.original.height
    sample = row(box(record, 0.30 * width, 0.60 * height, 0.32 * width, 0.63 * height), record)
    assert record.model is not None
    thousandths = '{"point_2d": [310, 615]}'
    pixels = json.dumps({"point_2d": [round(0.31 * record.model.width), round(0.615 * record.model.height)]})
    assert (hit(thousandths, sample, THOUSANDTHS), hit(pixels, sample, PIXELS)) == (1, 1)
    assert (hit(pixels, sample, THOUSANDTHS), hit(thousandths, sample, PIXELS)) == (0, 0)
    fractions = '{"point_2d": [0.31, 0.615]}'
    assert (hit(fractions, sample, THOUSANDTHS), hit(fractions, sample, PIXELS)) == (0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[{"point_2d": [310, 615]}, {"point_2d": [310, 615]}]',
        '{"point_2d": [310, 615]} or {"point_2d": [10, 15]}',
        "the button at 310, 615",
    ],
)
def test_no_answer_and_two_answers_are_unparsed(text: str) -> None:
    assert isinstance(answered(text, row(box(SMALL, 0, 0, 640, 480), SMALL)), Unparsed)


def test_reversed_corners_are_no_box() -> None:
    sample = row(box(SMALL, 0, 0, 640, 480), SMALL)
    assert hit('{"bbox_2d": [100, 100, 200, 200]}', sample, answer="box") == 1
    assert isinstance(answered('{"bbox_2d": [200, 200, 100, 100]}', sample, answer="box"), Unparsed)


def test_unparsed_rows_stay_in_the_denominator_and_both_averages_are_those_of_the_cells() -> None:
    """Web has two of three right and mobile none of one: micro 2/4 and macro (2/3 + 0) / 2."""
    web = row(box(SMALL, 0, 0, 64, 48), SMALL)
    mobile = Sample("m", (), (SMALL,), "go back", web.gold, tags={"platform": "mobile", "kind": "icon"})
    right = '{"point_2d": [50, 50]}'
    about = card([(web, right), (web, right), (web, "?"), (mobile, "?")], "screenspot")
    assert (about.n, about.unparsed, about.score) == (4, 2, 0.5)
    assert about.macro == pytest.approx(1 / 3)


def test_rows_that_share_a_box_keep_their_own_group_and_kind(tmp_path: Path) -> None:
    """UI-R1's helper looked groups and kinds up by the box, so that one of two such rows was counted twice."""
    shutil.copytree(SAMPLES / "screenspot-pro", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "annotations" / "demo_app_windows.json"
    rows = json.loads(file.read_text())
    rows[1].update(bbox=rows[0]["bbox"], group="Office", ui_type="icon")
    file.write_text(json.dumps(rows))
    found = BENCHMARKS["screenspot-pro"].load(file)
    assert [(sample.tags["group"], sample.tags["kind"]) for sample in found] == [("CAD", "text"), ("Office", "icon")]
    assert found[0].gold == found[1].gold


# OSWorld-G

SQUARE = ImageRecord(0, Size(1000, 1000))


def polygon(*corners: tuple[float, float]) -> Any:
    return TARGETS.Polygon(corners, SQUARE.frame(Unit.ORIGINAL))


def at(x: float, y: float) -> Point:
    return Point(x, y, SQUARE.frame(Unit.ORIGINAL))


ARROW = polygon((0, 0), (100, 0), (50, 50), (100, 100), (0, 100))  # the centre of the box around it is a corner


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((20, 50), True),
        ((60, 50), False),  # in the notch
        ((90, 5), True),
        ((50, 0), True),  # an upper edge
        ((50, 100), False),  # a lower edge
        ((0, 50), True),  # a left edge
        ((101, 5), False),
        ((-1, 50), False),
    ],
)
def test_a_polygon_is_hit_as_by_ray_casting(point: tuple[float, float], inside: bool) -> None:
    assert ARROW.contains(at(*point)) is inside


coordinates = st.floats(0, 1000)


@given(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=3, unique=True), coordinates, coordinates)
def test_a_triangle_is_hit_as_its_half_planes_say(corners: list[tuple[float, float]], x: float, y: float) -> None:
    (x1, y1), (x2, y2), (x3, y3) = corners
    sides = [
        (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1),
        (x3 - x2) * (y - y2) - (y3 - y2) * (x - x2),
        (x1 - x3) * (y - y3) - (y1 - y3) * (x - x3),
    ]
    if min(abs(side) for side in sides) > 1e-3:  # far enough from an edge for the signs to be certain
        assert polygon(*corners).contains(at(x, y)) == (min(sides) > 0 or max(sides) < 0)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=3, unique=True))
def test_the_inner_point_is_inside(corners: list[tuple[int, int]]) -> None:
    (x1, y1), (x2, y2), (x3, y3) = corners
    if (x2 - x1) * (y3 - y1) != (y2 - y1) * (x3 - x1):
        assert polygon(*corners).contains(polygon(*corners).inner_point)


def osworld() -> list[Sample]:
    return list(BENCHMARKS["osworld-g"].load(SAMPLES / "osworld-g"))


def test_osworld_g_as_published() -> None:
    boxed, outlined, absent = osworld()
    assert (boxed.id, boxed.question) == ("demo-0", "Save the drawing")
    assert isinstance(boxed.gold, Box)
    corners = (boxed.gold.x1, boxed.gold.y1, boxed.gold.x2, boxed.gold.y2)
    assert corners == pytest.approx((10, 10.4, 60, 26))  # x, y, width, height in the file
    assert outlined.extra["polygon"].corners == ((100, 50), (120, 50), (120, 70))
    assert absent.gold == Refusal()
    assert [sample.tags["target"] for sample in (boxed, outlined, absent)] == ["bbox", "polygon", "refusal"]
    assert boxed.extra["categories"] == ("text_matching", "element_recognition")
    parquet = BENCHMARKS["osworld-g"].load(SAMPLES / "osworld-g-parquet")
    assert [(sample.question, sample.gold) for sample in parquet] == [(s.question, s.gold) for s in osworld()]


def test_the_two_osworld_g_benchmarks_do_not_read_each_other() -> None:
    refined = BENCHMARKS["osworld-g-refined"].load(SAMPLES / "osworld-g" / "benchmark")
    assert refined[0].question == "Click the blue bar at the top left"
    with pytest.raises(UserError, match=r"reads OSWorld-G_refined\.json"):
        BENCHMARKS["osworld-g-refined"].load(SAMPLES / "osworld-g" / "benchmark" / "OSWorld-G.json")


@pytest.mark.parametrize("answer", ["point", "points", "box"])
@pytest.mark.parametrize(
    "convention",
    [THOUSANDTHS, Convention(Unit.NORM1000, "qwen2_box_tokens"), Convention(Unit.NORM1000, "internvl_brackets")],
)
def test_every_osworld_g_row_can_be_answered_and_says_how_to_refuse(answer: str, convention: Convention) -> None:
    for sample in osworld():
        if answer == "box" and "polygon" in sample.extra:
            continue  # the centre of the box around a polygon may lie outside of it
        assert hit(gui(answer=answer).render(sample, convention), sample, convention, answer=answer) == 1
        assert "-1" in gui(answer=answer).request(sample, convention)


def test_refusals_are_right_only_where_there_is_no_target() -> None:
    boxed, _, absent = osworld()
    refusal, click = '{"point_2d": [-1, -1]}', '{"point_2d": [200, 200]}'
    assert (hit(refusal, absent), hit(click, absent), hit("", absent)) == (1, 0, 0)
    assert (hit(refusal, boxed), hit(click, boxed)) == (0, 1)
    assert hit('{"point_2d": [-1, 5]}', absent) == 0  # both must be negative
    ordinary = row(box(SQUARE, 0, 0, 9, 9), SQUARE)
    assert isinstance(answered(refusal, ordinary), Unparsed)


def test_the_card_of_osworld_g_counts_refusals_and_shows_the_score_without_them() -> None:
    boxed, outlined, absent = osworld()
    click = '{"point_2d": [200, 200]}'
    about = card([(boxed, click), (outlined, click), (absent, click)], "osworld-g")
    assert (about.n, about.score) == (3, pytest.approx(1 / 3))
    assert {name: (part.value, part.n) for name, part in about.metrics.items() if name != "hit"} == {
        "hit_without_refusals": (0.5, 2),
        "hit_text_matching": (1.0, 1),
        "hit_element_recognition": (0.5, 2),
        "hit_refusal": (0.0, 1),
    }


Change = Callable[[list[dict[str, Any]]], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1].update(box_coordinates=[1, 2, 3, 4]), "row 1, field box_coordinates: a polygon is"),
        (lambda rows: rows[1].update(box_coordinates=[1, 1, 2, 2, 3, 3]), "row 1.*has no area"),
        (lambda rows: rows[1].update(box_coordinates=[500, 1, 600, 2, 600, 70]), "row 1.*has no area on its picture"),
        (lambda rows: rows[0].update(box_coordinates=[60, 10, 100, 40]), "row 0.*would fit as x1, y1, x2, y2"),
        (lambda rows: rows[0].update(box_coordinates=[0.1, 0.2, 0.3, 0.4]), "row 0.*smaller than one pixel"),
        (lambda rows: rows[2].update(box_type="none"), "row 2, field box_type: must be bbox, polygon, refusal"),
        (lambda rows: rows[0].update(image_size=[80, 128]), "row 0, field image_size: says 80x128"),
        (lambda rows: rows[0].update(image_path="gone.png"), r"row 0, field image_path: picture 'gone\.png' not found"),
        (lambda rows: rows[2].update(id="demo-0"), "the id 'demo-0' is given to several rows"),
        (lambda rows: rows[2].pop("GUI_types"), "row 2: field GUI_types is missing"),
    ],
)
def test_bad_rows_of_osworld_g_are_named(tmp_path: Path, change: Change, message: str) -> None:
    shutil.copytree(SAMPLES / "osworld-g", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "benchmark" / "OSWorld-G.json"
    rows = json.loads(file.read_text())
    change(rows)
    file.write_text(json.dumps(rows))
    with pytest.raises(UserError, match=message):
        BENCHMARKS["osworld-g"].load(tmp_path)


def test_boxes_are_those_of_the_picture_as_its_exif_turns_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown upright
    Image.new("RGB", (100, 50)).save(tmp_path / "web_a.jpg", exif=exif)
    annotated = {
        "img_filename": "web_a.jpg",
        "bbox": [10, 60, 20, 30],
        "instruction": "save",
        "data_type": "text",
        "data_source": "shop",
    }
    (tmp_path / "screenspot_web.json").write_text(json.dumps([annotated]))
    (sample,) = BENCHMARKS["screenspot"].load(tmp_path)
    assert sample.records[0].original == Size(50, 100)
    assert sample.gold == box(sample.records[0], 10, 60, 30, 90)


def test_anchors_are_rates_and_name_their_source() -> None:
    for benchmark in BENCHMARKS.values():
        for anchor in benchmark.anchors:
            assert 0 < anchor.score < 1
            assert anchor.source
