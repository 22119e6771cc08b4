"""Rewards, metrics and known hacks of detection, through its parser; loaders are in test_detection_loaders.py."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.task import ScoredRow, Task, metric_values, reward_weights, score_group
from vlmrl.types import Boxes, Finish, Group, LabelledBox, Prompt, PromptMode, Rollout, Sample, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = {
    "qwen3": QWEN3,
    "qwen2.5": Convention(Unit.MODEL, "json"),
    "qwen2": Convention(Unit.NORM1000, "qwen2_box_tokens"),
    "internvl": Convention(Unit.NORM1000, "internvl_brackets"),
}
RECORD = ImageRecord(0, Size(1000, 500), Size(980, 504))
FRAME = RECORD.frame(Unit.ORIGINAL)
CLASSES = ("cat", "dog", "kite")


def boxes(*items: tuple[str, float, float, float, float]) -> Boxes:
    return Boxes(tuple(LabelledBox(label, Box(*corners, FRAME)) for label, *corners in items))


GOLD = boxes(("cat", 100, 100, 200, 200), ("cat", 500, 100, 600, 300), ("dog", 300, 300, 500, 450))


def detection(**options: Any) -> Task:
    return find_task("detection").create(options)


def row(gold: Boxes = GOLD, mode: PromptMode = PromptMode.DIRECT, **extra: Any) -> Sample:
    return Sample("test-0", (), (RECORD,), "Find them.", gold, mode, extra={"classes": CLASSES, **extra})


def scored(
    text: str,
    sample: Sample | None = None,
    convention: Convention = QWEN3,
    finish: Finish = Finish.STOP,
) -> Rollout:
    task, sample = detection(), sample or row()
    answer = task.parse(text, finish, sample, convention)
    rollout = Rollout([], [], 0.0, text, finish, answer)
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, {}))
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def values(rollout: Rollout) -> dict[str, float]:
    return {name: score.value for name, score in rollout.scores.items() if score.value is not None}


def metrics(rollout: Rollout, sample: Sample | None = None) -> dict[str, float]:
    return metric_values(detection(), sample or row(), rollout)


def written(*items: tuple[str, float, float, float, float]) -> str:
    """Boxes in thousandths as the JSON families write them."""
    return json.dumps([{"bbox_2d": list(numbers), "label": label} for label, *numbers in items])


CAT, OTHER_CAT, DOG = ("cat", 100, 200, 200, 400), ("cat", 500, 200, 600, 600), ("dog", 300, 600, 500, 900)
HONEST_WRONG = written(("cat", 700, 200, 800, 400), ("cat", 850, 600, 950, 900), ("dog", 0, 0, 90, 150))
"""The right number of boxes of each class, none of them on an object."""


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("mode", PromptMode)
@pytest.mark.parametrize("gold", [GOLD, boxes()], ids=["objects", "none"])
def test_the_gold_answer_earns_full_marks(convention: str, mode: PromptMode, gold: Boxes) -> None:
    family, sample = CONVENTIONS[convention], row(gold, mode)
    perfect = scored(detection().render(sample, family), sample, family)
    assert all(value == pytest.approx(1, abs=0.02) for value in values(perfect).values())
    assert set(values(perfect)) == set(detection().rewards()) - {"confidence_agreement"}
    assert metrics(perfect, sample)["f1_50"] == 1


def test_the_declared_weights() -> None:
    declared = {name: spec.weight for name, spec in detection().rewards().items()}
    assert {name: weight for name, weight in declared.items() if weight} == {"matched_iou": 1.0, "format": 0.1}
    assert detection().metrics() == ["f1_50", "f1_95", "f1_mean", "mean_iou"]


def test_components_of_an_answer() -> None:
    answer = scored(written(CAT, CAT, ("dog", 300, 600, 460, 900), ("kite", 0, 0, 90, 90)))  # the dog has IoU 0.8
    # cats: max(2, 2), dogs: 1, kites: 1
    assert values(answer) == pytest.approx(
        {
            "matched_iou": 1.8 / 4,
            "format": 1,
            "f1": 2 * 2 / (4 + 3),
            "matched_iou_above_half": 1.8 / 4,
            "location_and_class": (1 + 0.8) / 4,
            # the dog's corners are off by 40 / 1000 on one of four edges: 0.01 is within 10 / 840
            "hits_and_corners": 2 / 4,
            # cats: precision 1 up to recall 0.5, the repeated box is wrong; dog: 7 of 10 thresholds; kite: 0
            "coco_ap": (51 / 101 + 0.7 + 0) / 3,
            "voc_ap": (0.5 + 1 + 0) / 3,
            "od_length": (51 / 101 + 0.7 + 0) / 3 * 3 / 4,
        }
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I see two cats and a dog.",
        "None",
        "null",
        "{}",
        "[[]]",
        '[{"bbox_2d": [x1, y1, x2, y2], "label": "name"}, ...]',
        '[{"label": "cat"}, {"label": "cat"}, {"label": "dog"}]',
        '{"bbox_2d": [100, 200, 200, 400], "label": "cat"}',
        written(("cat", 200, 400, 100, 200), OTHER_CAT, DOG),  # swapped corners
        written(CAT, OTHER_CAT, ("dog", 300, 600, 500, 1001)),
        written(CAT, OTHER_CAT, DOG).replace("900", "NaN"),
        written(CAT, OTHER_CAT, DOG) + written(CAT, OTHER_CAT, DOG),
        "Here: " + written(CAT, OTHER_CAT, DOG),
        f"<think>{written(CAT, OTHER_CAT, DOG)}</think>",
        f"<think></think><answer>{written(CAT, OTHER_CAT, DOG)}</answer>",
        written(*[CAT] * 1001),
        "[" * 100_000,
    ],
    ids=lambda text: text[:40] or "empty",
)
def test_what_is_no_answer_earns_nothing(text: str) -> None:
    attack = scored(text)
    assert isinstance(attack.answer, Unparsed)
    assert attack.reward == 0
    assert set(values(attack).values()) == {0}
    assert metrics(attack) == {"f1_50": 0, "f1_95": 0, "f1_mean": 0, "mean_iou": 0}


def test_boxes_in_another_frame_are_unparsed_or_miss() -> None:
    pixels = written(("cat", 100, 100, 200, 200), ("cat", 500, 100, 600, 300), ("dog", 300, 300, 500, 450))
    assert metrics(scored(pixels))["f1_50"] == 0
    model = scored(written(CAT, OTHER_CAT, DOG), convention=CONVENTIONS["qwen2.5"])
    assert isinstance(model.answer, Unparsed)  # 600 is below the resized picture's last row


def test_a_truncated_answer_is_none() -> None:
    assert scored(written(CAT, OTHER_CAT, DOG), finish=Finish.LENGTH).reward == 0


def test_an_answer_in_the_thoughts_is_none() -> None:
    right, sample = written(CAT, OTHER_CAT, DOG), row(mode=PromptMode.THINK)
    assert scored(f"<think><answer>{right}</answer></think>", sample).reward == 0
    hidden = scored(f"<think><answer>{right}</answer></think><answer>{HONEST_WRONG}</answer>", sample)
    assert hidden.reward == scored(f"<think></think><answer>{HONEST_WRONG}</answer>", sample).reward
    assert metrics(hidden, sample)["f1_50"] == 0


def test_an_honest_miss_earns_the_format_only() -> None:
    assert scored(HONEST_WRONG).reward == pytest.approx(0.1)


def test_an_empty_list_earns_what_a_miss_earns_unless_there_is_nothing() -> None:
    assert scored("[]").reward == scored(HONEST_WRONG).reward
    assert scored("[]", row(boxes())).reward == pytest.approx(1.1)
    assert scored(HONEST_WRONG, row(boxes())).reward == pytest.approx(0.1)


WHOLE = [(label, 0, 0, 1000, 1000) for label in CLASSES]
GRID = [(label, x, y, x + 100, y + 100) for x in range(0, 1000, 100) for y in range(0, 1000, 100) for label in CLASSES]


@pytest.mark.parametrize("text", [written(*WHOLE), written(*WHOLE * 20), written(*GRID)], ids=["whole", "spam", "grid"])
def test_answers_that_do_not_look_earn_next_to_nothing(text: str) -> None:
    attack = scored(text)
    assert metrics(attack)["f1_50"] <= 0.02
    for name, value in values(attack).items():
        assert value <= 0.1 or name == "format", name


def test_the_whole_picture_earns_its_overlap_and_no_more() -> None:
    """Perception-R1's class part would add half the reward for a right label on a box that covers everything."""
    attack = values(scored(written(*WHOLE)))
    dog, cat, small_cat = (200 * 150 / 500_000, 100 * 200 / 500_000, 100 * 100 / 500_000)
    # one of two cats, the dog, and a kite too many: cats 2, dogs 1, kites 1
    assert attack["matched_iou"] == pytest.approx((cat + dog) / 4)
    assert attack["location_and_class"] == pytest.approx((cat + small_cat / 2 + dog) / 3)
    assert values(scored(HONEST_WRONG))["location_and_class"] == 0


