"""Rewards, metrics, attacks and drawn rows of grounding; its loaders are tested in test_grounding_loaders.py."""

import json
import random
from dataclasses import replace
from statistics import fmean

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.synthetic.shapes import COLOURS, SHAPES
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Finish, Group, Prompt, PromptMode, Rollout, Sample

QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = {
    "qwen3": QWEN3,
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
    "internvl": Convention(Unit.NORM1000, "internvl_brackets"),
}
RECORD = ImageRecord(0, Size(640, 480), Size(644, 476))
GOLD = Box(100, 120, 260, 360, RECORD.frame(Unit.ORIGINAL))
HONEST_WRONG = '{"bbox_2d": [600, 250, 850, 750]}'
SYNTHETIC = find_task("grounding").submodule("synthetic")
PICTURES = [SYNTHETIC.draw_picture(seed) for seed in range(300)]


def grounding(**options: object) -> Task:
    return find_task("grounding").create(options)


def row(gold: Box = GOLD, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    return Sample("test-0", (), (RECORD,), "find the man in red", gold, mode)


def scored(
    task: Task,
    sample: Sample,
    text: str,
    convention: Convention = QWEN3,
    finish: Finish = Finish.STOP,
) -> Rollout:
    rollout = Rollout([], [], 0.0, text, finish, task.parse(text, finish, sample, convention))
    score_group(task, Group("g", Prompt(sample, "", None, {}), [rollout]), reward_weights(task, {}))  # type: ignore[arg-type]
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def metrics(task: Task, sample: Sample, rollout: Rollout) -> dict[str, float]:
    return metric_values(task, sample, rollout)


def answered(*numbers: float) -> str:
    return json.dumps({"bbox_2d": numbers})


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("mode", ["direct", "think"])
def test_the_gold_answer_earns_full_marks(convention: str, mode: str) -> None:
    task, sample, family = grounding(mode=mode), row(mode=PromptMode(mode)), CONVENTIONS[convention]
    perfect = scored(task, sample, task.render(sample, family), family)
    assert perfect.reward == pytest.approx(1.1, abs=0.01)
    for name in task.rewards():
        assert perfect.scores[name].value == pytest.approx(1, abs=0.02), name
    values = metrics(task, sample, perfect)
    assert values.pop("mean_iou") == pytest.approx(1, abs=0.01)
    assert set(values.values()) == {1.0}


def test_declared_weights_and_metrics() -> None:
    weights = {name: spec.weight for name, spec in grounding().rewards().items()}
    assert weights == {
        "iou": 1.0,
        "format": 0.1,
        "giou": 0.0,
        "squared_iou": 0.0,
        "iou_reached": 0.0,
        "staged_iou": 0.0,
        "capped_iou": 0.0,
        "corners_near": 0.0,
    }
    assert grounding().metrics() == ["acc", "mean_iou", "acc_03", "acc_07", "acc_09", "center_acc"]


@pytest.mark.parametrize(
    ("width", "iou", "acc", "acc_03", "acc_07", "acc_09"),
    [(160, 1.0, 1, 1, 1, 1), (120, 0.75, 1, 1, 1, 0), (80, 0.5, 1, 1, 0, 0), (64, 0.4, 0, 1, 0, 0), (0, 0, 0, 0, 0, 0)],
)
def test_metrics_count_an_iou_of_exactly_the_threshold(
    width: float, iou: float, acc: float, acc_03: float, acc_07: float, acc_09: float
) -> None:
    task, sample = grounding(), row()
    rollout = scored(task, sample, HONEST_WRONG)
    rollout.answer = replace(GOLD, x2=GOLD.x1 + width)
    values = metrics(task, sample, rollout)
    assert values.pop("center_acc") == 1.0
    assert values == {"acc": acc, "mean_iou": iou, "acc_03": acc_03, "acc_07": acc_07, "acc_09": acc_09}


def test_options_of_the_reward_variants() -> None:
    sample = row()
    half = scored(grounding(), sample, HONEST_WRONG)
    half.answer = replace(GOLD, x2=GOLD.x1 + 0.8 * GOLD.width)

    def value(name: str, **options: object) -> float:
        task = grounding(**options)
        return float(getattr(task, name)(half.answer, sample, half))

    assert (value("iou_reached"), value("iou_reached", threshold=0.8), value("iou_reached", threshold=0.81)) == (
        1,
        1,
        0,
    )
    assert (value("staged_iou"), value("staged_iou", stage="second")) == (1.0, pytest.approx(0.8))
    for threshold in (0, 1.5, -1):
        with pytest.raises(UserError, match=r"task\.options\.threshold"):
            grounding(threshold=threshold)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "There is no man in red.",
        "{}",
        answered(156, 250, 406),
        answered(406, 250, 156, 750),
        '{"bbox_2d": [NaN, 250, 406, 750]}',
        answered(156, 250, 1e309, 750),
        answered(-1, 250, 406, 750),
        answered(156, 250, 406, 1001),
        '{"point_2d": [281, 500]}',
        f"[{answered(156, 250, 406, 750)}, {answered(600, 250, 850, 750)}]",  # VLM-R1 scores the first of several
        answered(156, 250, 406, 750) * 2,
        json.dumps([{"bbox_2d": [x, y, x + 100, y + 100]} for x in range(0, 901, 100) for y in range(0, 901, 100)]),
        "(0.156,0.25),(0.406,0.75)",  # Perception-R1 takes numbers without markers for fractions
        "[156, 250, 406, 750]",
        "__import__('os').getcwd()",
        f"<think>{answered(156, 250, 406, 750)}</think>",
        f"<think></think><answer>{answered(156, 250, 406, 750)}</answer>",
        f"The box is {answered(156, 250, 406, 750)}",
        "[" * 100_000,
    ],
    ids=lambda text: text[:30] or "empty",
)
def test_attacks_on_the_format_earn_nothing(text: str) -> None:
    task, sample = grounding(), row()
    attack = scored(task, sample, text)
    assert attack.reward == 0.0
    assert all(score.value == 0.0 for score in attack.scores.values())
    assert metrics(task, sample, attack)["acc"] == 0.0
    assert attack.reward <= scored(task, sample, HONEST_WRONG).reward


