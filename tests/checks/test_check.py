"""`vlmrl check` finds rewards that pay for nothing, rows that cannot be answered, and leaks."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.answers.attack import Attack
from vlmrl.answers.convention import Convention
from vlmrl.checks.report import CheckReport
from vlmrl.checks.rows import overpaid
from vlmrl.checks.run import check, require_sound_rows
from vlmrl.cli.main import main
from vlmrl.config import Config, DataConfig, ModelConfig
from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.models.load import load_family
from vlmrl.task import Split, Task, metric, reward
from vlmrl.types import Answer, Rollout, Sample


class Clicks(Task):
    """Sound rewards on one row whose target is off the centre."""

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        record = ImageRecord(0, Size(128, 128))
        picture = Image.new("RGB", (128, 128), "navy")
        return [Sample("only", (picture,), (record,), "click it", Box(40, 70, 70, 100, record.frame(Unit.ORIGINAL)))]

    @reward(weight=1.0)
    def inside(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))

    @metric
    def hit(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))


class PaysForText(Clicks):
    def parse(self, text, finish, sample, convention):
        return super().parse(
            text.removeprefix("<think>").removesuffix("</think><answer></answer>"), finish, sample, convention
        )


class PaysForLooking(Clicks):
    @reward(weight=1.0)
    def inside(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return 1.0


class Fails(Clicks):
    @reward(weight=1.0)
    def broken(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        raise KeyError("bbox")


class KnowsItsHack(Clicks):
    def attacks(self, sample: Sample, convention: Convention) -> list[Attack]:
        return [*super().attacks(sample, convention), Attack("right on purpose", self.render(sample, convention))]


def problem_of(task: Task) -> str:
    rows = task.synthetic("train", 1, 0)
    with pytest.raises(UserError) as raised:
        require_sound_rows(task, load_family(ModelConfig()), rows, {})
    return str(raised.value)


def test_a_sound_task_passes() -> None:
    task = Clicks()
    require_sound_rows(task, load_family(ModelConfig()), task.synthetic("train", 1, 0), {})


def test_an_answer_inside_the_thoughts_must_not_pay() -> None:
    assert "gold inside the thoughts earns hit = 1" in problem_of(PaysForText())


def test_a_reward_that_does_not_need_the_picture_is_found() -> None:
    assert "the picture's centre earns 1.000 on average, as much as gold" in problem_of(PaysForLooking())


def test_a_reward_that_fails_is_named() -> None:
    assert "reward broken failed: KeyError: 'bbox'" in problem_of(Fails())


def test_a_tasks_own_attacks_are_tried() -> None:
    assert "right on purpose earns hit = 1" in problem_of(KnowsItsHack())


def rows_file(folder: Path, colours: Sequence[tuple[int, int, int]]) -> Path:
    (folder / "images").mkdir(parents=True)
    lines = []
    for i, colour in enumerate(colours):
        Image.new("RGB", (160, 96), colour).save(folder / "images" / f"{i}.png")
        lines.append(
            json.dumps({"image": f"{i}.png", "instruction": "click it", "bbox": [20, 30, 60, 42], "id": f"r{i}"})
        )
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder / "rows.jsonl"


def check_of(train: Path, held_out: Path | None = None) -> CheckReport:
    return check(Config(data=DataConfig(train=str(train), held_out=held_out and str(held_out))))


def test_a_picture_on_both_sides_is_a_leak_whatever_its_name(tmp_path: Path) -> None:
    train = rows_file(tmp_path / "train", [(1, 1, 1), (2, 2, 2)])
    held_out = rows_file(tmp_path / "held_out", [(9, 9, 9), (8, 8, 8), (2, 2, 2)])
    report = check_of(train, held_out)
    assert len(report.problems) == 1
    assert "row r2" in report.problems[0]
    assert "training row r1" in report.problems[0]


def test_repeated_questions_are_noted(tmp_path: Path) -> None:
    train = rows_file(tmp_path, [(1, 1, 1), (2, 2, 2)])
    first = train.read_text().splitlines()[0]
    train.write_text(f"{train.read_text()}\n{first.replace('r0', 'r2')}")
    report = check_of(train)
    assert report.ok
    assert report.notes == ["1 rows repeat another row's picture, question and target"]


def test_prompt_tokens_are_the_processors(tmp_path: Path) -> None:
    train = rows_file(tmp_path, [(1, 1, 1)])
    family = load_family(ModelConfig())
    line = json.loads(train.read_text())
    second = {**line, "instruction": "click the other thing, please", "id": "r1"}
    train.write_text("\n".join(map(json.dumps, (line, second))))
    from vlmrl.registry import find_task

    task = find_task("gui_grounding").create({})
    exact = [len(family.encode(row, task.request(row, family.convention)).token_ids_P) for row in task.load(train)]
    assert check_of(train).prompt_tokens == exact


def test_rows_over_the_context_are_named(tmp_path: Path) -> None:
    config = Config(data=DataConfig(train=str(rows_file(tmp_path, [(1, 1, 1), (2, 2, 2)]))))
    config.rollout.max_completion_tokens = 2040
    problems = check(config).problems
    assert [problem.split(":")[0] for problem in problems] == ["row r0", "row r1"]
    assert "context of 2048 tokens; lower model.max_pixels" in problems[0]


def test_a_guess_is_compared_with_gold_on_the_rows_it_fits() -> None:
    half_of_what_gold_earns = [(0.5, 1.0)] * 8
    assert not list(overpaid({"the first option": half_of_what_gold_earns}, rows=100))
    as_much_as_gold = [(1.0, 1.0)] * 8
    assert "as much as gold" in next(overpaid({"the first option": as_much_as_gold}, rows=100))
    assert not list(overpaid({"the first option": as_much_as_gold[:7]}, rows=100))


def test_json_holds_every_problem(tmp_path: Path) -> None:
    train = rows_file(tmp_path, [(1, 1, 1)] * 3)
    for i in range(3):
        picture = tmp_path / "images" / f"{i}.png"
        Image.effect_noise((160, 96), 50 + i).save(picture)
        picture.write_bytes(picture.read_bytes()[:4000])
    code = main(["check", "--data", str(train), "--json", str(tmp_path / "found.json")])
    assert code == 2
    found = json.loads((tmp_path / "found.json").read_text())
    assert not found["ok"]
    assert all(f"{i}.png" in problem for i, problem in enumerate(found["problems"][:3]))