HALF_RIGHT = written(CAT)


@pytest.mark.parametrize("times", [2, 3, 20])
def test_one_box_several_times_is_paid_once(times: int) -> None:
    """The dual IoU of TreeVGR and the F1 of Rex-Omni pay each copy."""
    once, repeated = values(scored(HALF_RIGHT)), values(scored(written(*[CAT] * times)))
    assert all(repeated[name] <= value for name, value in once.items())
    assert repeated["matched_iou"] <= 1 / max(times, 2)


@pytest.mark.parametrize("times", [2, 3, 20])
def test_every_gold_box_several_times_is_paid_once(times: int) -> None:
    repeated = scored(written(*[CAT, OTHER_CAT, DOG] * times))
    assert values(repeated)["matched_iou"] == pytest.approx(1 / times)
    assert values(repeated)["f1"] == pytest.approx(2 / (times + 1))
    assert values(repeated)["od_length"] <= 1 / times


def test_boxes_after_the_good_ones_are_not_free() -> None:
    """Vision-R1's precision and R1-SGG's recall leave spare boxes unpunished; so does AP alone."""
    right, spare = [CAT, OTHER_CAT, DOG], [("cat", x, 920, x + 40, 990) for x in range(0, 900, 100)]
    clean, spam = values(scored(written(*right))), values(scored(written(*right, *spare)))
    for name in ("matched_iou", "matched_iou_above_half", "f1", "location_and_class", "hits_and_corners", "od_length"):
        assert spam[name] < 0.5 * clean[name], name
    assert spam["coco_ap"] == pytest.approx(clean["coco_ap"])  # the reason for od_length