def test_a_box_shrunk_to_a_dot_earns_no_more_than_an_honest_miss() -> None:
    task, sample = grounding(), row()
    dot = scored(task, sample, answered(281, 500, 281, 500))
    assert dot.reward == pytest.approx(scored(task, sample, HONEST_WRONG).reward)
    assert metrics(task, sample, dot)["acc"] == 0.0


def test_a_box_grown_to_cover_everything_earns_its_iou_and_never_counts_as_right() -> None:
    task, sample = grounding(), row()
    whole = scored(task, sample, answered(0, 0, 1000, 1000))
    assert whole.scores["iou"].value == pytest.approx(GOLD.area / (640 * 480))
    assert metrics(task, sample, whole)["acc"] == 0.0
    off_by_a_little = scored(task, sample, answered(170, 270, 420, 770))
    assert whole.reward < off_by_a_little.reward - 0.5


def test_an_answer_in_the_thoughts_is_none() -> None:
    task, sample = grounding(mode="think"), row(mode=PromptMode.THINK)
    right = answered(156, 250, 406, 750)
    assert scored(task, sample, f"<think><answer>{right}</answer></think>").reward == 0.0
    hidden = scored(task, sample, f"<think><answer>{right}</answer></think><answer>{HONEST_WRONG}</answer>")
    plain = scored(task, sample, f"<think></think><answer>{HONEST_WRONG}</answer>")
    assert hidden.scores == plain.scores


def test_a_truncated_answer_is_none() -> None:
    task, sample = grounding(), row()
    assert scored(task, sample, task.render(sample, QWEN3), finish=Finish.LENGTH).reward == 0.0


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("mode", ["direct", "think"])
def test_declared_attacks_do_not_pay(convention: str, mode: str) -> None:
    task, family = grounding(mode=mode), CONVENTIONS[convention]
    sample = row(mode=PromptMode(mode))
    gold = scored(task, sample, task.render(sample, family), family)
    attacks = {attack.name: attack for attack in task.attacks(sample, family)}
    assert {"the whole picture", "gold shrunk to a dot", "the middle of the picture"} <= set(attacks)
    for attack in attacks.values():
        earned = scored(task, sample, attack.text, family).reward
        assert earned < gold.reward / 2 if attack.guess else earned == 0.0, attack


def test_of_several_pictures_the_asked_one_is_answered() -> None:
    second = ImageRecord(1, Size(200, 400), Size(196, 392))
    gold = Box(20, 40, 120, 240, second.frame(Unit.ORIGINAL))
    sample = Sample("pair", (), (RECORD, second), "find the dog in image 2", gold, asked_image=1)
    task = grounding()
    for family in CONVENTIONS.values():
        perfect = scored(task, sample, task.render(sample, family), family)
        assert isinstance(perfect.answer, Box)
        assert perfect.answer.frame == second.frame(Unit.ORIGINAL)
        assert metrics(task, sample, perfect)["acc"] == 1.0


