"""Rewards, metrics and drawn rows of video questions; the loaders are tested in test_video_temporal_loaders.py."""

import json
import random
from collections.abc import Sequence

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.answers.span import written
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, Span, Unit
from vlmrl.registry import find_task
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Answer, Choice, Finish, Group, Prompt, PromptMode, Rollout, Sample, Spans, Text, Unparsed, Video

QWEN3 = Convention(Unit.NORM1000, "json")
CONVENTIONS = [QWEN3, Convention(Unit.MODEL, "json"), Convention(Unit.NORM1000, "qwen2_box_tokens")]
CLIP = Clip(0, 60.0)
FOLDER = find_task("video_temporal")
OPTIONS = ("a dog", "a cat", "a cow", "no animal")


def video_task(**options: object) -> Task:
    return FOLDER.create(options)


def row(gold: Answer, kind: str, mode: PromptMode = PromptMode.DIRECT) -> Sample:
    extra = {"kind": kind, "options": OPTIONS if kind == "choice" else ()}
    return Sample("test-0", (), (), "what is it?", gold, mode, {"kind": kind}, clips=(CLIP,), extra=extra)


ROWS = {
    "span": row(Span(10, 20, CLIP), "span"),
    "spans": row(Spans((Span(10, 20, CLIP), Span(30, 40, CLIP))), "spans"),
    "choice": row(Choice("B"), "choice"),
    "number": row(Text("12"), "number"),
    "regression": row(Text("10"), "regression"),
    "ocr": row(Text("exit only"), "ocr"),
    "text": row(Text("a red ball falls"), "text"),
}
HONEST_WRONG = {
    "span": '{"time": [40, 50]}',
    "spans": '[{"time": [50, 55]}]',
    "choice": "C",
    "number": "7",
    "regression": "100",
    "ocr": "entrance",
    "text": "nothing happens",
}


def scored(task: Task, sample: Sample, text: str, **weights: float) -> Rollout:
    answer = task.parse(text, Finish.STOP, sample, QWEN3)
    rollout = Rollout([], [], 0.0, text, Finish.STOP, answer)
    group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, weights))
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def metrics(task: Task, sample: Sample, text: str) -> dict[str, float]:
    return metric_values(task, sample, scored(task, sample, text))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("mode", ["direct", "think"])
@pytest.mark.parametrize("kind", ROWS)
def test_the_gold_answer_earns_full_marks(kind: str, mode: str, convention: Convention) -> None:
    task, sample = video_task(mode=mode), row(ROWS[kind].gold, kind, PromptMode(mode))
    text = task.render(sample, convention)
    assert task.parse(text, Finish.STOP, sample, convention) == sample.gold
    perfect = scored(task, sample, text)
    assert perfect.reward == pytest.approx(1.1)
    values = {name: score.value for name, score in perfect.scores.items() if score.value is not None}
    assert set(values.values()) == {1.0}
    assert set(metric_values(task, sample, perfect).values()) == {1.0}


def test_rewards_that_a_row_has_no_use_for_say_so() -> None:
    task = video_task()
    has = {
        kind: {name for name, score in scored(task, sample, task.render(sample, QWEN3)).scores.items() if score.value}
        for kind, sample in ROWS.items()
    }
    spans = {"tiou", "set_iou", "reaches_threshold", "format"}
    assert has.pop("span") == spans | {"distance_tiou"}
    assert has.pop("spans") == spans
    assert all(names == {"accuracy", "format"} for names in has.values())


def test_the_declared_weights() -> None:
    declared = {name: spec.weight for name, spec in video_task().rewards().items()}
    assert declared == {
        "tiou": 1.0,
        "accuracy": 1.0,
        "format": 0.1,
        "distance_tiou": 0.0,
        "set_iou": 0.0,
        "reaches_threshold": 0.0,
    }
    assert video_task().metrics() == ["correct", "r1_at_03", "r1_at_07", "miou", "matched"]


@pytest.mark.parametrize(
    ("text", "tiou", "distance", "correct", "at_03", "at_07"),
    [
        ('{"time": [12, 18]}', 0.6, 0.6 * (58 / 60) ** 2, 1, 1, 0),
        ('{"time": [10, 15]}', 0.5, 0.5 * 55 / 60, 1, 1, 0),  # reaching the threshold counts
        ('{"time": [15, 30]}', 0.25, 0.25 * 55 / 60 * 50 / 60, 0, 0, 0),
        ('{"time": [14, 18]}', 0.4, 0.4 * 56 / 60 * 58 / 60, 0, 1, 0),
        ('{"time": [10, 19]}', 0.9, 0.9 * 59 / 60, 1, 1, 1),
    ],
)
def test_one_span(text: str, tiou: float, distance: float, correct: float, at_03: float, at_07: float) -> None:
    task, sample = video_task(), ROWS["span"]
    scores = {name: score.value for name, score in scored(task, sample, text).scores.items()}
    assert scores["tiou"] == scores["set_iou"] == pytest.approx(tiou)
    assert scores["distance_tiou"] == pytest.approx(distance)
    assert scores["reaches_threshold"] == correct
    found = metrics(task, sample, text)
    assert (found["correct"], found["r1_at_03"], found["r1_at_07"]) == (correct, at_03, at_07)
    assert found["miou"] == found["matched"] == pytest.approx(tiou)


