"""Rewards, metrics, benchmarks and known hacks of questions about charts and documents, through the task's parser."""

from collections.abc import Sequence
from typing import get_args

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.evaluation.card import Evaluated, score_card
from vlmrl.geometry import ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.rewards.short_answers import SCORERS
from vlmrl.task import Task, metric_values, reward_weights, score_group
from vlmrl.types import Finish, Group, Prompt, PromptMode, Rollout, Sample, Text, Unparsed

QWEN3 = Convention(Unit.NORM1000, "json")
FOLDER = find_task("visual_qa")
BENCHMARKS = {benchmark.name: benchmark for benchmark in FOLDER.submodule("benchmarks").BENCHMARKS}


def row(scorer: str, *accepted: str, mode: PromptMode = PromptMode.DIRECT, **tags: str) -> Sample:
    extra = {"accepted": accepted, "scorer": scorer}
    record = ImageRecord(0, Size(128, 96))
    return Sample("test-0", (), (record,), "what does it say?", Text(accepted[0]), mode, tags, extra=extra)


ROWS = {
    "number": row("relaxed_accuracy", "14"),
    "name": row("relaxed_accuracy", "Italy"),
    "page": row("anls", "Edward R. Shannon", "Edward Shannon"),
    "word": row("exact_match", "rates"),
}


def scored(sample: Sample, text: str, **weights: float) -> Rollout:
    task: Task = FOLDER.create({})
    rollout = Rollout([], [], 0.0, text, Finish.STOP, task.parse(text, Finish.STOP, sample, QWEN3))
    score_group(task, Group("g", Prompt(sample, "", None, {}), [rollout]), reward_weights(task, weights))  # type: ignore[arg-type]
    assert not any(score.error for score in rollout.scores.values())
    return rollout


def metrics(sample: Sample, text: str) -> dict[str, float]:
    return metric_values(FOLDER.create({}), sample, scored(sample, text))


@pytest.mark.parametrize("mode", PromptMode)
@pytest.mark.parametrize("name", ROWS)
def test_the_gold_answer_earns_full_marks(name: str, mode: PromptMode) -> None:
    task = FOLDER.create({})
    sample = row(ROWS[name].extra["scorer"], *ROWS[name].extra["accepted"], mode=mode)
    text = task.render(sample, QWEN3)
    assert task.parse(text, Finish.STOP, sample, QWEN3) == sample.gold
    assert scored(sample, text).reward == pytest.approx(1.1)
    assert set(metrics(sample, text).values()) == {1.0}


def test_every_accepted_answer_is_right() -> None:
    assert scored(ROWS["page"], "edward shannon").reward == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("name", "text", "official", "relaxed", "anls", "exact"),
    [
        ("number", "14.5", 1, 1, 0.5, 0),
        ("number", "15", 0, 0, 0.5, 0),
        ("name", "italy", 1, 1, 1, 1),
        ("name", "in Italy", 0, 0, 5 / 8, 0),
        ("page", "Edward Shanon", 13 / 14, 0, 13 / 14, 0),
        ("page", "Reynolds", 0, 0, 0, 0),
        ("word", "rate", 0, 0, 0.8, 0),
    ],
)
def test_a_row_is_scored_as_its_data_set_is(
    name: str, text: str, official: float, relaxed: float, anls: float, exact: float
) -> None:
    found = scored(ROWS[name], text, exact=1.0)
    assert found.reward == pytest.approx(official + 0.1 + exact)
    assert list(metrics(ROWS[name], text).values()) == pytest.approx([official, relaxed, anls, exact])


def test_scorers_have_the_names_that_rows_give() -> None:
    assert set(get_args(FOLDER.submodule("schemas").Scorer)) == set(SCORERS)


@pytest.mark.parametrize("mode", PromptMode)
@pytest.mark.parametrize("name", ROWS)
def test_declared_attacks_earn_nothing_and_guesses_less_than_gold(name: str, mode: PromptMode) -> None:
    task = FOLDER.create({})
    sample = row(ROWS[name].extra["scorer"], *ROWS[name].extra["accepted"], mode=mode)
    gold = scored(sample, task.render(sample, QWEN3)).reward
    for attack in task.attacks(sample, QWEN3):
        hack = scored(sample, attack.text)
        if attack.guess:
            assert hack.reward < gold, attack.name
        else:
            assert hack.reward == 0, attack.name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("number", "10, 11, 12, 13, 14, 15"),
        ("number", "between 13 and 15"),
        ("number", "The answer is 14."),
        ("number", "14 or 70"),
        ("number", "nan"),
        ("number", "__import__('math').nan"),
        ("name", "Italy Spain Mexico"),
        ("page", f"Edward{' ' * 900}"),
        ("page", f"?{' ' * 1900}?"),
        ("page", "Edward R. Shannon " * 3),
        ("page", "<think>Edward Shannon</think>"),
        ("word", "rates, subject, date, total"),
        ("word", "rates" * 500),
    ],
)
def test_hacks_earn_no_more_than_an_honest_wrong_answer(name: str, text: str) -> None:
    assert scored(ROWS[name], text).reward <= scored(ROWS[name], "something else").reward


def evaluated(rows: Sequence[tuple[Sample, str]]) -> list[Evaluated]:
    task = FOLDER.create({})
    found = []
    for sample, text in rows:
        rollout = scored(sample, text)
        group = Group("g", Prompt(sample, "", None, {}), [rollout])  # type: ignore[arg-type]
        found.append(Evaluated(group, metric_values(task, sample, rollout)))
    return found


def test_chartqa_is_the_mean_of_its_halves_and_unparsed_answers_stay_in() -> None:
    human = row("relaxed_accuracy", "14", split="human")
    augmented = row("relaxed_accuracy", "3", split="augmented")
    rows = evaluated([(human, "14"), (human, "<think>14</think>"), (human, "7"), (augmented, "3.1")])
    assert isinstance(rows[1].answer, Unparsed)
    benchmark = BENCHMARKS["chartqa"]
    card = score_card(FOLDER.create({}), rows, benchmark.cells, benchmark.metric, benchmark.figures)
    assert (card.metric, card.score, card.n, card.unparsed) == ("relaxed_accuracy", 0.5, 4, 1)
    assert {name: (cell.value, cell.n) for name, cell in card.cells.items()} == {
        "human": (1 / 3, 3),
        "augmented": (1, 1),
    }
    assert benchmark.average == "macro"
    assert card.macro == pytest.approx(2 / 3)


def test_docvqa_is_the_mean_similarity() -> None:
    page = ROWS["page"]
    rows = evaluated([(page, "Edward Shannon"), (page, "Edward Shanon"), (page, "nobody")])
    benchmark = BENCHMARKS["docvqa"]
    card = score_card(FOLDER.create({}), rows, benchmark.cells, benchmark.metric, benchmark.figures)
    assert card.score == pytest.approx((1 + 13 / 14) / 3)


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=BENCHMARKS)
def test_published_figures_have_a_source(benchmark) -> None:
    assert benchmark.metric in FOLDER.task_class.metrics()
    assert benchmark.anchors
    assert all(anchor.source and 0 < anchor.score < 1 for anchor in benchmark.anchors)
