"""Each published form of GUI grounding data, on made-up rows, and a clear message for each thing that can be wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import vlmrl.loading.pictures as finder
from vlmrl.errors import UserError
from vlmrl.geometry import Box, Size, Unit
from vlmrl.media.pictures import open_picture
from vlmrl.registry import find_task
from vlmrl.types import PromptMode, Sample

FOLDER = find_task("gui_grounding")
SAMPLES = FOLDER.path / "samples"
LOADERS = FOLDER.submodule("loaders")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}

PUBLISHED = {
    "screenspot": {
        "screenspot_desktop-0": ((10, 10, 60, 26), "desktop", "text"),
        "screenspot_desktop-1": ((100, 50, 128, 70), "desktop", "icon"),  # published one pixel too wide
        "screenspot_mobile-0": ((6, 20, 42, 32), "mobile", "text"),
        "screenspot_mobile-1": (
            (12, 60, 28, 76),
            "mobile",
            "icon",
        ),  # data_source is shop, the file is mobile
        "screenspot_web-0": ((8, 10, 48, 24), "web", "text"),
        "screenspot_web-1": ((60, 30, 76, 46), "web", "icon"),
    },
    "screenspot-v2-sized": {
        "screenspot_web_v2-0": ((8, 10, 48, 24), "web", "text"),
        "screenspot_web_v2-1": ((60, 30, 76, 46), "web", "icon"),
    },
    "screenspot-pro/annotations": {
        "demo_app_windows-0": ((10, 10, 60, 26), "CAD", "text"),
        "demo_app_windows-1": ((100, 50, 120, 70), "CAD", "icon"),
    },
    "screenspot-parquet": {
        "test-00000-of-00001-0": ((8, 10, 48, 24), "web", "text"),
        "test-00000-of-00001-1": ((12, 60, 28, 76), "mobile", "icon"),
    },
    "screenspot-v2-parquet": {
        "test-00000-of-00001-0": ((10, 10, 60, 26), "desktop", "text"),
        "test-00000-of-00001-1": ((60, 30, 76, 46), "web", "icon"),
    },
    "screenspot-pro-parquet-list": {
        "test-00000-of-00001-0": ((10, 10, 60, 26), "CAD", "text"),
        "test-00000-of-00001-1": ((100, 50, 120, 70), "CAD", "icon"),
    },
    "screenspot-pro-parquet-text": {
        "test-00000-of-00001-0": ((10, 10, 60, 26), "CAD", "text"),
        "test-00000-of-00001-1": ((100, 50, 120, 70), "CAD", "icon"),
    },
}


def load(path: Path, **options: Any) -> list[Sample]:
    return LOADERS.load_rows(path, **options)  # type: ignore[no-any-return]


def corners(sample: Sample) -> tuple[float, ...]:
    assert isinstance(sample.gold, Box)
    assert sample.gold.frame == sample.records[0].frame(Unit.ORIGINAL)
    return sample.gold.x1, sample.gold.y1, sample.gold.x2, sample.gold.y2


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms(name: str) -> None:
    samples = {sample.id: sample for sample in load(SAMPLES / name)}
    cells = ("group", "kind") if "pro" in name else ("platform", "kind")
    assert set(samples) == set(PUBLISHED[name])
    for id_, (box, *tags) in PUBLISHED[name].items():
        sample = samples[id_]
        assert corners(sample) == pytest.approx(box)
        assert [sample.tags[cell] for cell in cells] == tags
        assert sample.question
        assert sample.mode is PromptMode.DIRECT
        picture = open_picture(sample.images[0], id_)
        assert Size(*picture.size) == sample.records[0].original
        center = sample.gold.center
        background = picture.getpixel((0, 0))
        assert picture.getpixel((int(center.x), int(center.y))) != background


def test_the_simple_form() -> None:
    plain, marked = load(SAMPLES / "simple" / "clicks.jsonl")
    assert (plain.id, plain.mode, plain.tags) == ("clicks-0", PromptMode.DIRECT, {})
    assert (marked.id, marked.mode) == ("search", PromptMode.THINK)
    assert marked.tags == {"platform": "web", "kind": "icon"}
    assert corners(marked) == (60, 30, 76, 46)


def test_the_mode_of_rows_that_state_none() -> None:
    modes = [sample.mode for sample in load(SAMPLES / "simple", mode=PromptMode.THINK)]
    assert modes == [PromptMode.THINK, PromptMode.THINK]


@pytest.mark.parametrize(
    ("benchmark", "folder"),
    [
        ("screenspot", "screenspot"),
        ("screenspot", "screenspot-parquet"),
        ("screenspot-v2", "screenspot"),
        ("screenspot-v2", "screenspot-v2-sized"),
        ("screenspot-v2", "screenspot-v2-parquet"),
        ("screenspot-pro", "screenspot-pro/annotations"),
        ("screenspot-pro", "screenspot-pro-parquet-list"),
    ],
)
def test_benchmarks_read_their_own_forms(benchmark: str, folder: str) -> None:
    rows = BENCHMARKS[benchmark].load(SAMPLES / folder)
    assert rows
    assert all(set(BENCHMARKS[benchmark].cells) <= set(row.tags) for row in rows)


def test_benchmarks_refuse_other_forms() -> None:
    with pytest.raises(UserError, match=r"schema simple, which is not read here(.|\n)*screenspot-pro"):
        BENCHMARKS["screenspot-pro"].load(SAMPLES / "simple")
    with pytest.raises(UserError, match="schema screenspot-pro, which is not read here"):
        BENCHMARKS["screenspot-v2"].load(SAMPLES / "screenspot-pro" / "annotations")


def test_pictures_of_several_rows_are_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    original = finder.picture_size
    monkeypatch.setattr(finder, "picture_size", lambda source, where: opened.append(source) or original(source, where))
    first, second = load(SAMPLES / "screenspot-pro-parquet-list")
    assert len(opened) == 1
    assert first.images[0] is second.images[0]


@pytest.mark.parametrize("place", ["images", "screenspot_imgs", "screenspotv2_image", ".", "../images"])
def test_places_of_pictures(tmp_path: Path, place: str) -> None:
    data = tmp_path / "annotations" / "test.json"
    (data.parent / place).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 50)).save(data.parent / place / "a.png")
    data.write_text(json.dumps([ROW]))
    assert len(load(data)) == 1


ROW = {
    "img_filename": "a.png",
    "bbox": [10, 10, 20, 20],
    "instruction": "save",
    "data_type": "text",
    "data_source": "windows",
}
SIMPLE_ROW = {"image": "a.png", "instruction": "save", "bbox": [10, 10, 30, 30]}
SIZED_ROW = {
    "img_filename": "a.png",
    "bbox": [10, 10, 30, 30],
    "instruction": "save",
    "img_size": [100, 50],
    "platform": "windows",
    "ui_type": "text",
    "group": "desktop",
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows beside a picture of 100 x 50 pixels, after one good row of the same schema."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "a.png")

    def write_rows(row: dict[str, Any], name: str = "test.json") -> Path:
        good = next(g for g in (ROW, SIZED_ROW, SIMPLE_ROW) if len(set(g) & set(row)) >= len(set(g)) - 1)
        (tmp_path / name).write_text(json.dumps([good, row]))
        return tmp_path / name

    return write_rows


def refused(path: Path, *expected: str) -> str:
    with pytest.raises(UserError) as caught:
        load(path)
    message = str(caught.value)
    for part in expected:
        assert part in message
    return message


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW | {"bbox": [90, 10, 30, 30]}, ("field bbox", "outside", "100x50")),
        (ROW | {"bbox": [60, 10, 90, 40]}, ("outside", "it would fit as x1, y1, x2, y2 in pixels")),
        (
            SIMPLE_ROW | {"bbox": [60, 30, 20, 10]},
            ("no area", "it would fit as x, y, width, height in pixels"),
        ),
        (SIMPLE_ROW | {"bbox": [0.1, 0.2, 0.5, 0.6]}, ("smaller than one pixel", "x1, y1, x2, y2 in 0-1")),
        (SIMPLE_ROW | {"bbox": [10, 10, 10, 30]}, ("field bbox", "no area")),
        (ROW | {"bbox": [10, 10, 0, 30]}, ("no area",)),
        (ROW | {"bbox": [-3, 10, 20, 20]}, ("outside",)),
        (ROW | {"bbox": [10, 10, 20]}, ("field bbox", "list of 4 finite numbers")),
        (ROW | {"bbox": [10, 10, float("nan"), 20]}, ("finite",)),
        (ROW | {"bbox": [10, 10, float("inf"), 20]}, ("finite",)),
        (ROW | {"bbox": [10, 10, 10**400, 20]}, ("finite",)),
        (ROW | {"bbox": "[10, 10, 20, 20]"}, ("list of 4 finite numbers",)),
        (ROW | {"bbox": [True, 10, 20, 20]}, ("list of 4 finite numbers",)),
        (ROW | {"bbox": None}, ("list of 4 finite numbers",)),
        (ROW | {"instruction": ""}, ("field instruction", "not empty")),
        (ROW | {"instruction": ["save"]}, ("field instruction", "text")),
        (ROW | {"data_type": "button"}, ("field data_type", "text or icon", "'button'")),
        (ROW | {"data_source": None}, ("field data_source",)),
        (ROW | {"img_filename": 7}, ("field img_filename",)),
        (
            ROW | {"img_filename": "b.png"},
            ("field img_filename", "'b.png' not found", "looked in", "images/"),
        ),
        ({k: v for k, v in ROW.items() if k != "bbox"}, ("field bbox is missing", "screenspot")),
        (ROW | {"weight": 1}, ("unknown field weight", "screenspot row has")),
        (SIZED_ROW | {"img_size": [50, 100]}, ("field img_size", "50x100", "100x50")),
        (SIZED_ROW | {"img_size": "100x50"}, ("field img_size", "list of 2")),
        (SIMPLE_ROW | {"mode": "fast"}, ("field mode", "direct or think")),
        (SIMPLE_ROW | {"tags": ["web"]}, ("field tags",)),
        (SIMPLE_ROW | {"tags": {"platform": 1}}, ("field tags",)),
        (SIMPLE_ROW | {"id": 3}, ("field id",)),
    ],
)
def test_a_bad_row_is_named(write: Callable[..., Path], row: dict[str, Any], expected: tuple[str, ...]) -> None:
    path = write(row)
    refused(path, f"{path} row 1", *expected)


def test_boxes_may_reach_over_the_edge_by_a_pixel_and_are_cut(write: Callable[..., Path]) -> None:
    sample = load(write(ROW | {"bbox": [-1, -1, 102, 52]}))[1]
    assert corners(sample) == (0, 0, 100, 50)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("[]", "holds no rows"),
        ("", "not JSON"),
        ("{not json", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a.png": {}}', "expected a JSON list of rows"),
        ("[1, 2]", "row 0: expected an object"),
        ('{"image": "a.png"}\n{"image": "b.png"}', "belongs into a .jsonl file"),
        ('[{"image": "a.png", "box": [1, 2, 3, 4]}]', "keys box, image"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(content)
    refused(path, str(path), expected)


def test_unknown_keys_show_the_known_schemas_and_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{k: v for k, v in ROW.items() if k != "data_source"} | {"source": "ios"}]))
    message = refused(path, "nearest: screenspot; missing keys: data_source; keys that it does not have: source")
    assert all(schema in message for schema in ("screenspot-v2-sized", "screenspot-pro", "simple (json)"))


def test_other_bad_paths(tmp_path: Path) -> None:
    refused(tmp_path / "missing.json", "does not exist")
    (tmp_path / "rows.csv").touch()
    refused(tmp_path / "rows.csv", ".csv", ".parquet")
    refused(tmp_path, "holds no .json")
    (tmp_path / "annotations").mkdir()
    refused(tmp_path, "folders annotations")
    (tmp_path / "latin.json").write_bytes(b'["\xe9"]')
    refused(tmp_path / "latin.json", "not UTF-8")
    (tmp_path / "rows.jsonl").write_text('{"image": "a.png"}\n{broken\n')
    refused(tmp_path / "rows.jsonl", "line 2", "not JSON")
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no")
    refused(tmp_path / "rows.parquet", "not a readable parquet file")


def test_a_folder_holds_one_split_and_one_schema(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "simple", tmp_path, dirs_exist_ok=True)
    (tmp_path / "clicks.jsonl").rename(tmp_path / "test.jsonl")
    shutil.copy(tmp_path / "test.jsonl", tmp_path / "train.jsonl")
    refused(tmp_path, "several splits (test.jsonl, train.jsonl)")
    (tmp_path / "train.jsonl").rename(tmp_path / "testimonials.jsonl")
    refused(tmp_path, "'search' is given to several rows")
    (tmp_path / "testimonials.jsonl").unlink()
    shutil.copy(SAMPLES / "screenspot" / "screenspot_web.json", tmp_path / "more.json")
    refused(tmp_path, "mixes schemas", "more.json is screenspot", "test.jsonl is simple")


def test_a_file_holds_one_schema(write: Callable[..., Path]) -> None:
    path = write(ROW)
    path.write_text(json.dumps([ROW, SIMPLE_ROW]))
    refused(path, "mixes rows of the schemas screenspot and simple")


@pytest.mark.parametrize(
    ("damage", "expected"), [(b"", "0 bytes"), (b"GIF", "cannot be read"), (None, "sides below 8")]
)
def test_bad_pictures_name_their_row(write: Callable[..., Path], damage: bytes | None, expected: str) -> None:
    path = write(ROW)
    picture = path.parent / "images" / "a.png"
    if damage is None:
        Image.new("RGB", (1, 1)).save(picture)
    else:
        picture.write_bytes(damage)
    refused(path, f"{path} row 0, field img_filename", expected)


def parquet(path: Path, **columns: Any) -> Path:
    table = pq.read_table(SAMPLES / "screenspot-parquet" / "test-00000-of-00001.parquet")
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, path)
    return path


def test_parquet_boxes_are_fractions_whatever_their_size(tmp_path: Path) -> None:
    whole = pa.array([[8, 10, 48, 24], [12, 60, 28, 76]], pa.list_(pa.int64()))
    refused(parquet(tmp_path / "a.parquet", bbox=whole), "bbox column is list<int64>")
    pixels = whole.cast(pa.list_(pa.float64()))
    refused(parquet(tmp_path / "b.parquet", bbox=pixels), "row 0", "outside", "x1, y1, x2, y2 in pixels")
    single = pa.array([[0.1, 0.1, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]], pa.list_(pa.float32()))
    assert corners(load(parquet(tmp_path / "c.parquet", bbox=single))[1]) == (0, 0, 48, 96)


def test_parquet_rows_need_their_picture(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    missing = pa.array([{"bytes": None, "path": "web_demo.png"}] * 2, kind)
    refused(parquet(tmp_path / "a.parquet", image=missing), "row 0, field image", "no encoded picture")
