"""The page and the command say what the pieces' own docstrings say."""

import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.describe import overview, page, show
from vlmrl.algorithms.points import POINTS
from vlmrl.algorithms.presets import PRESETS
from vlmrl.cli.main import main
from vlmrl.config import AlgorithmConfig
from vlmrl.settings_help import docstrings

ROOT = Path(__file__).parents[2]
PIECES = [(point, name, piece) for point, one in POINTS.items() for name, piece in one.shipped().items()]


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "algorithms.md").read_text()
    assert written == page(), "write it anew: python -m vlmrl.algorithms.describe > docs/algorithms.md"


def test_every_preset_has_a_line_and_a_description() -> None:
    listed = overview()
    for name, preset in PRESETS.items():
        assert re.search(rf"^{name} +{re.escape(preset.what)}", listed, re.MULTILINE), name
        text = show(name)
        assert preset.paper in text
        for point in preset.settings:
            assert f"algorithm.{point}" in text, (name, point)


@pytest.mark.parametrize(("point", "name", "piece"), PIECES, ids=[f"{point}-{name}" for point, name, _ in PIECES])
def test_every_piece_and_option_is_explained(point: str, name: str, piece: type) -> None:
    assert piece.__doc__
    assert not piece.__doc__.startswith(f"{piece.__name__}("), "the dataclass's own"
    options = [one.name for one in fields(piece) if one.init]
    assert set(options) <= set(docstrings(piece)), name
    text = show(name)
    assert all(option in text for option in options)


def test_every_point_is_explained_alike_in_settings_and_algorithm() -> None:
    assert set(POINTS) <= set(docstrings(Algorithm))
    assert set(POINTS) <= set(docstrings(AlgorithmConfig))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["algorithms"]) == 0
    assert "gspo" in capsys.readouterr().out
    assert main(["algorithms", "show", "gspo"]) == 0
    assert (
        "algorithm.surrogate={name: clip, level: sequence, clip_low: 0.0003, clip_high: 0.0004}"
        in capsys.readouterr().out
    )
    assert main(["algorithms", "show", "soft_overlong"]) == 0
    assert "algorithm.reward_transforms.soft_overlong.buffer = null" in capsys.readouterr().out
    assert main(["algorithms", "show", "gsop"]) == 2
    assert "did you mean gspo" in capsys.readouterr().err


def test_the_example_is_the_page_s_and_short() -> None:
    example = (ROOT / "examples" / "own_algorithm.py").read_text()
    body = re.search(r"@dataclass.*?self\.limit\)\n", example, re.DOTALL)
    assert body is not None
    assert body[0] in (ROOT / "docs" / "own-algorithm.md").read_text()
    assert len(body[0].splitlines()) <= 15
    base = runpy.run_path(str(ROOT / "examples" / "own_algorithm.py"))["Flattened"]
    assert base().limit == 2.0


@pytest.mark.slow
def test_the_example_trains(tmp_path: Path) -> None:
    script = (ROOT / "examples" / "own_algorithm.py").read_text().replace('"20"', '"1"')
    (tmp_path / "own_algorithm.py").write_text(script.replace("piece]", 'piece, "data.held_out_rows=2"]'))
    done = subprocess.run(
        [sys.executable, "own_algorithm.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (config,) = tmp_path.glob("runs/*/config.yaml")
    assert "own_algorithm.Flattened" in config.read_text()


def test_every_point_of_the_page_on_own_pieces_exists() -> None:
    table = (ROOT / "docs" / "own-algorithm.md").read_text()
    rows = re.findall(r"^\| (`[^|]+) \| `(\w+)\.(\w+)` \|", table, re.MULTILINE)
    named = {name for points, _, _ in rows for name in re.findall(r"`(\w+)`", points)}
    assert named == set(POINTS)
    for points, module, base in rows:
        for name in re.findall(r"`(\w+)`", points):
            assert POINTS[name].module.__name__ == f"vlmrl.algorithms.{module}"
            assert POINTS[name].base.__name__ == base