def test_a_list_of_more_than_120_boxes_is_divided_by_its_length() -> None:
    """VisionReasoner cuts lists at 120 boxes before it counts them."""
    long = values(scored(written(CAT, OTHER_CAT, DOG, *[("cat", 0, 0, 10, 10)] * 297)))
    assert long["hits_and_corners"] == pytest.approx(3 / 300)


def test_every_box_under_every_class_costs() -> None:
    """VLM-R1 drops boxes of classes that are not in the picture before it counts."""
    everything = [(label, *box[1:]) for box in (CAT, OTHER_CAT, DOG) for label in CLASSES]
    attack, gold = scored(written(*everything)), scored(written(CAT, OTHER_CAT, DOG))
    for name, value in values(attack).items():
        assert value < 0.55 * values(gold)[name] or name == "format", name


def test_labels_that_were_not_asked_for_count_as_wrong() -> None:
    attack = values(scored(written(CAT, OTHER_CAT, DOG, ("bird", 0, 0, 10, 10))))
    assert attack["matched_iou"] == pytest.approx(3 / 4)
    assert attack["coco_ap"] == pytest.approx(2 / 3)


def test_a_dot_and_a_grown_box_earn_less_than_gold() -> None:
    for box in (("cat", 150, 300, 150, 300), ("cat", 0, 0, 400, 700)):
        assert values(scored(written(box, OTHER_CAT, DOG)))["matched_iou"] < 0.75


def test_boxes_in_a_crowd_neither_earn_nor_cost() -> None:
    sample = row(ignored=boxes(("dog", 700, 100, 1000, 400)))
    in_crowd = ("dog", 750, 300, 850, 500)
    right = scored(written(CAT, OTHER_CAT, DOG, in_crowd), sample)
    assert values(right)["matched_iou"] == pytest.approx(1)
    assert metrics(right, sample)["f1_50"] == 1
    assert values(scored(written(in_crowd), sample))["matched_iou"] == 0


def test_scoring_twice_gives_the_same() -> None:
    assert scored(HALF_RIGHT).scores == scored(HALF_RIGHT).scores


def test_drawn_rows_answer_to_their_own_boxes() -> None:
    task = detection(mode="think")
    for sample in task.synthetic("train", 30, 0):
        assert sample.mode is PromptMode.THINK
        perfect = scored(task.render(sample, QWEN3), sample)
        assert metrics(perfect, sample)["f1_50"] == 1
        guesses = [attack for attack in task.attacks(sample, QWEN3) if attack.guess]
        assert {"the whole picture as every class", "a grid of guesses", "no objects"} <= {a.name for a in guesses}
        for attack in guesses:
            assert scored(attack.text, sample).reward < 0.7 * perfect.reward, attack.name


def figures_of(rows: Sequence[ScoredRow]) -> dict[str, float]:
    return {name: figure.value for name, figure in detection().corpus_metrics(rows).items()}


def test_figures_over_all_rows() -> None:
    nothing = boxes()
    right = [(row(), GOLD), (row(nothing), nothing)]
    known = ("ap", "ap50", "ap75", "ap_large", "ar10", "ar100", "ar_large")
    assert {name: figures_of(right)[name] for name in known} == pytest.approx(dict.fromkeys(known, 1))
    assert "ap_small" not in figures_of(right)  # there is no small object
    assert figures_of(right)["ar1"] == pytest.approx((1 / 2 + 1) / 2)  # one of two cats, the dog
    half = figures_of([(row(), Boxes(GOLD.items[:2])), (row(), Unparsed("truncated"))])
    # cats: 2 of 4; dogs: 0 of 2
    assert half["ap"] == pytest.approx((51 / 101 + 0) / 2)
    assert half["ar100"] == pytest.approx((1 / 2 + 0) / 2)
    assert figures_of([(row(nothing), nothing)]) == {}