def test_several_spans_are_ranked_by_the_first_and_paid_for_all() -> None:
    task, sample = video_task(), ROWS["spans"]
    first_wrong = '[{"time": [50, 60]}, {"time": [10, 20]}]'
    first_right = '[{"time": [30, 40]}, {"time": [50, 60]}]'
    assert scored(task, sample, first_wrong).scores == scored(task, sample, first_right).scores
    assert scored(task, sample, first_right).scores["tiou"].value == 0.5
    assert (metrics(task, sample, first_wrong)["correct"], metrics(task, sample, first_right)["correct"]) == (0, 1)


@pytest.mark.parametrize(
    ("kind", "text", "reward", "correct"),
    [
        ("choice", "B", 1, 1),
        ("choice", "(b)", 1, 1),
        ("choice", "A", 0, 0),
        ("number", "12.0", 1, 1),
        ("number", "13", 0, 0),
        ("regression", "8", 0.8, 0.6),
        ("ocr", "exit", 0.5, 0.5),
        ("text", "A red ball falls.", 1, 1),
        ("text", "a blue ball falls", (0.75 + 1 / 3 + 0.75) / 3, (0.75 + 1 / 3 + 0.75) / 3),
    ],
)
def test_questions(kind: str, text: str, reward: float, correct: float) -> None:
    task, sample = video_task(), ROWS[kind]
    assert scored(task, sample, text).scores["accuracy"].value == pytest.approx(reward)
    assert list(metrics(task, sample, text).values()) == pytest.approx([correct] * 5)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("mode", ["direct", "think"])
def test_declared_attacks_earn_less_than_gold_and_nothing_unless_they_are_guesses(kind: str, mode: str) -> None:
    task, sample = video_task(), row(ROWS[kind].gold, kind, PromptMode(mode))
    gold = scored(task, sample, task.render(sample, QWEN3)).reward
    for attack in task.attacks(sample, QWEN3):
        earned = scored(task, sample, attack.text).reward
        if not attack.guess:
            assert earned == 0.0, attack.name
        elif attack.name not in ("always the first option", "always the last option", "always one"):
            assert earned < gold, attack.name


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("span", "<think>10 to 20</think>"),
        ("span", '<think>{"time": [10, 20]}</think><answer></answer>'),
        ("span", '{"time": [20, 10]}'),
        ("span", "the event happens in 10 - 20 seconds"),
        ("span", '[{"time": [10, 20]}, {"time": [30, 40]}]'),
        ("span", json.dumps([{"time": [i, i + 10]} for i in range(0, 60, 5)])),
        ("span", '{"time": [-10, 20]}'),
        ("span", '{"time": [10, 2000]}'),
        ("spans", json.dumps([{"time": [10, 20]}] * 3)),
        ("spans", json.dumps([{"time": [i, i + 1]} for i in range(60)])),
        ("spans", "[]"),
        ("choice", "A B C D"),
        ("choice", "The answer is not A, C or D, so B"),
        ("choice", "<think>B</think>"),
        ("number", "10 11 12 13"),
        ("number", "12 because however therefore wait"),
        ("text", "<think>a red ball falls</think>"),
        ("text", "a red ball falls " * 1000),
    ],
)
def test_published_hacks_earn_no_more_than_an_honest_wrong_answer(kind: str, text: str) -> None:
    task, sample = video_task(), ROWS[kind]
    hack = scored(task, sample, text)
    assert isinstance(hack.answer, Unparsed)
    assert hack.reward <= scored(task, sample, HONEST_WRONG[kind]).reward
    assert set(metric_values(task, sample, hack).values()) == {0.0}


def test_a_far_off_span_is_not_paid_for_being_on_the_axis() -> None:
    """MUSEG's 1-D GIoU pays a disjoint span up to a half."""
    assert scored(video_task(), ROWS["span"], '{"time": [25, 30]}').reward == pytest.approx(0.1)


def test_the_whole_clip_earns_its_overlap_only() -> None:
    whole = scored(video_task(), ROWS["span"], '{"time": [0, 60]}')
    assert whole.reward == pytest.approx(0.1 + 1 / 6)
    several = scored(video_task(), ROWS["spans"], '{"time": [0, 60]}')
    assert several.scores["tiou"].value == pytest.approx(1 / 6 / 2)


