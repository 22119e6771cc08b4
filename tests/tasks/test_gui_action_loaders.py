"""Each published form of recorded GUI steps, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmrl.answers.action import in_words
from vlmrl.errors import UserError
from vlmrl.geometry import Box, Size, Unit
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import Action, PromptMode, Sample

FOLDER = find_task("gui_action")
SAMPLES = FOLDER.path / "samples"
LOADERS, STEPS, SPACES = (FOLDER.submodule(name) for name in ("loaders", "steps", "spaces"))
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}

RED, BLUE = (6, 20, 42, 32), (12, 60, 28, 76)
PUBLISHED: dict[str, list[tuple[str, tuple[float, float] | None, tuple[float, ...] | None]]] = {
    "android-control": [
        ('open_app "Notes"', None, None),
        ("click", (24, 26), RED),  # the smaller of two candidate boxes
        ('type "Milk and eggs"', None, None),
        ("scroll down", None, None),  # check_options, not the finger's way up
        ("long_press", (20, 100), None),
        ("wait", None, None),
        ('press_key "back"', None, None),
    ],
    "ui-r1-test": [
        ('open_app "Notes"', None, None),
        ("click", (24, 26), None),
        ('type "Milk"', None, None),
        ("scroll down", None, None),
        ('press_key "back"', None, None),
    ],
    "ui-r1": [
        ("click", (24, 26), RED),
        ("click", (20, 68), BLUE),
        ("scroll", None, None),
        ('press_key "back"', None, None),
        ("type", None, None),
    ],
    "gui-r1": [
        ("click", (24, 26), RED),
        ("click", (20, 68), None),
        ("scroll down", None, None),
        ('type "train times"', None, None),
        ("close", None, None),
    ],
    "gui-r1-test": [("click", (24, 26), None), ('type "milk"', None, None), ('press_key "back"', None, None)],
    "gui-odyssey/annotations": [
        ("click", (23.976, 26.04), (5.994, 20.04, 42.012, 32.04)),
        ("long_press", (19.98, 68.04), (11.988, 60, 28.026, 76.08)),
        ("swipe up", None, None),
        ('type "7:30"', None, None),
        ('press_key "home"', None, None),
        ('finish "success"', None, None),
        ('type "milk: 1 l"', None, None),
        ('finish "failure"', None, None),
    ],
    "simple": [
        ("click", (24, 26), RED),
        ("long_press", (20, 68), None),
        ('type "Milk"', None, None),
        ('answer "1 l"', None, None),
        ('finish "failure"', None, None),
    ],
}


def load(path: Path, **shown: Any) -> list[Sample]:
    return LOADERS.load_rows(path, STEPS.Shown(**shown))  # type: ignore[no-any-return]


@pytest.mark.parametrize("screenshots", [0, 2])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str, screenshots: int) -> None:
    samples = load(SAMPLES / name, screenshots=screenshots)
    assert len(samples) == len(PUBLISHED[name])
    for sample, (words, point, target) in zip(samples, PUBLISHED[name], strict=True):
        gold = sample.gold
        assert isinstance(gold, Action)
        assert in_words(gold) == words
        assert sample.extra["actions"].fault(gold) is None
        assert sample.question
        assert sample.tags["action"] == gold.kind
        assert sample.asked_image == len(sample.images) - 1
        for image, record in zip(sample.images, sample.records, strict=True):
            assert Size(*open_picture(image, sample.id).size) == record.original
        if point is None:
            assert gold.point is None
        else:
            assert gold.point is not None
            assert (gold.point.x, gold.point.y) == pytest.approx(point)
            assert gold.point.frame == sample.asked.frame(Unit.ORIGINAL)
            picture = open_picture(sample.images[-1], sample.id)
            assert picture.getpixel((int(gold.point.x), int(gold.point.y))) != picture.getpixel((0, 0))
        box = sample.extra["target"]
        assert (box is None) == (target is None)
        if target is not None:
            assert isinstance(box, Box)
            assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx(target)


def test_the_spaces_of_the_forms() -> None:
    names = {name: {s.extra["actions"].name for s in load(SAMPLES / name)} for name in PUBLISHED}
    assert names == {
        "android-control": {"android_control"},
        "ui-r1-test": {"android_control"},
        "ui-r1": {"ui_r1"},
        "gui-r1": {"gui_r1_high", "gui_r1_low"},
        "gui-r1-test": {"gui_r1_test"},
        "gui-odyssey/annotations": {"gui_odyssey"},
        "simple": {"general", "given"},
    }
    for space in vars(SPACES).values():
        if isinstance(space, SPACES.ActionSpace):
            assert len({kind.name for kind in space.kinds}) == len(space.kinds)


def test_high_and_low_level_and_the_history() -> None:
    high, low = (load(SAMPLES / "android-control", level=level) for level in ("high", "low"))
    assert high[0].question == "Write a shopping list"
    assert high[2].question == 'Write a shopping list\nDone so far: 1. open_app "Notes"; 2. click'
    assert low[0].question == "Write a shopping list\nThis step: Open the Notes app"
    assert "click on the red bar" not in high[1].question
    short = load(SAMPLES / "android-control", history=1)
    assert short[2].question == "Write a shopping list\nDone so far: 2. click"
    assert load(SAMPLES / "android-control", history=0)[2].question == "Write a shopping list"
    assert load(SAMPLES / "gui-r1")[2].question == "find the last entry\nDone so far: Step 1: click the red bar"
    assert load(SAMPLES / "ui-r1")[2].question == "see what is below"


def test_earlier_screenshots_come_first_and_the_current_one_is_asked() -> None:
    samples = load(SAMPLES / "android-control", screenshots=2)
    names = [[Path(str(image)).name for image in sample.images] for sample in samples[:4]]
    assert names == [["7_0.png"], ["7_0.png", "7_1.png"], ["7_0.png", "7_1.png", "7_2.png"],
                     ["7_1.png", "7_2.png", "7_3.png"]]  # fmt: skip
    assert samples[1].gold.point.frame.image == 1  # type: ignore[union-attr]
    given = load(SAMPLES / "simple")[2]
    assert [Path(str(image)).name for image in given.images] == ["list.png", "edit.png"]
    assert [kind.name for kind in given.extra["actions"].kinds] == ["click", "type", "scroll"]


def test_ids_modes_and_tags_of_the_simple_form() -> None:
    samples = load(SAMPLES / "simple", mode=PromptMode.DIRECT)
    assert [sample.id for sample in samples] == ["steps-0", "hold", "steps-2", "steps-3", "steps-4"]
    assert [sample.mode for sample in samples[:2]] == [PromptMode.DIRECT, PromptMode.THINK]
    assert samples[1].tags == {"platform": "mobile", "action": "long_press"}


@pytest.mark.parametrize(
    ("benchmark", "folder", "rows"),
    [
        ("androidcontrol-low", "android-control", 7),
        ("androidcontrol-low", "ui-r1-test", 5),
        ("androidcontrol-low", "gui-r1-test", 3),
        ("androidcontrol-high", "android-control", 7),
        ("androidcontrol-high", "gui-r1-test", 3),
        ("gui-odyssey", "gui-odyssey/annotations", 8),
    ],
)
def test_benchmarks_read_their_own_forms(benchmark: str, folder: str, rows: int) -> None:
    assert len(BENCHMARKS[benchmark].load(SAMPLES / folder)) == rows


def test_gui_odyssey_reads_the_test_episodes_of_a_split(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "gui-odyssey", tmp_path / "data")
    split = tmp_path / "data" / "splits" / "random_split.json"
    split.parent.mkdir()
    split.write_text(json.dumps({"train": ["0001.json"], "test": ["0002.json"]}))
    rows = BENCHMARKS["gui-odyssey"].load(split)
    assert [row.id for row in rows] == ["0002-0", "0002-1"]
    assert {(row.extra["episode"], row.extra["episode_steps"]) for row in rows} == {("0002-0", 2)}
    split.write_text(json.dumps({"test": ["0003.json"]}))
    with pytest.raises(UserError, match=r"0003\.json cannot be read"):
        BENCHMARKS["gui-odyssey"].load(split)
    split.write_text(json.dumps({"train": []}))
    with pytest.raises(UserError, match="field test: must be a list of texts"):
        BENCHMARKS["gui-odyssey"].load(split)


def test_benchmarks_refuse_other_forms() -> None:
    with pytest.raises(UserError, match="ui-r1-test, which is not read here"):
        BENCHMARKS["androidcontrol-high"].load(SAMPLES / "ui-r1-test")
    with pytest.raises(UserError, match="gui-r1, which is not read here"):
        BENCHMARKS["gui-odyssey"].load(SAMPLES / "gui-r1")


Change = Callable[[Any], None]


def changed(tmp_path: Path, folder: str, file: str, change: Change) -> Path:
    copy = tmp_path / folder
    shutil.copytree(SAMPLES / folder, copy)
    path = copy / file
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        change(rows)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        rows = json.loads(path.read_text())
        change(rows)
        path.write_text(json.dumps(rows))
    return path


def put(*keys: Any) -> Change:
    """Sets the value at the path of keys: the last argument is the value."""
    *path, last, value = keys

    def change(rows: Any) -> None:
        for key in path:
            rows = rows[key]
        rows[last] = value

    return change


def drop(*keys: Any) -> Change:
    *path, last = keys

    def change(rows: Any) -> None:
        for key in path:
            rows = rows[key]
        del rows[last]

    return change


AC, AC_FILE = "android-control", "episodes.jsonl"
OD, OD_FILE = "gui-odyssey", "annotations/0001.json"


@pytest.mark.parametrize(
    ("folder", "file", "change", "message"),
    [
        (AC, AC_FILE, put(0, "goal", ""), "row 0, field goal"),
        (AC, AC_FILE, put(0, "steps", []), "field steps"),
        (AC, AC_FILE, put(0, "steps", 1, "click"), "step 1: must be an object"),
        (AC, AC_FILE, drop(0, "steps", 1, "check_options"), "step 1: field check_options is missing"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "action", "drag"), "step 1.*'drag' is no action"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "coordinate", [24]), "step 1.*list of 2 finite numbers"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "coordinate", [60, 26]), "step 1.*outside its picture"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "candidate_bbox", [[9, 9, 1, 1]]), "swapped corners"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "coordinate", [0.46, 0.25]), "step 1.*fractions"),
        (AC, AC_FILE, put(0, "steps", 1, "check_options", "candidate_bbox", [[0, 0.1, 0.9, 1]]), "step 1.*fractions"),
        (AC, AC_FILE, put(0, "steps", 3, "check_options", "direction", "diagonal"), "one of up, down, left, right"),
        (AC, AC_FILE, put(0, "steps", 6, "check_options", "button", "Power"), "one of back, home"),
        (AC, AC_FILE, put(0, "steps", 2, "check_options", "text", "a" * 1001), "1000 are allowed"),
        (AC, AC_FILE, put(0, "steps", 0, "screenshot", "/gone/x.png"), "picture 'x.png' not found"),
        (AC, AC_FILE, put(0, "steps", 0, "step_instruction", None), "field step_instruction"),
        (AC, AC_FILE, put(0, "episode_id", None), "row 0, field episode_id: must be a number or a text"),
        (AC, AC_FILE, lambda rows: rows.append(rows[0]), "the id 'episodes-7-0' is given to several rows"),
        (AC, AC_FILE, put(0, "extra", 1), "no known schema.*does not have: extra"),
        ("ui-r1-test", "ac_test.json", put(1, "gt", {"action_type": "click", "x": 24}), "x and y"),
        ("ui-r1-test", "ac_test.json", put(1, "gt", {"action_type": "swipe"}), "row 1.*'swipe' is no action"),
        ("ui-r1-test", "ac_test.json", drop(3, "task"), "row 3: field task is missing"),
        ("ui-r1", "train.json", put(0, "action", "scroll"), "only a click has a box"),
        ("ui-r1", "train.json", drop(2, "action"), "needs a bbox"),
        ("ui-r1", "train.json", put(0, "bbox", [6, 20, 420, 32]), "outside its picture"),
        (OD, OD_FILE, put("steps", 0, "info", [[444, 1217]]), "outside its picture"),
        (OD, OD_FILE, put("steps", 0, "info", [[0.444, 0.217]]), "step 0.*are thousandths by the schema.*fractions"),
        (OD, OD_FILE, put("steps", 0, "info", "KEY_POWER"), "list of one point"),
        (OD, OD_FILE, put("steps", 2, "info", [[1, 2]]), "list of two points"),
        (OD, OD_FILE, put("steps", 5, "action", "SLEEP"), "'SLEEP' is no action"),
        (OD, OD_FILE, put("steps", 0, "sam2_bbox", [1, 2, 3]), "list of 4 finite numbers"),
        (OD, OD_FILE, put("task_info", None), "field task_info"),
        (OD, OD_FILE, put("episode_id", "0002"), "id '0002-0' is given to several rows"),
        ("simple", "steps.jsonl", put(0, "action", {"action": "drag"}), "'drag' is no action"),
        ("simple", "steps.jsonl", put(0, "action", {"action": "click", "text": "x"}), "nothing else"),
        ("simple", "steps.jsonl", drop(0, "box"), "needs a place"),
        ("simple", "steps.jsonl", put(2, "actions", ["click"]), "unknown action 'type'"),
        ("simple", "steps.jsonl", put(2, "actions", ["drag"]), "drag is no action"),
        ("simple", "steps.jsonl", put(2, "history", "click"), "field history"),
        ("simple", "steps.jsonl", put(1, "mode", "fast"), "field mode"),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path: Path, folder: str, file: str, change: Change, message: str) -> None:
    path = changed(tmp_path, folder, file, change)
    with pytest.raises(UserError, match=message) as caught:
        load(path.parent if folder == OD else path)
    assert path.name in str(caught.value) or "several rows" in message


def test_a_turned_screenshot_is_read_upright(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / AC, tmp_path / AC)
    for path in (tmp_path / AC / "images").glob("*.png"):
        turned = Image.open(path).convert("RGB").transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6  # shown after a quarter turn
        turned.save(path, exif=exif)
    upright, read = load(SAMPLES / AC), load(tmp_path / AC)
    assert [row.asked.original for row in read] == [row.asked.original for row in upright]
    assert [row.gold for row in read] == [row.gold for row in upright]


def test_a_step_without_an_instruction_is_asked_with_its_goal(tmp_path: Path) -> None:
    path = changed(tmp_path, AC, AC_FILE, put(0, "steps", 0, "step_instruction", ""))
    assert load(path, level="low")[0].question == "Write a shopping list"


def test_an_episode_without_instructions_has_no_low_level(tmp_path: Path) -> None:
    def silence(episode: Any) -> None:
        for step in episode["steps"]:
            step["low_level_instruction"] = ""

    path = changed(tmp_path, OD, OD_FILE, silence)
    assert len(load(path)) == 6
    with pytest.raises(UserError, match=r"task\.options\.level=high"):
        load(path, level="low")


def test_a_box_that_misses_the_recorded_point_is_no_target(tmp_path: Path) -> None:
    path = changed(tmp_path, AC, AC_FILE, put(0, "steps", 1, "check_options", "candidate_bbox", [[44, 90, 50, 100]]))
    sample = load(path)[1]
    assert sample.extra["target"] is None
    assert len(sample.extra["candidates"]) == 1  # the Qwen scorer still accepts it


@pytest.mark.parametrize(
    ("info", "direction"),
    [
        ([[500, 800], [510, 200]], "up"),
        ([[500, 200], [510, 800]], "down"),
        ([[800, 500], [200, 510]], "left"),
        ([[200, 500], [800, 510]], "right"),
        ([[200, 200], [300, 300]], "down"),  # equal ways are vertical
    ],
)
def test_a_swipe_follows_the_finger(tmp_path: Path, info: list[list[int]], direction: str) -> None:
    path = changed(tmp_path, OD, OD_FILE, put("steps", 2, "info", info))
    assert load(path)[2].gold == Action("swipe", direction=direction)