def test_sets_are_averaged_unweighted() -> None:
    def of(name: str, answer: Boxes) -> tuple[Sample, Boxes]:
        return Sample("", (), (RECORD,), "", GOLD, tags={"set": name}, extra={"classes": CLASSES}), answer

    figures = figures_of([of("a", GOLD), of("a", GOLD), of("a", GOLD), of("b", boxes())])
    assert figures["ap"] == pytest.approx(0.5)


def test_benchmarks_declare_their_cells() -> None:
    found = {b.name: b.cells for b in find_task("detection").submodule("benchmarks").BENCHMARKS}
    assert found == {"coco-val": ("objects",), "odinw": ("set",)}


def test_f1_at_the_thresholds_of_iou() -> None:
    """The dog's IoU of 0.8 reaches 0.50 to 0.80; each miss is one box and one object of three."""
    answer = metrics(scored(written(CAT, OTHER_CAT, ("dog", 300, 600, 460, 900))))
    assert (answer["f1_50"], answer["f1_95"]) == (1, pytest.approx(4 / 6))
    assert answer["f1_mean"] == pytest.approx((7 * 1 + 3 * 4 / 6) / 10)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_confidences_are_asked_for_as_json_in_every_family(convention: str) -> None:
    task, family = detection(confidence=True), CONVENTIONS[convention]
    text = task.render(row(), family)
    answer = task.parse(text, Finish.STOP, row(), family)
    assert isinstance(answer, Boxes)
    assert [item.confidence for item in answer.items] == [1.0, 1.0, 1.0]
    assert "how sure" in task.request(row(), family)
    assert "how sure" not in detection().request(row(), family)


def sure(*items: tuple[str, float, float, float, float, float]) -> str:
    return json.dumps([{"bbox_2d": list(numbers), "label": label, "confidence": c} for label, *numbers, c in items])


MISS = ("cat", 700, 200, 800, 400)


@pytest.mark.parametrize(
    ("text", "earned"),
    [
        (sure((*CAT, 0.9), (*OTHER_CAT, 0.6), (*DOG, 1)), (0.9 + 0.6 + 1) / 3),
        (sure((*CAT, 0.9), (*MISS, 0.2)), (0.9 + 0.8) / 2),
        (sure((*CAT, 0.9), (*CAT, 0.9)), (0.9 + 0.1) / 2),  # the second one is not matched
        (sure((*MISS, 0)), 1.0),  # the hack that comes with the published formula
        ("[]", 0.0),
    ],
)
def test_confidence_agreement(text: str, earned: float) -> None:
    """Visual-RFT's confidence reward: c of a matched box, 1 - c of any other, on average."""
    task = detection(confidence=True)
    answer = task.parse(text, Finish.STOP, row(), QWEN3)
    rollout = Rollout([], [], 0.0, text, Finish.STOP, answer)
    group = Group("g", Prompt(row(), "", None, {}), [rollout])  # type: ignore[arg-type]
    weights = {"matched_iou": 0.0, "matched_iou_above_half": 1.0, "confidence_agreement": 1.0, "format": 1.0}
    score_group(task, group, reward_weights(task, weights))
    assert rollout.scores["confidence_agreement"].value == pytest.approx(earned)
    gold = 3.0
    assert rollout.reward <= 2 / 3 * gold or earned < 1


@pytest.mark.parametrize(
    "text",
    [
        written(CAT),  # no confidence
        sure((*CAT, 1.5)),
        sure((*CAT, -0.1)),
        sure((*CAT, 1)).replace("1}", '"high"}'),
        sure((*CAT, 1)).replace("1}", "true}"),
        sure((*CAT, 1)).replace("1}", "NaN}"),
    ],
)
def test_what_is_no_confidence(text: str) -> None:
    assert isinstance(detection(confidence=True).parse(text, Finish.STOP, row(), QWEN3), Unparsed)
    assert isinstance(detection().parse(sure((*CAT, 1)), Finish.STOP, row(), QWEN3), Unparsed)


def test_average_precision_ranks_by_confidence() -> None:
    """A wrong box that is written first costs precision, unless it is the least sure one."""
    plain = Boxes((LabelledBox("dog", Box(0, 0, 50, 50, FRAME)), GOLD.items[2]))
    ranked = Boxes(tuple(LabelledBox(i.label, i.box, c) for i, c in zip(plain.items, (0.1, 0.9), strict=True)))
    dog = row(Boxes(GOLD.items[2:]))
    assert figures_of([(dog, plain)])["ap"] == pytest.approx(0.5)
    assert figures_of([(dog, ranked)])["ap"] == pytest.approx(1)
