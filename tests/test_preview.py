"""The preview's rows are what training's own processor, parser and rewards make of them, and its page shows them."""

import base64
import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.cli.main import main
from vlmrl.config import Config
from vlmrl.geometry import Unit
from vlmrl.models.load import load_family
from vlmrl.paths import tasks_dir
from vlmrl.preview import preview
from vlmrl.resolve import resolve

TASKS = sorted(file.parent.name for file in tasks_dir().glob("*/task.py"))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten screens in ScreenSpot's format; the last one is large and its target about a pixel."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    found = []
    for i in range(10):
        size, box = ((160, 96), [20, 10, 40, 24]) if i < 9 else ((3000, 1800), [1001, 1001, 1.2, 1.2])
        Image.new("RGB", size, (20 * i, 90, 200)).save(tmp_path / "images" / f"{i}.png")
        row = {"img_filename": f"{i}.png", "bbox": box, "instruction": f"click <b>{i}</b>"}
        found.append({**row, "data_type": "text", "data_source": "web"})
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(found))
    return file


def test_a_row_is_what_training_makes_of_it(rows: Path) -> None:
    config = resolve(Config, words=[f"data.train={rows}"])
    found = preview(config, 4)
    assert found.total == 10
    assert [row.group.sample.question for row in found.rows] == [f"click <b>{i}</b>" for i in (0, 3, 6, 9)]
    first = found.rows[0]
    family = load_family(config.model)
    assert found.coordinates is family.convention.unit is Unit.NORM1000
    assert first.group.prompt.text.count("click <b>0</b>") == 1
    assert len(family.encode(first.group.sample, "").token_ids_P) < len(first.group.prompt.token_ids_P)
    assert first.group.rollouts[0].text == '{"point_2d": [250, 229]}'
    assert first.metric == 1
    assert first.target == pytest.approx(40 * 24 / (160 * 96))
    assert first.model_target == "40x24 px"
    assert first.blind == ("the picture's centre", pytest.approx(0.1))
    assert not first.problems
    assert found.rows[-1].metric == 0
    assert "finer than the model's coordinates" in found.rows[-1].problems[0]
    assert found.faulty == 1


def test_the_page_shows_the_prompt_the_answer_and_the_resized_picture(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (rows.parent / "images" / "0.png").unlink()
    Image.new("RGB", (320, 192), (200, 30, 30)).save(rows.parent / "images" / "0.png")
    content = json.loads(rows.read_text())
    content[0]["bbox"] = [40, 20, 80, 48]
    rows.write_text(json.dumps(content))
    assert main(["preview", "--data", str(rows), "--rows", "2", "--out", "page.html"]) == 0
    assert "2 of 10 rows, 1 with problems" in capsys.readouterr().out
    page = Path("page.html").read_text()
    assert "click &lt;b&gt;0&lt;/b&gt;" in page
    assert "<b>0</b>" not in page
    assert "&lt;|im_start|&gt;user" in page
    assert "model sees 160x96" in page
    assert "finer than the model&#x27;s coordinates" in page
    pictures = [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^\"]+)\"", page)]
    assert {picture.size for picture in pictures} == {(160, 96)}  # both in the model's size
    assert "://" not in page


def test_a_row_without_a_usable_picture_is_named_and_the_others_shown(rows: Path) -> None:
    (rows.parent / "images" / "0.png").write_bytes((rows.parent / "images" / "0.png").read_bytes()[:60])
    found = preview(resolve(Config, words=[f"data.train={rows}"]), 3)
    assert len(found.rows) == 2
    assert "0.png is damaged" in found.unusable[0]
    assert found.faulty == 2


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_page(task: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["preview", "--task", task, "--rows", "2", "--out", str(page)]) == 0
    shown = page.read_text()
    assert shown.count("<article") == 2
    assert "parsed back:" in shown


def test_no_rows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["preview", "--rows", "0"])
    assert "give 1 or more" in capsys.readouterr().err
