"""Pages of previews and of rescored runs in a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.report.conftest import HOSTILE, RED, OpenPage, draw_screen
from tests.report.drawn_run import drawn_run
from tests.report.test_browser import GOLD, HIT, near, pixels
from vlmrl.cli.main import main

pytestmark = pytest.mark.browser


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Two screens larger than the embedded model sees, with a red element and a question full of markup."""
    (tmp_path / "images").mkdir()
    found = []
    for i, size in enumerate(((640, 400), (390, 844))):
        x1, y1, x2, y2 = size[0] // 4, size[1] // 2, size[0] // 4 + 120, size[1] // 2 + 60
        draw_screen(tmp_path / "images" / f"{i}.png", size, [x1, y1, x2, y2], seed=i)
        found.append({"image": f"images/{i}.png", "instruction": f"press {HOSTILE[:-2]}", "bbox": [x1, y1, x2, y2]})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found))
    return tmp_path / "rows.jsonl"


def preview_of(rows: Path, open_page: OpenPage) -> Any:
    page = rows.with_name("preview.html")
    assert main(["preview", "--data", str(rows), "--out", str(page)]) == 0
    return open_page(page)


@pytest.mark.parametrize("index", [0, 1])
def test_a_preview_draws_gold_on_the_element_of_the_resized_picture(
    index: int, rows: Path, open_page: OpenPage
) -> None:
    page = preview_of(rows, open_page)
    (x1, y1, x2, y2) = json.loads(rows.read_text().splitlines()[index])["bbox"]
    drawing = page.locator("#rows .card").nth(index).locator(".drawing")
    seen = pixels(drawing)
    size = Image.open(rows.parent / "images" / f"{index}.png").size
    scale = seen.shape[1] / size[0]

    def at(x: float, y: float) -> Any:
        column, row = round(x * scale), round(y * scale)
        return seen[row - 2 : row + 3, column - 2 : column + 3]

    for x in (x1, x2):
        for y in (y1, y2):
            assert near(at(x, y), GOLD)
    assert near(at((x1 + x2) / 2, (y1 + y2) / 2), HIT)
    assert near(at(x1 + 25, y1 + 30), RED, tolerance=60)  # the model's few pixels blur it
    assert page.title() == "gui_grounding preview · vlmrl"


def test_a_previews_rows_are_sorted_and_run_no_markup(rows: Path, open_page: OpenPage) -> None:
    page = preview_of(rows, open_page)
    assert page.title() != "owned"
    assert page.locator("#rows .card").count() == 2
    assert page.locator("#rows script, #rows img").count() == 0
    for label, field, direction in (("Smallest target", "target", 1), ("Longest prompt", "tokens", -1)):
        page.click(f"#rows button:text-is('{label}')")
        values = page.eval_on_selector_all("#rows .card", f"(all) => all.map((card) => +card.dataset.{field})")
        assert values == sorted(values, key=lambda value: direction * value)
    assert page.locator("#rows button[data-show=problems]").is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_rescored_page_shows_old_and_new_rewards(tmp_path: Path, open_page: OpenPage) -> None:
    run = drawn_run(tmp_path / "run", "gui_grounding", groups=3, members=4)
    (run / "config.yaml").write_text("task:\n  name: gui_grounding\n")
    (run / "environment.json").write_text('{"model_type": "qwen3_vl"}')
    assert main(["rescore", str(run), "task.weights.point_in_box=0", "task.weights.format=1"]) == 0
    page = open_page(run / "rescored.html")
    assert page.locator("#components tbody tr").count() > 5
    cards = page.locator("#groups .card")
    assert cards.count() == 6
    old, new, change = (
        page.eval_on_selector_all(f"#groups td[data-label={name}]", "(all) => all.map((cell) => +cell.textContent)")
        for name in ("old", "new", "change")
    )
    unparsed = page.locator("#groups tr[data-answer]", has_text="unparsed").count()
    assert unparsed == 6
    assert sorted(new) == [0.0] * unparsed + [1.0] * (len(new) - unparsed)
    assert change == pytest.approx([b - a for a, b in zip(old, new, strict=True)], abs=0.011)
    page.click("#groups button:text-is('Largest change')")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