def test_a_grid_of_spans_is_paid_less_than_one_honest_span() -> None:
    grid = json.dumps([{"time": [i, i + 2]} for i in range(0, 60, 2)])
    score = scored(video_task(), ROWS["spans"], grid).scores["tiou"].value
    assert score == pytest.approx(2 * 0.2 / 30)
    assert scored(video_task(), ROWS["spans"], '[{"time": [12, 18]}]').scores["tiou"].value == pytest.approx(0.3)


def test_an_answer_in_the_thoughts_is_none() -> None:
    task, sample = video_task(), row(Span(10, 20, CLIP), "span", PromptMode.THINK)
    right, wrong = written(Span(10, 20, CLIP)), HONEST_WRONG["span"]
    assert scored(task, sample, f"<think><answer>{right}</answer></think>").reward == 0.0
    assert scored(task, sample, f"<think>{right}</think><answer>{wrong}</answer>").reward == pytest.approx(0.1)


def test_a_gold_span_that_ends_after_its_clip_still_earns_full_marks() -> None:
    task, sample = video_task(), row(Span(50, 61.5, CLIP), "span")
    assert scored(task, sample, task.render(sample, QWEN3)).reward == pytest.approx(1.1)


def test_the_threshold_is_an_option() -> None:
    text = '{"time": [12, 18]}'
    values = [
        scored(video_task(threshold=t), ROWS["span"], text).scores["reaches_threshold"].value for t in (0.3, 0.6, 0.7)
    ]
    assert values == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"fps": 0.0}, {"max_frames": 1}, {"max_video_pixels": 0}])
def test_impossible_options(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"task\.options"):
        video_task(**options)


def drawn(split: str, count: int, seed: int = 0) -> list[Sample]:
    rows = video_task().synthetic(split, count, seed)  # type: ignore[arg-type]
    return [rows[i] for i in range(count)]


def visible(sample: Sample, name: str) -> list[int]:
    """Frames that differ from the emptiest one by the colour of the shape `name`."""
    colour = FOLDER.submodule("synthetic").COLOURS[name.split()[0]]
    video = sample.videos[0]
    assert isinstance(video, Video)
    return [i for i, frame in enumerate(video.frames) if colour in {c for _, c in frame.getcolors(10_000)}]


def test_drawn_spans_are_where_their_shapes_are_seen() -> None:
    shapes = FOLDER.submodule("synthetic")
    checked = 0
    for seed in range(200):
        clip = shapes.draw_clip(seed)
        first, second = clip.appearances
        if first.colour == second.colour:
            continue
        sample = video_task()._row(clip, "r")  # type: ignore[attr-defined]
        for shape in (first, second):
            assert visible(sample, shape.name) == list(range(shape.start, shape.end))
        checked += 1
    assert checked > 100


def test_drawn_rows_are_answered_by_their_gold() -> None:
    task = video_task(mode="think")
    rows = task.synthetic("train", 60, 3)
    kinds = set()
    for i in range(60):
        sample = rows[i]
        kinds.add(sample.tags["kind"])
        assert scored(task, sample, task.render(sample, QWEN3)).reward == pytest.approx(1.1)
        assert sample.mode is PromptMode.THINK
        assert len(sample.videos[0].frames) == sample.clips[0].duration  # type: ignore[union-attr]
    assert kinds == {"span", "choice"}


def test_a_drawn_row_is_always_the_same_and_no_clip_is_on_both_sides() -> None:
    def content(rows: Sequence[Sample]) -> list[bytes]:
        return [b"".join(frame.tobytes() for frame in row.videos[0].frames) for row in rows]  # type: ignore[union-attr]

    train, again, held_out = (content(drawn(split, 60)) for split in ("train", "train", "held_out"))
    assert train == again
    assert not set(train) & set(held_out)


def test_no_fixed_answer_is_often_right() -> None:
    rows = [sample for sample in drawn("train", 300) if isinstance(sample.gold, Span)]
    fixed = [(start, end) for start in range(8) for end in range(start + 1, 9)]
    means = [
        sum(Span(start, end, sample.clips[0]).tiou(sample.gold) for sample in rows) / len(rows) for start, end in fixed
    ]
    assert max(means) < 0.4


def test_scattered_answers_are_near_gold_and_well_formed() -> None:
    task, rng = video_task(), random.Random(0)
    overlaps, right = [], []
    for sample in drawn("train", 400):
        answer = task.scattered(sample, rng)  # type: ignore[attr-defined]
        text = task.answers_with(sample).render(Sample(**{**vars(sample), "gold": answer}), QWEN3)
        assert task.parse(text, Finish.STOP, sample, QWEN3) == answer
        if isinstance(answer, Span):
            overlaps.append(answer.tiou(sample.gold))
        else:
            right.append(answer == sample.gold)
    assert 0.4 < sum(overlaps) / len(overlaps) < 0.65
    assert 0.4 < sum(right) / len(right) < 0.8
