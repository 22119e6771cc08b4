"""Pages in a real browser: they load from disk, draw things where they are, and run no script but their own."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.report.conftest import RED, SIZES, OpenPage, line, point, rollout, write_lines
from tests.report.drawn_run import drawn_run
from tests.report.test_answers_page import evaluation
from vlmrl.cli.main import main
from vlmrl.report.flips import write_flips_page
from vlmrl.report.page import write_report

pytestmark = pytest.mark.browser

MakeRun = Callable[..., Path]
GOLD = (0, 158, 115)
HIT = (0, 114, 178)
TASKS = ("gui_grounding", "grounding", "detection", "counting", "gui_action", "visual_qa", "video_temporal")


def pixels(element: Any) -> np.ndarray:
    """What an element looks like: height x width x 3, two pixels per page pixel."""
    element.scroll_into_view_if_needed()
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


def near(patch: np.ndarray, wanted: tuple[int, int, int], tolerance: int = 40) -> bool:
    """Whether a pixel of the patch has about this colour."""
    return bool((np.abs(patch - np.array(wanted)).max(-1) <= tolerance).any())


@pytest.mark.parametrize("task", [*TASKS, pytest.param("chart_to_code", marks=pytest.mark.slow)])
def test_pages_of_every_task_load_and_fit(task: str, tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write_report(drawn_run(tmp_path / "run", task, groups=1, members=4, rows=2)))
    assert page.locator("#groups .card").count() == page.locator("#held-out .card").count() == 2
    assert page.locator("mark").count() > 4
    broken = "[...document.querySelectorAll('use')].filter((use) => use.getBBox().width === 0).length"
    assert page.evaluate(broken) == 0
    for width in (1200, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_other_page_loads_and_has_its_filters(tmp_path: Path, open_page: OpenPage) -> None:
    run = drawn_run(tmp_path / "run", "gui_action")
    (run / "environment.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
    evaluations = [evaluation(tmp_path / name, [True, name == "a"]) for name in "ab"]
    commands = {
        "preview.html": ["preview", "--task", "gui_action", "--rows", "3"],
        "rescored.html": ["rescore", str(run), "task.weights.kind=5"],
        "answers.html": ["report", str(evaluations[0])],
    }
    for name, command in commands.items():
        assert main([*command, "--out", str(tmp_path / name)]) == 0
    write_flips_page(*evaluations, tmp_path / "flips.html")
    for name in (*commands, "flips.html"):
        page = open_page(tmp_path / name)
        assert page.locator(".card").count() > 0, name
        assert page.locator(".filters output").inner_text().split()[0] == str(page.locator(".card").count())


def cards_shown(page: Any, section: str = "#groups") -> list[str]:
    return page.eval_on_selector_all(f"{section} .card:not([hidden])", "(all) => all.map((card) => card.className)")


def test_filters_show_and_sort_the_cards(make_run: MakeRun, open_page: OpenPage) -> None:
    page = open_page(write_report(make_run(3)))
    assert len(cards_shown(page)) == 9
    for name in ("dead", "unparsed", "errors"):
        page.click(f"#groups button[data-show={name}]")
        shown = cards_shown(page)
        assert shown
        assert all(name in classes.split() for classes in shown)
        assert page.inner_text("#groups output") == f"{len(shown)} of 9"
    for label, direction, number in (("Best", -1, "mean"), ("Worst", 1, "mean"), ("Most spread", -1, "spread")):
        page.click(f"#groups button:text-is('{label}')")
        values = page.eval_on_selector_all("#groups .card", f"(all) => all.map((card) => +card.dataset.{number})")
        assert values == sorted(values, key=lambda value: direction * value)
    page.select_option("#groups select[aria-label=step]", "step=2")
    assert page.inner_text("#groups output") == "3 of 9"
    page.click("#groups button[data-show=dead]")
    assert page.locator("#groups .card:not([hidden]) .step-name").all_text_contents() == ["Step 2", "Step 2"]
    page.click("#held-out button[data-show=gained]")
    assert len(cards_shown(page, "#held-out")) == 4


def test_a_run_of_several_tasks_is_filtered_by_task_and_tag(tmp_path: Path, open_page: OpenPage) -> None:
    page = open_page(write_report(drawn_run(tmp_path / "run", "gui_action", "video_temporal")))
    page.select_option("#groups select[aria-label=task]", "task=video_temporal")
    assert page.locator("#groups .card:not([hidden])").count() == page.locator("#groups .timeline").count() == 4


def test_keys_step_through_the_cards_that_are_shown(make_run: MakeRun, open_page: OpenPage) -> None:
    page = open_page(write_report(make_run(2)))
    page.click("#groups button[data-show=dead]")
    focused = "document.activeElement.querySelector('.step-name')?.textContent"
    page.focus("#groups .card:not([hidden])")
    seen = [page.evaluate(focused)]
    for key in ("j", "ArrowRight", "k"):
        page.keyboard.press(key)
        seen.append(page.evaluate(focused))
        assert abs(page.evaluate("document.activeElement.getBoundingClientRect().top")) < 900
    assert seen == ["Step 1", "Step 1", "Step 2", "Step 1"]


def test_pointing_at_a_completion_dims_the_other_answers(make_run: MakeRun, open_page: OpenPage) -> None:
    page = open_page(write_report(make_run(1)))
    card = page.locator("#groups .card").first
    card.locator("tr[data-answer='2']").hover()
    dimmed = card.locator("[data-answers].dimmed").evaluate_all("(all) => all.map((one) => one.dataset.answers)")
    assert dimmed
    assert not any("2" in answers.split() for answers in dimmed)
    page.mouse.move(0, 0)
    assert card.locator(".dimmed").count() == 0


@pytest.mark.parametrize("index", [3, 4, 5])
def test_gold_and_answers_are_drawn_at_their_pixels(index: int, make_run: MakeRun, open_page: OpenPage) -> None:
    size = SIZES[index % 3]
    x1, y1, x2, y2 = size[0] * 0.6, 40, size[0] * 0.6 + 60, 90
    page = open_page(write_report(make_run(1)))
    seen = pixels(page.locator("#held-out .card").nth(index).locator(".drawing").nth(1))
    scale = seen.shape[1] / size[0]
    assert seen.shape[0] / size[1] == pytest.approx(scale, rel=0.02)

    def at(x: float, y: float) -> np.ndarray:
        column, row = round(x * scale), round(y * scale)
        return seen[row - 1 : row + 2, column - 1 : column + 2]

    for x, inward in ((x1, 1), (x2, -1)):
        for y, downward in ((y1, 1), (y2, -1)):
            assert near(at(x, y), GOLD)
            reach = 8 / scale  # beyond outline and halo
            assert near(at(x + inward * reach, y + downward * reach), RED)
            assert not near(at(x - inward * reach, y - downward * reach), RED)
    assert near(at(x1 + 20, 60), HIT)


def test_a_span_is_drawn_at_its_seconds(tmp_path: Path, open_page: OpenPage) -> None:
    run = drawn_run(tmp_path / "run", "video_temporal", groups=6)
    page = open_page(write_report(run))
    lines = [json.loads(text) for text in (run / "rollouts" / "step-000001.jsonl").read_text().splitlines()]
    index, row = next((i, row) for i, row in enumerate(lines) if row["sample"]["gold"]["type"] == "span")
    (start, end), (duration,) = row["sample"]["gold"]["seconds"], row["sample"]["clips"]
    timeline = page.locator("#groups .card").nth(index).locator(".timeline")
    seen = pixels(timeline)
    scale = seen.shape[1] / 480
    row_under_axis = round((timeline.locator("line.axis").evaluate("(axis) => axis.y1.baseVal.value") + 3) * scale)

    def greenish(second: float, shift: int) -> bool:
        r, g, b = seen[row_under_axis, round((22 + 456 * second / duration) * scale) + shift]
        return bool(g > r + 20 and g > b)

    assert greenish(start, +3)
    assert greenish(end, -3)
    assert start == 0 or not greenish(start, -3)
    assert end == duration or not greenish(end, +3)
    assert timeline.locator("use").count() == min(8, int(duration))


def test_what_a_script_draws_stands_beside_the_target(make_run: MakeRun, open_page: OpenPage) -> None:
    run = make_run(1)
    sources = ["bar([1, 2, 3], [9, 9, 9], color='red')", "raise ValueError('<b>no</b>')"]
    answers = [rollout({"type": "code", "source": source}, text=source, reward=0.5) for source in sources]
    row = line(1, "chart", "s1p0", (256, 256), [0, 0, 1, 1], answers)
    row["sample"] |= {"gold": {"type": "code", "source": "pass"}, "extra": {"preamble": "from pylab import *\n"}}
    write_lines(run / "rollouts" / "step-000001.jsonl", [row])
    plots = open_page(write_report(run)).locator("#groups .card .plots figure")
    assert plots.nth(0).text_content() == "target"
    red = (np.abs(pixels(plots.nth(1).locator("svg")) - np.array((255, 0, 0))).max(2) < 30).mean()
    assert red > 0.1
    assert "ValueError: <b>no</b>" in plots.nth(2).text_content()


def test_text_of_a_model_does_nothing(make_run: MakeRun, open_page: OpenPage) -> None:
    page = open_page(write_report(make_run(2)))
    page.wait_for_timeout(200)
    assert "owned" not in page.title()
    assert page.locator("img, iframe, object, embed, a[href], form").count() == 0
    assert page.locator("script").count() == 1
    assert "<script>document.title='owned'</script>" in page.locator("#groups .completion").all_text_contents()[7]


def test_the_page_works_without_javascript(make_run: MakeRun, browser: Any) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(write_report(make_run(1)).as_uri())
        assert page.locator(".card").count() == 3 + 6
        assert not page.locator(".filters").first.is_visible()


def _nothing_logged(run: Path) -> None:
    for folder in ("rollouts", "evals"):
        for file in (run / folder).iterdir():
            file.unlink()
    (run / "metrics.jsonl").unlink()


def _killed(run: Path) -> None:
    (run / "summary.json").unlink()
    for file in (run / "metrics.jsonl", run / "rollouts" / "step-000002.jsonl"):
        file.write_bytes(file.read_bytes()[:-300])


def _not_numbers(run: Path) -> None:
    file = run / "metrics.jsonl"
    file.write_text(re.sub(r'("(?:reward|accuracy|entropy|score|low)": )[-0-9.]+', r"\1NaN", file.read_text()))


def _long_texts(run: Path) -> None:
    gold = [64.0, 128.0, 128.0, 168.0]
    long = line(2, "long", "s1p0", (256, 256), gold, [point(80, 140, gold)])
    long["sample"]["question"] = "why " * 3000
    long["sample"]["tags"] = {"unbroken": "x" * 5000}
    long["prompt"] = "y" * 20_000
    thought = "z" * 6000 + " " + "thinking " * 4000
    long["sample"]["mode"] = "think"
    long["rollouts"][0]["text"] = f"<think>{thought}</think><answer>THE ANSWER</answer>"
    write_lines(run / "rollouts" / "step-000002.jsonl", [long])


def _extreme_pictures(run: Path) -> None:
    lines = []
    for name, size in (("tiny", (8, 8)), ("wide", (4000, 20)), ("tall", (20, 4000)), ("huge", (6000, 5000))):
        Image.new("RGB", size, "grey").save(run / "images" / f"{name}.png")
        gold = [0.0, 0.0, size[0] / 2, size[1] / 2]
        lines.append(line(2, name, name, size, gold, [point(size[0] * share, 1, gold) for share in (0.1, 0.9, 1.5)]))
    write_lines(run / "rollouts" / "step-000002.jsonl", lines)


@pytest.mark.parametrize("spoil", [_nothing_logged, _killed, _not_numbers, _long_texts, _extreme_pictures])
def test_awkward_runs_still_render(spoil: Callable[[Path], None], make_run: MakeRun, open_page: OpenPage) -> None:
    run = make_run(2)
    spoil(run)
    page = open_page(write_report(run))
    assert page.locator("h1").is_visible()
    for width in (1200, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if spoil is _long_texts:
        assert "THE ANSWER" in page.locator("mark").all_text_contents()
    if spoil is _extreme_pictures:
        shown = page.locator("#groups .card .drawing").evaluate_all("(all) => all.map((one) => one.clientHeight)")
        assert min(shown) >= 1


def test_a_long_run_gives_a_page_that_opens_at_once(make_run: MakeRun, open_page: OpenPage) -> None:
    run = make_run(1)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 480, 3), dtype=np.uint8)).save(
        run / "images" / "noise.png"
    )
    for step in range(1, 1001):
        lines = []
        for index in range(4):
            name = f"n{step}-{index}"
            if step % 17 == 1 or step == 1000:
                (run / "images" / f"{name}.png").hardlink_to(run / "images" / "noise.png")
            gold = [10.0, 10.0, 60.0, 60.0]
            lines.append(line(step, name, name, (480, 300), gold, [point(20.0 * i, 30, gold) for i in range(8)]))
        write_lines(run / "rollouts" / f"step-{step:06}.jsonl", lines)
    file = write_report(run)
    assert 5_000_000 < file.stat().st_size < 20_000_000
    page = open_page(file)
    assert re.search(r"groups from \d+ of 1000 steps, spread evenly", page.inner_text("#groups .note >> nth=0"))
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert timing < 5000
