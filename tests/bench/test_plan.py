"""The plan: tokens from headers equal the processor's, and what it proposes fits."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.bench.devices import DATA_SHEETS
from vlmrl.bench.plan import histogram, make_plan, percentile, with_pixel_limit
from vlmrl.bench.prompt_sizes import prompt_sizes
from vlmrl.cli.main import main
from vlmrl.config import Config
from vlmrl.models.load import load_family
from vlmrl.registry import find_task

SIZES = [(640, 480), (1920, 1080), (3840, 2160), (800, 4000)]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A made-up data set of one row per picture size."""
    lines = []
    for i, size in enumerate(SIZES):
        Image.new("RGB", size, "gray").save(tmp_path / f"{i}.png")
        lines.append({"image": f"{i}.png", "instruction": f"the {'very ' * i}large button", "bbox": [10, 10, 90, 60]})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def config_of(rows: Path | None, model: str) -> Config:
    config = Config()
    config.model.path = model
    config.data.train = str(rows) if rows else None
    return config


def test_tokens_from_headers_are_the_processors_on_the_embedded_model(rows: Path) -> None:
    config = config_of(rows, "tiny")
    task, family = find_task("gui_grounding").create({}), load_family(config.model)
    samples = task.load(rows)
    sizes = prompt_sizes(family, task, samples)
    for sample, size in zip(samples, sizes, strict=True):
        prompt = family.encode(sample, task.request(sample, family.convention))
        assert size.tokens == len(prompt.token_ids_P)
        assert size.patches == len(prompt.vision["pixel_values"])


def test_everything_fits_the_embedded_model(rows: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    assert main(["plan", "--data", str(rows), "--device", "cpu", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "tokens per prompt over 4 rows" in shown
    assert "no pixel limit is needed" in shown
    written = json.loads(file.read_text())
    assert written["max_pixels"] is None
    assert written["step_seconds"] is None
    assert sum(bin_["rows"] for bin_ in written["histogram"]) == 4


def test_pixel_limit_makes_the_longest_prompts_fit(rows: Path) -> None:
    config = config_of(rows, "random:qwen2_5_vl-7b")
    config.model.lora.rank = 16
    plan = make_plan(config, "a100-40gb")
    group = plan.config.rollout.group_size * plan.config.rollout.max_completion_tokens
    assert plan.max_pixels
    assert plan.max_tokens_per_pass
    assert plan.tokens[-1] + group > plan.max_tokens_per_pass
    limited = max(size.tokens for size in with_pixel_limit(plan))
    assert limited + group <= plan.max_tokens_per_pass
    assert limited + group > 0.9 * plan.max_tokens_per_pass
    assert plan.memory.of_pass(limited, group) < DATA_SHEETS["a100-40gb"].memory
    assert plan.step_time
    assert plan.step_time.total > 0


def test_a_model_that_does_not_fit_is_said_to(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--model", "random:qwen2_5_vl-7b", "--data", str(rows), "--device", "a100-40gb"]
    assert main(words) == 0
    assert "train adapters (model.lora.rank=16)" in " ".join(capsys.readouterr().out.split())


def test_lora_is_planned_as_adapters(rows: Path) -> None:
    config = config_of(rows, "random:qwen2_5_vl-7b")
    config.model.lora.rank = 16
    hidden, intermediate, key_value, layers = 3584, 18944, 512, 28
    attention = 2 * (hidden + hidden) + 2 * (hidden + key_value)
    adapters = 16 * layers * (attention + 3 * (hidden + intermediate))
    memory = make_plan(config, "h200").memory
    assert memory.gradients_and_optimizer == adapters * 12
    assert memory.weights == 8_292_166_656 * 2 + adapters * 6


def test_unknown_device_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--device", "tpu"]) == 2
    assert "h200" in capsys.readouterr().err


def test_histogram_covers_every_value() -> None:
    assert histogram([5]) == [(5, 5, 1)]
    bins = histogram(list(range(100)))
    assert sum(rows for _, _, rows in bins) == 100
    assert all(low <= high for low, high, _ in bins)
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.95) == 95
