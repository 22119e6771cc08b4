from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.task import (
    Task,
    group_reward,
    is_valid,
    metric,
    metric_values,
    reward,
    reward_weights,
    score_group,
)
from vlmrl.types import Answer, Finish, Group, Prompt, PromptMode, Rollout, Sample, Score, Unparsed

RECORD = ImageRecord(0, Size(1000, 1000))
FRAME = RECORD.frame(Unit.ORIGINAL)
CONVENTION = Convention(Unit.NORM1000, "json")


@dataclass
class Clicking(Task):
    """Click the target."""

    bonus: float = 0.5

    @reward(weight=1.0)
    def inside(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))

    @reward(weight=0.5, bounds=(-1.0, 1.0))
    def right_half(self, answer: Answer, sample: Sample, rollout: Rollout) -> float | Score:
        if answer.y > 900:
            return Score(unscorable="too low to tell")
        if answer.y > 800:
            raise RuntimeError("broken reward")
        if answer.y > 700:
            return 3.0
        return self.bonus if answer.x > 500 else -0.5

    @group_reward(weight=0.0)
    def diverse(self, group: Group) -> Sequence[float]:
        return [float(len({r.answer for r in group.rollouts}) > 1)] * len(group.rollouts)

    @metric
    def hit(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return float(sample.gold.contains(answer))

    @metric
    def distance(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
        return 1 - sample.gold.center.distance(answer) / 2000


def row(mode: PromptMode = PromptMode.DIRECT) -> Sample:
    gold = Box(600, 100, 800, 300, FRAME)
    return Sample("a-0", (), (RECORD,), "click save", gold, mode)


def rollout(answer: Answer | Unparsed) -> Rollout:
    return Rollout(token_ids_T=[1], logprobs_T=[-0.1], entropy=0.1, text="", finish=Finish.STOP, answer=answer)


def scored(answers: list[Answer | Unparsed], task: Task | None = None, **weights: float) -> list[Rollout]:
    task = task or Clicking()
    group = Group("g", Prompt(row(), "", None, {}), [rollout(answer) for answer in answers])  # type: ignore[arg-type]
    score_group(task, group, reward_weights(task, weights))
    return group.rollouts


def test_rewards_and_metrics_are_listed_in_their_order() -> None:
    assert list(Clicking.rewards()) == ["inside", "right_half", "diverse"]
    assert Clicking.metrics() == ["hit", "distance"]


def test_a_subclass_inherits_and_overrides() -> None:
    class Stricter(Clicking):
        @reward(weight=2.0)
        def inside(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
            return 0.0

    assert list(Stricter.rewards()) == ["inside", "right_half", "diverse"]
    assert Stricter.rewards()["inside"].weight == 2.0
    assert Clicking.rewards()["inside"].weight == 1.0


def test_the_reward_is_the_weighted_sum() -> None:
    hit, miss = scored([Point(700, 200, FRAME), Point(100, 200, FRAME)])
    assert hit.scores["inside"] == Score(1.0)
    assert hit.reward == pytest.approx(1.0 + 0.5 * 0.5)
    assert miss.reward == pytest.approx(0.5 * -0.5)
    assert hit.scores["diverse"] == Score(1.0)  # weight 0: seen, not counted


def test_an_unparsed_completion_earns_the_lower_bound() -> None:
    (lost,) = scored([Unparsed("empty completion")])
    assert lost.scores["inside"] == Score(0.0)
    assert lost.scores["right_half"] == Score(-1.0)
    assert lost.reward == pytest.approx(-0.5)
    assert is_valid(lost)


def test_an_unscorable_component_leaves_the_sum() -> None:
    (low,) = scored([Point(700, 950, FRAME)])
    assert low.scores["right_half"].unscorable == "too low to tell"
    assert low.reward == 0.0
    assert is_valid(low)


def test_faults_become_errors_with_a_trace_and_leave_the_others_alone() -> None:
    broken, fine = scored([Point(700, 850, FRAME), Point(700, 200, FRAME)])
    assert "broken reward" in (broken.scores["right_half"].error or "")
    assert broken.scores["inside"].value == 0.0
    assert not is_valid(broken)
    assert is_valid(fine)


def test_a_value_outside_the_declared_bounds_is_an_error() -> None:
    (wrong,) = scored([Point(700, 750, FRAME)])
    assert "outside its declared bounds" in (wrong.scores["right_half"].error or "")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "1"])
def test_a_reward_without_a_usable_number_is_an_error(value: object) -> None:
    class Odd(Clicking):
        @reward(weight=1.0)
        def inside(self, answer: Answer, sample: Sample, rollout: Rollout) -> float:
            return value  # type: ignore[return-value]

    (first,) = scored([Point(700, 200, FRAME)], Odd())
    assert (first.scores["inside"].error is None) == (value == "1")  # float("1") is a number
    assert first.reward == pytest.approx(0.25 + (value == "1"))


def test_a_group_reward_gives_one_score_per_rollout() -> None:
    class Short(Clicking):
        @group_reward(weight=1.0)
        def diverse(self, group: Group) -> Sequence[float]:
            return [1.0]

    rollouts = scored([Point(700, 200, FRAME)] * 2, Short())
    assert all("1 scores for 2 rollouts" in (r.scores["diverse"].error or "") for r in rollouts)


def test_weights_are_replaced_by_name() -> None:
    assert reward_weights(Clicking(), {"inside": 0}) == {"inside": 0, "right_half": 0.5, "diverse": 0.0}
    with pytest.raises(UserError, match=r"task\.weights\.insid: .*inside, right_half"):
        reward_weights(Clicking(), {"insid": 1.0})


def test_metrics_count_unparsed_completions_as_zero() -> None:
    values = metric_values(Clicking(), row(), rollout(Point(700, 200, FRAME)))
    assert values == {"hit": 1.0, "distance": 1.0}
    assert metric_values(Clicking(), row(), rollout(Unparsed("x"))) == {"hit": 0.0, "distance": 0.0}


@pytest.mark.parametrize("mode", PromptMode)
def test_the_perfect_completion_parses_in_its_mode(mode: PromptMode) -> None:
    task, sample = Clicking(), row(mode)
    answer = task.parse(task.render(sample, CONVENTION), Finish.STOP, sample, CONVENTION)
    assert answer == Point(700, 200, FRAME)
    assert ("<think>" in task.request(sample, CONVENTION)) == (mode is PromptMode.THINK)
    assert task.request(sample, CONVENTION).startswith("click save\nAnswer with JSON only")


def test_a_truncated_completion_is_no_answer() -> None:
    task, sample = Clicking(), row()
    answer = task.parse(task.render(sample, CONVENTION), Finish.LENGTH, sample, CONVENTION)
    assert isinstance(answer, Unparsed)
    assert "truncated" in answer.reason


def test_a_task_without_rows_says_what_to_do() -> None:
    with pytest.raises(UserError, match="leave out --data"):
        Clicking().load(Path("x"))
    with pytest.raises(UserError, match="--data PATH"):
        Clicking().synthetic("train", 1, 0)
