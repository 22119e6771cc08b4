"""The report page: what it says, what it draws and where, and that nothing in a run folder can break it."""

import base64
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tests.report.conftest import write_lines
from vlmrl.errors import UserError
from vlmrl.geometry import Box, Point
from vlmrl.report import charts
from vlmrl.report import page as run_page
from vlmrl.report.charts import ChartStudio
from vlmrl.report.illustration import Illustrator
from vlmrl.report.logged import LoggedGroup
from vlmrl.report.page import write_report
from vlmrl.report.pictures import PictureLibrary
from vlmrl.report.run_folder import RunFolder
from vlmrl.report.sampling import Limits
from vlmrl.sandbox import Outcome, Status
from vlmrl.types import Unparsed

MakeRun = Callable[..., Path]
Attributes = dict[str, str | None]


class Page(HTMLParser):
    """Start tags with their attributes, the text of the page, and whether every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.tags: list[tuple[str, Attributes]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, css_class: str = "") -> list[Attributes]:
        wanted = set(css_class.split())
        return [attrs for name, attrs in self.tags if name == tag and wanted <= set((attrs.get("class") or "").split())]


def report_of(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_headline_shows_scores_with_interval_and_facts(make_run: MakeRun) -> None:
    page = report_of(make_run())
    assert "40.6% [34.8, 46.7] → 57.6% [51.5, 63.6] +17.0 points" in page.text
    assert "Held-out hit, 95% interval, 256 rows" in page.text
    for fact in ("Task gui_grounding", "Model tiny", "Seed 3", "Steps 8 of 8", "Time training 2 min 20 s"):
        assert fact in page.text
    assert "not finished" not in page.text
    assert "Left out" not in page.text


def test_page_needs_no_network_and_allows_only_its_own_script(make_run: MakeRun) -> None:
    page = report_of(make_run())
    references = [attrs[name] for _, attrs in page.tags for name in ("href", "src") if attrs.get(name)]
    assert all(reference.startswith(("#", "data:image/")) for reference in references if reference)
    assert "http" not in page.source.replace("http-equiv", "")
    policy = next(attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs) or ""
    assert "default-src 'none'" in policy
    assert len(page.all("script")) == 1
    assert "unsafe" not in policy


def test_model_text_is_escaped(make_run: MakeRun) -> None:
    page = report_of(make_run())
    assert "<script>document.title='owned'</script>" in page.text
    assert not page.all("img")
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "\x00" not in page.source
    assert "ZeroDivisionError: division by <zero>" in page.text


def test_text_that_utf8_cannot_encode_is_shown_as_replacement(make_run: MakeRun) -> None:
    run = make_run(1)
    file = run / "rollouts" / "step-000001.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace("click the", "click \\ud800 the"), encoding="utf-8")
    assert "click \ufffd the red button" in report_of(run).text


def test_every_curve_is_drawn(make_run: MakeRun) -> None:
    page = report_of(make_run())
    for title in (
        "Accuracy", "Reward", "No answer", "Dead groups", "Completion length", "Entropy", "Gradient norm",
        "Clipped tokens", "Seconds per step",
    ):  # fmt: skip
        assert any(attrs.get("aria-label") == f"{title} over steps" for attrs in page.all("svg"))
    assert page.all("path", "band")
    assert page.all("circle", "point")
    assert not any("nan" in (path["d"] or "") for path in page.all("path"))


def test_curves_of_a_long_run_are_thinned_and_say_so(make_run: MakeRun) -> None:
    run = make_run(1)
    lines = [{"kind": "train", "step": step, "reward": step % 7, "accuracy": 0.5} for step in range(1, 5001)]
    write_lines(run / "metrics.jsonl", lines)
    page = report_of(run)
    assert "Lines: 1,000 steps, spread evenly, and from 40 steps on a running mean" in page.text
    assert max(len(numbers_of(path["d"])) for path in page.all("path", "raw")) <= 2 * 1000


def test_numbers_that_an_algorithm_adds_are_drawn_too(make_run: MakeRun) -> None:
    run = make_run(3)
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    pieces = {"buffer": {"size": 7, "mode": "fifo"}, "scale": 0.5}
    added = [one | {"beta": 0.1, "note": "x", "pieces": pieces} if one["kind"] == "train" else one for one in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in added), encoding="utf-8")
    page = report_of(run)
    drawn = [attrs.get("aria-label") for attrs in page.all("svg")]
    assert "beta over steps" in drawn
    assert drawn.count("pieces over steps") == 1
    assert "buffer/size 7.00 → 7.00" in page.text
    assert "note over steps" not in drawn


def first_drawing(run: Path, step: int = 1, index: int = 0) -> tuple[LoggedGroup, Page]:
    folder, library = RunFolder(run), PictureLibrary()
    group = folder.groups(run / "rollouts" / f"step-{step:06}.jsonl")[index]
    illustrator = Illustrator(folder, library, ChartStudio(library))
    drawn = illustrator.drawings(group, group.rollouts, numbered=True, max_height=560)
    assert drawn is not None
    return group, Page(drawn)


def test_gold_is_drawn_in_original_pixels(make_run: MakeRun) -> None:
    _, drawn = first_drawing(make_run(1), index=1)
    assert drawn.all("svg")[0]["viewbox"] == "0 0 640 400"
    assert drawn.all("svg")[0]["width"] == "480"
    assert drawn.all("use")[0]["transform"] == "scale(640 400)"
    gold = drawn.all("rect", "gold")[0]
    assert [gold[name] for name in ("x", "y", "width", "height")] == ["160", "200", "160", "40"]


def test_hits_are_circles_and_misses_are_crosses_where_the_answers_are(make_run: MakeRun) -> None:
    group, drawn = first_drawing(make_run(1))
    assert isinstance(group.gold, Box)
    points = [rollout.answer for rollout in group.rollouts if isinstance(rollout.answer, Point)]
    inside = {(f"{point.x:.2f}", f"{point.y:.2f}") for point in points if group.gold.contains(point)}
    circles = {(f"{float(c['cx'] or 0):.2f}", f"{float(c['cy'] or 0):.2f}") for c in drawn.all("circle", "hit")}
    assert circles == inside
    assert len(drawn.all("path", "miss")) == len({point for point in points if not group.gold.contains(point)})


def test_answers_at_one_place_share_a_label_and_every_answer_has_a_number(make_run: MakeRun) -> None:
    _, same_place = first_drawing(make_run(1), index=2)
    assert same_place.text == "1-8"


def test_numbers_name_the_rollouts_of_the_table(make_run: MakeRun) -> None:
    group, drawn = first_drawing(make_run(1))
    assert drawn.texts.pop() == "Without a place: no answer (8)"
    numbers = sorted(int(number) for label in drawn.texts for number in label.split(","))
    parsed = [n for n, rollout in enumerate(group.rollouts, start=1) if not isinstance(rollout.answer, Unparsed)]
    assert numbers == parsed == [1, 2, 3, 4, 5, 6, 7]


def test_an_answer_off_the_picture_is_marked_at_its_edge(make_run: MakeRun) -> None:
    run = make_run(1)
    _, drawn = first_drawing(run)
    corner = [numbers_of(cross["d"]) for cross in drawn.all("path", "miss")]
    assert any(max(path[0::2]) > 250 and min(path[1::2]) < 6 for path in corner)
    assert all(0 <= coordinate <= 256 for path in corner for coordinate in path)
    assert "point (384.0, -20.0), off the picture, outside gold" in report_of(run).text


def numbers_of(path: str | None) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+", path or "")]


def test_box_answers_are_dashed_and_their_centre_decides(make_run: MakeRun) -> None:
    _, drawn = first_drawing(make_run(1), index=1)
    assert [box["x"] for box in drawn.all("rect", "hit")] == ["160", "168"]
    assert [box["x"] for box in drawn.all("rect", "miss")] == ["250"]
    assert all(box["stroke-dasharray"] for box in (*drawn.all("rect", "hit"), *drawn.all("rect", "miss")))


def test_group_cards_explain_every_rollout(make_run: MakeRun) -> None:
    text = report_of(make_run(1)).text
    assert "unparsed: no JSON object with point_2d" in text
    assert "iou failed: ZeroDivisionError: division by <zero>" in text
    assert "format is unscorable: the completion was cut" in text
    assert text.count("distance does not apply: a box has no single position") == 1
    assert "distance is unscorable" not in text
    assert "14 tokens, cut at the token limit" in text
    assert "14 tokens, stop" in text
    assert "256x256 px, model sees 128x128 · gold box (64.0, 128.0, 128.0, 168.0)" in text


def test_filters_find_their_cards(make_run: MakeRun) -> None:
    page = report_of(make_run(2))
    for css_class, number in (
        ("dead", 4),
        ("unparsed", 2),
        ("errors", 2),
        ("gained", 4),
        ("lost", 1),
        ("kept", 1),
    ):
        assert len(page.all("article", f"card {css_class}")) == number
    assert {button["data-show"] for button in page.all("button")} >= {
        "dead",
        "unparsed",
        "errors",
        "gained",
        "lost",
    }
    assert all("hidden" in bar for bar in page.all("nav", "filters"))
    assert not any("hidden" in card for card in page.all("article"))


def test_held_out_rows_stand_side_by_side(make_run: MakeRun) -> None:
    page = report_of(make_run())
    assert "Of 6 rows: 4 wrong before, right after, 1 right before, wrong after, 1 right both times" in page.text
    assert page.text.count("Before (step 0)") == page.text.count("After (step 8)") == 6


def test_scores_by_kind_of_row(make_run: MakeRun) -> None:
    text = report_of(make_run()).text
    assert "desktop/icon 60 30.6% 47.6%" in text
    assert "Micro average (all rows) 256 40.6% [34.8, 46.7] 57.6% [51.8, 63.7]" in text
    assert "Macro average (mean of the cells) 36.6% 53.6%" in text


def test_pictures_are_embedded_once_as_thumbnails(make_run: MakeRun) -> None:
    page = report_of(make_run(2))
    images = page.all("image")
    assert len({image["id"] for image in images}) == len(images) == 2 * 3 + 6
    assert {use["href"] for use in page.all("use")} == {f"#{image['id']}" for image in images}
    for image in images:
        data = base64.b64decode((image["href"] or "").split(",")[1])
        with Image.open(io.BytesIO(data)) as thumbnail:
            assert thumbnail.width <= 480


def test_a_killed_run_gives_a_report_of_what_is_there(make_run: MakeRun) -> None:
    page = report_of(make_run(4, finished=False))
    assert "This run has not finished" in page.text
    assert "40.6% [34.8, 46.7] → 57.6%" in page.text
    assert "1 line of metrics.jsonl, 1 line of rollouts/step-000004.jsonl" in page.text
    assert len(page.all("article", "card")) == 4 * 3 + 6


def test_the_summary_of_an_earlier_part_is_not_the_result_of_a_resumed_run(make_run: MakeRun) -> None:
    run = make_run(8)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    (run / "summary.json").write_text(json.dumps(summary | {"steps": 4}), encoding="utf-8")
    assert "This run has not finished" in report_of(run).text


@pytest.mark.parametrize(
    "damage",
    [
        "summary.json",
        "environment.json",
        "config.yaml",
        "metrics.jsonl",
        "timings.jsonl",
        "rollouts/step-000002.jsonl",
    ],
)
@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"a": [', "null\n3\n", '{"step": "x", "sample": 3}\n', "\xff\xfe"]
)
def test_no_damaged_file_breaks_the_page(make_run: MakeRun, damage: str, content: str) -> None:
    run = make_run(2)
    (run / damage).write_text(content, encoding="latin-1")
    assert "gui_grounding" in report_of(run).text or damage == "config.yaml"


@pytest.mark.parametrize("name", ["rollouts", "evals", "images", "timings.jsonl", "environment.json", "metrics.jsonl"])
def test_no_missing_file_breaks_the_page(make_run: MakeRun, name: str) -> None:
    run = make_run(2)
    (run / name).rename(run / f"{name}.gone")
    assert "gui_grounding" in report_of(run).text


def test_a_run_before_its_first_step(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("task:\n  name: gui_grounding\n", encoding="utf-8")
    page = report_of(tmp_path)
    assert "No step has been logged yet." in page.text
    assert "No group has been logged yet." in page.text


def test_answers_to_a_picture_that_is_not_there_are_drawn_on_an_empty_frame(make_run: MakeRun) -> None:
    run = make_run(1)
    (run / "images" / "s1p0.png").write_bytes((run / "images" / "s1p0.png").read_bytes()[:60])
    (run / "images" / "s1p1.png").unlink()
    file = run / "rollouts" / "step-000001.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('["s1p2"]', "[null]"), encoding="utf-8")
    page = report_of(run)
    assert len(page.all("svg", "drawing blank")) == 2
    assert len(page.all("use")) == 2 * 6


def test_a_picture_name_cannot_leave_the_run(make_run: MakeRun) -> None:
    run = make_run(1)
    (run / "images" / "s1p0.png").rename(run / "secret.png")
    file = run / "rollouts" / "step-000001.jsonl"
    file.write_text(file.read_text(encoding="utf-8").replace('["s1p0"]', '["../secret"]'), encoding="utf-8")
    assert len(report_of(run).all("image")) == 2 + 6


def test_a_link_out_of_the_run_is_not_followed(make_run: MakeRun) -> None:
    run = make_run(1)
    picture = run / "images" / "s1p0.png"
    picture.rename(run.parent / "secret.png")
    picture.symlink_to(run.parent / "secret.png")
    assert len(report_of(run).all("image")) == 2 + 6


def answer_with_scripts(run: Path, *sources: str) -> None:
    """Makes the first group of a run answer with scripts."""
    file = run / "rollouts" / "step-000001.jsonl"
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    first["sample"]["gold"] = {"type": "code", "source": "draw()"}
    first["sample"]["extra"] = {"preamble": "import draw\n"}
    first["rollouts"] = first["rollouts"][: len(sources)]
    for rollout, source in zip(first["rollouts"], sources, strict=True):
        rollout["answer"] = {"type": "code", "source": source}
    file.write_text(json.dumps(first) + "\n", encoding="utf-8")


def test_scripts_that_are_the_same_are_run_once_and_share_a_picture(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Drawing:
        def __init__(self, workers: int) -> None: ...
        def close(self) -> None: ...
        def run(self, scripts: list[str]) -> list[Outcome]:
            ran.extend(scripts)
            return [Outcome(Status.TIMEOUT, None, "too <slow>") for _ in scripts]

    monkeypatch.setattr(charts, "Sandbox", Drawing)
    run = make_run(1)
    answer_with_scripts(run, "a", "b", "a")
    text = report_of(run).text
    assert ran == ["import draw\na", "import draw\nb"]
    assert "target timeout: too <slow> 1,3 timeout: too <slow> 2" in text
    assert "Gold script draw()" in text


def test_where_scripts_cannot_run_the_page_says_why(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(workers: int) -> None:
        raise UserError("the sandbox needs Linux")

    monkeypatch.setattr(charts, "Sandbox", refuse)
    run = make_run(1)
    answer_with_scripts(run, "a", "b")
    assert report_of(run).text.count("not drawn: the sandbox needs Linux") == 2


def test_long_runs_are_sampled_and_say_so(make_run: MakeRun) -> None:
    run = make_run(61, groups_per_step=1)
    page = report_of(run)
    assert "60 groups from 60 of 61 steps, spread evenly" in page.text
    steps = [text for text in page.texts if re.fullmatch(r"Step \d+", text)]
    assert (steps[0], steps[-1]) == ("Step 1", "Step 61")


def test_a_page_shows_as_many_steps_as_its_budget_allows(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = make_run(16, groups_per_step=1)
    monkeypatch.setattr(run_page, "Limits", lambda: Limits(groups_bytes=120_000))
    page = report_of(run)
    shown = len(page.all("image")) - 6
    assert 4 <= shown < 16
    assert f"{shown} groups from {shown} of 16 steps, spread evenly" in page.text
    everything = write_report(run, tmp_path / "all.html", everything=True).read_text(encoding="utf-8")
    assert "16 groups from every step" in Page(everything).text


def test_long_completions_are_cut_and_say_so(make_run: MakeRun) -> None:
    run = make_run(1)
    file = run / "rollouts" / "step-000001.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    first["rollouts"][0]["text"] = "x" * 50_000
    file.write_text(json.dumps(first) + "\n", encoding="utf-8")
    text = report_of(run).text
    assert "(48,000 more characters)" in text
    assert "x" * 2001 not in text


def test_a_completion_that_the_policy_did_not_sample_says_so(make_run: MakeRun) -> None:
    run = make_run(1)
    file = run / "rollouts" / "step-000001.jsonl"
    first = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    first["rollouts"][0]["source"] = "expert"
    file.write_text(json.dumps(first) + "\n", encoding="utf-8")
    assert report_of(run).text.count("14 tokens, stop, expert") == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has none of config.yaml, metrics.jsonl, summary.json"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        write_report(tmp_path / "missing")


def test_an_unwritable_place_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="choose another place"):
        write_report(make_run(1), tmp_path / "missing" / "report.html")


def test_the_report_can_be_written_elsewhere(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(1)
    assert write_report(run, tmp_path / "page.html") == tmp_path / "page.html"
    assert not (run / "report.html").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".page")]
