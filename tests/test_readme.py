"""Every command and every snippet that the documentation shows runs as written, on less data and fewer steps.

A page's code blocks run in their order, in one folder. In a block without a language the lines are commands; `python`
is executed, in one namespace per page; a block whose fence names a file (```json rows.jsonl) is written there; `text`
is what something prints.
"""

import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.media.clips import steady, write_clip
from tests.random_models import save_random_model
from vlmrl.cli.main import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<file>\S+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
SHORTER = [
    "run.steps=1",
    "data.held_out_rows=4",
    "rollout.prompts_per_step=2",
    "rollout.group_size=2",
    "rollout.max_completion_tokens=16",
]
NOT_OURS = ("pip ", "make ", "cd ", "accelerate ")
"""Commands of other programs, which are not run."""
PAGES = (
    "README.md",
    "docs/quick-start.md",
    "docs/your-data.md",
    "docs/your-task.md",
    "docs/rewards-and-frames.md",
    "docs/scaling.md",
    "docs/design.md",
    "docs/run-folder.md",
    "docs/algorithms.md",
    "docs/evaluation.md",
    "docs/recipes.md",
    "docs/sandbox.md",
    "docs/troubleshooting.md",
    "docs/algorithms.md",
    "docs/own-algorithm.md",
)
BEFORE = {"docs/evaluation.md": [["train", "--run", "runs/first"]]}
"""What the reader of a page has done already."""
ELSEWHERE = {
    "docs/bench.md": "measurements that take minutes; tests/bench runs the commands at small sizes",
    "docs/families.md": "no commands",
    "docs/own-algorithm.md": "tests/algorithms/test_describe.py runs examples/own_algorithm.py, which it quotes",
    "docs/learning.md": "trainings that take minutes; tests/training trains the same tasks",
}
"""Pages that are not run here, and why."""


@dataclass(frozen=True)
class Block:
    language: str
    file: str | None
    code: str

    @property
    def commands(self) -> Iterator[list[str]]:
        """The commands of a block, a continued line as one; comments and other programs' commands left out."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and not line.startswith(NOT_OURS):
                assert words[0] == "vlmrl", f"a command that nothing runs: {line}"
                yield words[1:]


def blocks(page: Path) -> list[Block]:
    return [Block(m["language"], m["file"], m["code"]) for m in FENCE.finditer(page.read_text())]


def make_media(rows: str) -> None:
    """Stand-ins for the pictures and videos that rows name, where the rows' folder has none."""
    for row in map(json.loads, rows.splitlines()):
        for name in [*row.get("images", ()), row.get("image")]:
            if name and not Path(name).exists():
                Image.new("RGB", (120, 96), "steelblue").save(name)
        if "video" in row and not Path(row["video"]).exists():
            write_clip(Path(row["video"]), steady(4))


def run_command(words: list[str]) -> None:
    """One `vlmrl` command, cut short."""
    starts = words[0] == "train" and "--resume" not in words and "--dry-run" not in words
    steps = SHORTER if starts else []
    steps = ["--steps", "2", "data.held_out_rows=2"] if words[0] == "warmup" else steps
    limit = ["--limit", "4"] if words[0] == "eval" else []
    assert main([*words, *steps, *limit]) == 0, words


def run_page(page: Path) -> None:
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.code)
            if block.language == "json":
                make_media(block.code)
        elif block.language == "python":
            exec(compile(block.code, str(page), "exec"), namespace)
        elif not block.language:
            for words in block.commands:
                run_command(words)
        else:
            assert block.language == "text", f"{page}: a block of {block.language} that nothing runs"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The current directory holds what the pages name: rows.json, a folder of ScreenSpot-v2, a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    found = []
    for i in range(10):
        Image.new("RGB", (160, 96), (20 * i, 90, 200)).save(tmp_path / "images" / f"{i}.png")
        row = {"img_filename": f"{i}.png", "bbox": [20, 10, 40, 20], "instruction": "click it"}
        found.append({**row, "data_type": "text", "data_source": "web"})
    (tmp_path / "rows.json").write_text(json.dumps(found))
    (tmp_path / "screenspot_v2").mkdir()
    (tmp_path / "screenspot_v2" / "screenspot_web_v2.json").write_text(json.dumps(found))
    (tmp_path / "screenspot_v2" / "images").symlink_to(tmp_path / "images")
    # stands for the full-size checkpoint, which a test cannot download
    save_random_model("qwen2_5_vl", tmp_path / "Qwen" / "Qwen2.5-VL-3B-Instruct")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_runs(page: str, folder: None) -> None:
    for words in BEFORE.get(page, ()):
        run_command(words)
    run_page(ROOT / page)


@pytest.mark.slow
def test_the_examples_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = tmp_path / "own_task"
    shutil.copytree(ROOT / "examples" / "own_task", example)
    monkeypatch.chdir(example)
    run_page(example / "README.md")
    assert (example / "runs" / "squares" / "summary.json").is_file()


def test_every_page_is_run_or_says_where() -> None:
    pages = {str(path.relative_to(ROOT)) for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
    assert pages == {*PAGES, *ELSEWHERE}


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        missing = [target for target in targets if not (page.parent / target).exists()]
        assert not missing, f"{page.name} points at {missing}"


def test_settings_that_pages_name_exist() -> None:
    from vlmrl.config import Config
    from vlmrl.settings_help import setting_names

    known = set(setting_names(Config))
    rooms = {name.partition(".")[0] for name in known}
    named = re.compile(rf"`((?:{'|'.join(sorted(rooms))})\.[a-z_.]+)(?:=[^`]*)?`")
    for page in (ROOT / "docs").glob("*.md"):
        for name in named.findall(page.read_text()):
            # below a mapping (task.options, algorithm.surrogate) anything may stand, and a file is no setting
            free = any(name.startswith(f"{other}.") for other in known) or name.endswith(".py")
            assert free or name in known, f"{page.name}: no setting {name}"


def test_make_targets_the_readme_names_exist() -> None:
    lines = itertools.chain.from_iterable(block.code.splitlines() for block in blocks(ROOT / "README.md"))
    named = {line.split()[1] for line in lines if line.startswith("make ")}
    assert named == {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named)
