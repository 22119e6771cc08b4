"""Recipes of published systems: every line says where it comes from, the list is complete, and each of them trains."""

import re
from pathlib import Path

import pytest

from vlmrl.algorithms.choose import choose_algorithm
from vlmrl.config import Config
from vlmrl.paths import configs_dir
from vlmrl.registry import find_task
from vlmrl.resolve import resolve
from vlmrl.task import reward_weights
from vlmrl.training.run import train

RECIPES = sorted((configs_dir() / "recipes").glob("*.yaml"), key=lambda path: path.stem)
LIST = Path(__file__).parents[1] / "docs" / "recipes.md"
SETTING = re.compile(r"\s*[\w.-]+: [^#]+  # (paper|code|readme|note|ours)(: \S.*)?")
SECTION = re.compile(r"\s*[\w.-]+:")

each_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


@each_recipe
def test_every_line_says_where_it_comes_from(recipe: Path) -> None:
    text = recipe.read_text()
    head, settings = text.split("\ntask:\n", 1)
    assert all(line.startswith("#") for line in head.splitlines())
    for part in ("arXiv ", "# Data: ", "# Published", "# Not in vlmrl: ", "# Marks: "):
        assert part in head, part
    for line in settings.splitlines():
        assert SETTING.fullmatch(line) or SECTION.fullmatch(line), line
        assert len(line) <= 120


@each_recipe
def test_its_settings_and_names_exist(recipe: Path) -> None:
    config = resolve(Config, file=recipe)
    choose_algorithm(config)
    task = find_task(config.task.name).create(config.task.options)
    weights = reward_weights(task, config.task.weights)
    assert any(weight > 0 for weight in weights.values())
    # no reward that the system does not have joins in unnoticed
    assert {name for name, spec in task.rewards().items() if spec.weight} <= set(config.task.weights)
    assert "/" in config.model.path


def test_the_list_is_the_folder() -> None:
    listed = re.findall(r"^\| `recipes/([\w.-]+)` \|", LIST.read_text(), re.MULTILINE)
    assert listed == [path.stem for path in RECIPES]


SMALL = [
    "model.path=tiny",
    "model.min_pixels=null",
    "model.max_pixels=null",
    "rollout.prompts_per_step=2",
    "rollout.group_size=2",
    "rollout.max_completion_tokens=24",
    "data.held_out_rows=2",
    "run.steps=2",
    "run.device=cpu",
]


@pytest.mark.slow
@each_recipe
def test_it_trains_two_steps_on_the_embedded_model(recipe: Path, tmp_path: Path) -> None:
    summary = train(resolve(Config, file=recipe, words=[*SMALL, f"run.dir={tmp_path / 'run'}"]))
    assert summary["steps"] == 2
    assert summary["after"]["n"] == 2