def test_scoring_twice_gives_the_same() -> None:
    task, sample = grounding(), row()
    first, second = (scored(task, sample, answered(100, 200, 500, 700)) for _ in range(2))
    assert first.scores == second.scores


def test_a_seed_decides_everything() -> None:
    again = SYNTHETIC.draw_picture(7)
    assert (again.image.tobytes(), again.shapes) == (PICTURES[7].image.tobytes(), PICTURES[7].shapes)


@pytest.mark.parametrize("picture", PICTURES[:100], ids=lambda picture: str(picture.seed))
def test_an_expression_fits_exactly_its_target(picture) -> None:
    """The words of an expression, looked up one by one, leave one shape."""
    references = picture.references()
    assert {reference.target for reference in references} == set(picture.shapes)
    for reference in references:
        words = reference.expression.split()[1:]
        fitting = list(picture.shapes)
        for word in words:
            if word in COLOURS:
                fitting = [shape for shape in fitting if shape.colour == word]
            elif word in SHAPES:
                fitting = [shape for shape in fitting if shape.shape == word]
        place = words[0]
        if reference.by == "position":
            assert len(fitting) > 1
            axis, sign = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "lowest": (1, -1)}[place]
            ordered = sorted(fitting, key=lambda shape: sign * shape.center[axis])
            assert abs(ordered[0].center[axis] - ordered[1].center[axis]) >= SYNTHETIC.LEAD
            fitting = ordered[:1]
        assert fitting == [reference.target], reference


@pytest.mark.parametrize("picture", PICTURES[:20], ids=lambda picture: str(picture.seed))
def test_a_shapes_colour_fills_its_box_and_nothing_beyond(picture) -> None:
    pixels = picture.image.load()
    for shape in picture.shapes:
        left, top, right, bottom = shape.box
        painted = [
            (x, y)
            for x in range(max(0, left - 1), min(picture.image.width, right + 1))
            for y in range(max(0, top - 1), min(picture.image.height, bottom + 1))
            if pixels[x, y] == COLOURS[shape.colour]
        ]
        columns, rows = zip(*painted, strict=True)
        slack = 0.15 * (bottom - top)  # the tips of a star do not reach every edge
        assert left <= min(columns) <= left + slack
        assert top <= min(rows) <= top + slack
        assert right - 1 - slack <= max(columns) < right
        assert bottom - 1 - slack <= max(rows) < bottom


def test_splits_share_no_picture_and_every_way_of_naming_is_asked() -> None:
    task = grounding()
    rows = {split: list(task.synthetic(split, 150, 0)) for split in ("train", "held_out")}
    pictures = {split: {row.images[0].tobytes() for row in rows[split]} for split in rows}  # type: ignore[union-attr]
    assert not pictures["train"] & pictures["held_out"]
    assert {row.tags["by"] for row in rows["train"]} == {"shape", "colour", "both", "position"}


def test_drawn_rows_answer_to_their_own_boxes() -> None:
    task = grounding(mode="think")
    for sample in task.synthetic("train", 30, 0):
        perfect = scored(task, sample, task.render(sample, QWEN3))
        assert metrics(task, sample, perfect)["acc"] == 1.0
        assert sample.mode is PromptMode.THINK


def test_scattered_boxes_are_half_right() -> None:
    task, rng = grounding(), random.Random(0)
    ious = []
    for sample in task.synthetic("train", 300, 0):
        scattered = task.scattered(sample, rng)  # type: ignore[attr-defined]
        assert isinstance(scattered, Box)
        assert scattered.in_image
        assert scattered.frame == sample.gold.frame  # type: ignore[union-attr]
        ious.append(scattered.iou(sample.gold))  # type: ignore[arg-type]
    assert fmean(ious) == pytest.approx(0.5, abs=0.05)
    assert min(ious) < 0.3
    assert max(ious) > 0.7


def test_benchmarks_declare_their_cells() -> None:
    benchmarks = {b.name: b.cells for b in find_task("grounding").submodule("benchmarks").BENCHMARKS}
    assert benchmarks == {
        "refcoco": ("split",),
        "refcoco+": ("split",),
        "refcocog": ("split",),
        "lisa-grounding": ("split",),
        "reasonseg-boxes": ("split", "text"),
        "mig-bench": ("task",),
    }
