"""Each form of chart-to-code data, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import Code, PromptMode, Sample

FOLDER = find_task("chart_to_code")
SAMPLES = FOLDER.path / "samples"
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}
STUDIO = FOLDER.submodule("drawing").Studio(2)
GOOD = "import matplotlib.pyplot as plt\nplt.figure(figsize=(3, 2))\nplt.plot([1, 2])"
IDS = {
    "scripts": ["units", "waves"],
    "chartmimic": ["bar_1", "errorbar_2"],
    "plot2code": ["metadata-0", "metadata-1"],
    "simple": ["power", "charts-1"],
}


def load(path: Path, mode: PromptMode = PromptMode.DIRECT) -> list[Sample]:
    return FOLDER.submodule("loaders").load_rows(path, STUDIO, mode)  # type: ignore[no-any-return]


@pytest.mark.parametrize("form", IDS)
def test_every_form(form: str) -> None:
    samples = load(SAMPLES / form)
    assert [sample.id for sample in samples] == IDS[form]
    for sample in samples:
        picture = open_picture(sample.images[0], sample.id)
        assert Size(*picture.size) == sample.records[0].original
        assert isinstance(sample.gold, Code)
        assert sample.gold.source.strip() == sample.gold.source
        assert sample.question.endswith(" inches.")


def test_a_script_without_a_picture_is_its_own_picture() -> None:
    units, waves = load(SAMPLES / "scripts")
    assert isinstance(units.images[0], Path)
    assert isinstance(waves.images[0], bytes)
    assert waves.records[0].original == Size(400, 200)
    assert "4 x 2 inches" in waves.question


def test_the_simple_form() -> None:
    power, line = load(SAMPLES / "simple" / "charts.jsonl")
    assert (power.mode, power.tags) == (PromptMode.DIRECT, {"type": "barh"})
    assert (line.mode, line.tags) == (PromptMode.THINK, {})
    assert line.question == "Write the script of this line chart. The figure is 3 x 2 inches."


def test_the_mode_of_rows_that_state_none() -> None:
    assert {sample.mode for sample in load(SAMPLES / "scripts", PromptMode.THINK)} == {PromptMode.THINK}


def test_benchmarks_read_their_own_forms() -> None:
    rows = BENCHMARKS["chartmimic"].load(SAMPLES / "chartmimic")
    assert [row.tags["type"] for row in rows] == ["bar", "errorbar"]
    rows = BENCHMARKS["plot2code"].load(SAMPLES / "plot2code")
    assert [row.question for row in rows] == [
        "Draw a pie chart of wind and sun, three to one. The figure is 3 x 2 inches.",
        "Draw a stem plot titled stems. The figure is 3 x 2 inches.",
    ]


def refused(path: Path, *expected: str) -> None:
    with pytest.raises(UserError) as caught:
        load(path)
    for part in expected:
        assert part in str(caught.value)


def scripts(folder: Path, **sources: str) -> Path:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def test_all_scripts_that_draw_no_chart_are_named(tmp_path: Path) -> None:
    bad = {
        "raises": "1 / 0",
        "blank": "import matplotlib.pyplot as plt\nplt.subplots()",
        "two": f"{GOOD}\nplt.figure()\nplt.plot([1])",
        "nothing": "x = 1",
    }
    refused(
        scripts(tmp_path, good=GOOD, **bad),
        "4 of 5 scripts",
        "raises.py: error: line 1: ZeroDivisionError",
        "blank.py: nothing is plotted",
        "two.py: it draws 2 figures",
        "nothing.py: error: the script drew no figure",
    )


def test_many_failing_scripts_are_counted(tmp_path: Path) -> None:
    folder = scripts(tmp_path, **{f"bad_{number:02}": f"raise ValueError({number})" for number in range(12)})
    refused(folder, "12 of 12 scripts", "bad_09.py", "... and 2 more")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "the code is empty"),
        ("x = (", "the code is not Python"),
        ('"""\n```\n"""', "has ``` in it"),
        ("#" * 70_000, "more than 65536"),
    ],
)
def test_scripts_that_cannot_be_an_answer(tmp_path: Path, source: str, expected: str) -> None:
    refused(scripts(tmp_path, bad=source), "bad.py", expected)


def test_a_script_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"\xff\xfe\xff")
    refused(tmp_path, "bad.py", "UTF-8")


def test_a_damaged_picture(tmp_path: Path) -> None:
    scripts(tmp_path, chart=GOOD)
    (tmp_path / "chart.png").write_bytes(b"no picture")
    refused(tmp_path, "chart.py")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"image": "a.png"}, ("row 0", "field code is missing", "simple")),
        ({"code": GOOD, "colour": "red"}, ("row 0", "unknown field colour")),
        ({"code": 3}, ("row 0, field code", "must be a text")),
        ({"code": GOOD, "image": "a.png"}, ("row 0, field image", "not found")),
        ({"code": GOOD, "tags": {"type": 1}}, ("row 0, field tags", "map names to texts")),
        ({"code": GOOD, "mode": "loud"}, ("row 0, field mode", "direct or think")),
        ({"code": GOOD, "file_name": "a.png"}, ("row 0, field file_name", "not found")),
        ({"file_name": "a.png"}, ("row 0", "field code is missing", "plot2code")),
        ({"code": GOOD, "file_name": "a.png", "id": "x"}, ("row 0", "unknown field id", "plot2code")),
        ({"code": "x = ("}, ("row 0, field code", "not Python")),
        ({"code": "1 / 0"}, ("1 of 1 scripts", "row 0: error", "ZeroDivisionError")),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, Any], expected: tuple[str, ...]) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    refused(tmp_path, "rows.jsonl", *expected)


def test_ids_must_be_unique(tmp_path: Path) -> None:
    rows = [{"code": GOOD, "id": "same"}] * 2
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    refused(tmp_path, "the id 'same'")


def test_a_folder_without_rows(tmp_path: Path) -> None:
    refused(tmp_path, "holds no")


def test_a_large_folder_is_run_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FOLDER.submodule("loaders"), "CHUNK", 2)
    for name in ("a", "b", "c"):
        shutil.copy(SAMPLES / "scripts" / "units.py", tmp_path / f"{name}.py")
    assert [sample.id for sample in load(tmp_path)] == ["a", "b", "c"]
