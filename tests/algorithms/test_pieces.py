"""Pieces whose rule has cases: what they do in each, and that they are off where they say so."""

import math
from dataclasses import replace

import pytest
import torch

from tests.algorithms.batches import LIMIT, batch_of, tokens_of
from tests.algorithms.rollouts import group_of, sample_of
from vlmrl.algorithms.advantage_transforms import DifficultyWeight, LengthAdvantage, RowWeight, UndoDilution
from vlmrl.algorithms.advantages import EmaScaled, GroupRelative
from vlmrl.algorithms.auxiliary import Retrospective
from vlmrl.algorithms.batch import Tokens
from vlmrl.algorithms.buffers import SelectiveSamples, SuccessReplay
from vlmrl.algorithms.controllers import AdaptiveKl, Hypervolume, hypervolume
from vlmrl.algorithms.curricula import OneRow, TaskDeficit, VarianceBank
from vlmrl.algorithms.filters import HighVariance, Varying
from vlmrl.algorithms.plans import ShuffledFrames, SurprisingTokens
from vlmrl.algorithms.regularisers import Entropy, Kl, KlHinge, Policies
from vlmrl.algorithms.repairs import ExpertSlot, HintedSlot, SolutionHints, TeacherHint
from vlmrl.algorithms.reward_transforms import (
    Consistency,
    LengthWindow,
    NegativeEntropy,
    RankedLength,
    TemporalBonus,
    TrustedThoughts,
)
from vlmrl.algorithms.surrogates import Clip, LogClip
from vlmrl.algorithms.token_credit import KeyTokens, ReturnToGo, TreeValues, tree_segments
from vlmrl.algorithms.token_weights import HighEntropy, SamplerRatio
from vlmrl.engine.sampling import Completion
from vlmrl.errors import UserError
from vlmrl.training.collect import joined
from vlmrl.training.data import MixedOrder
from vlmrl.types import Finish, Group, Rollout, Sample, Source, Video


def test_clip_says_where_it_was_active() -> None:
    logprobs = torch.log(torch.tensor([[0.5, 1.0, 2.0], [0.5, 1.0, 2.0]]))
    advantages = torch.tensor([[1.0], [-1.0]])
    loss, low, high = Clip(0.2, 0.28)(logprobs, torch.zeros(2, 3), advantages, tokens_of([3, 3]))
    assert torch.allclose(loss, torch.tensor([[-0.5, -1.0, -1.28], [0.8, 1.0, 2.0]]))
    assert high.tolist() == [[False, False, True], [False] * 3]
    assert low.tolist() == [[False] * 3, [True, False, False]]
    bounded = Clip(delta=1.5)(logprobs, torch.zeros(2, 3), advantages, tokens_of([3, 3])).loss_NT
    assert bounded[1].tolist() == pytest.approx([0.8, 1.0, 1.5])


def test_the_log_clip_has_no_gradient_beyond_it() -> None:
    logprobs = torch.tensor([[0.5, -0.5, 0.0], [0.5, -0.5, 0.0]], requires_grad=True)
    loss = LogClip()(logprobs, torch.zeros(2, 3), torch.tensor([[1.0], [-1.0]]), tokens_of([3, 3])).loss_NT
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert gradient.tolist() == [[0, -1, -1], [1, 0, 1]]


@pytest.mark.parametrize(
    ("group", "contrast", "expected"),
    [
        ([1.0, 0.0, 0.0, 0.0], 0.25, [0.3, 0, 0, 0]),
        ([1.0, 0.0, 0.0, 0.0], 0.5, [0, 0, 0, 0]),
        ([0.0, 0.0, 0.0, 0.0], 0.0, [0, 0, 0, 0]),
        ([1.0, 1.0, 0.0, 0.0], math.nan, [0, 0, 0, 0]),
    ],
)
def test_the_temporal_bonus_wants_the_ordered_frames_to_be_as_good(
    group: list[float], contrast: float, expected: list[float]
) -> None:
    batch = batch_of([group], contrast_accuracy_B=torch.tensor([contrast], dtype=torch.float64))
    gained = TemporalBonus()(batch.rewards, batch).total_BG - batch.rewards.total_BG
    assert gained[0].tolist() == pytest.approx(expected)


def test_the_length_window_wants_two_right_answers() -> None:
    lengths = torch.tensor([[320, 512, 400, 513], [400, 400, 400, 400]])
    batch = batch_of([[1.0, 1, 0, 1], [1, 0, 0, 0]], lengths_BG=lengths)
    gained = LengthWindow()(batch.rewards, batch).total_BG - batch.rewards.total_BG
    assert torch.allclose(gained.float(), torch.tensor([[0.2, 0.2, 0, 0], [0, 0, 0, 0]]))


def test_thoughts_of_one_sided_groups_are_not_paid() -> None:
    judged = torch.full((3, 2), 0.5, dtype=torch.float64)
    batch = batch_of([[1.0, 0.95], [0.05, 0.1], [1.0, 0.1]], judged_BG=judged, step=1)
    gained = TrustedThoughts(decay_steps=1e12)(batch.rewards, batch).total_BG - batch.rewards.total_BG
    # below an accuracy of 0.2 the judge's score counts as 0, so the right answer's thoughts are the better ones
    assert torch.allclose(gained.float(), torch.tensor([[0, 0], [0, 0], [0.15, 0]]))


def test_consistency_multiplies_the_accuracy() -> None:
    batch = batch_of([[1.0, 1, 0]], judged_BG=torch.tensor([[1.0, -1, 1]], dtype=torch.float64))
    assert Consistency()(batch.rewards, batch).total_BG.tolist() == [[1.5, 0.5, 0]]


def test_length_is_ranked_in_the_best_groups_only() -> None:
    rewards = [[1.0, 0, 0], [1.0, 1, 0], [0, 0, 0], [1.0, 1, 1], [1.0, 0, 1]]
    batch = batch_of(rewards, lengths_BG=torch.arange(15).reshape(5, 3))
    found = RankedLength(alpha=0.6)(batch.rewards, batch).total_BG
    assert found[3, 0] > 0.7 > found[3, 2]
    assert torch.equal(found[[0, 1, 2, 4]], batch.rewards.total_BG[[0, 1, 2, 4]])
    one = RankedLength(alpha=0.6, share=1.0)(batch.rewards, batch).total_BG
    assert one[0, 0] == pytest.approx(0.7)
    assert one[2].eq(0).all()


def test_negative_entropy_replaces_the_reward() -> None:
    parsed = torch.tensor([[True, False]])
    batch = batch_of([[1.0, 1]], entropy_BG=torch.tensor([[0.4, 0.2]], dtype=torch.float64), parsed_BG=parsed)
    assert NegativeEntropy()(batch.rewards, batch).total_BG.tolist() == [[-0.4, -7]]


def test_rewards_are_multiplied_in_total_and_in_parts() -> None:
    doubled = batch_of([[1.0, 2]]).rewards.times(2)
    assert doubled.total_BG.tolist() == doubled.components["r"].tolist() == [[2, 4]]


def test_the_difficulty_weight_is_never_negative() -> None:
    batch = batch_of([[1.0, 1.0]])
    assert DifficultyWeight(form="log")(torch.ones(1, 2), batch).tolist() == [[0, 0]]


def test_the_difficulty_may_be_that_of_a_component() -> None:
    iou = torch.tensor([[0.5, torch.nan]])
    batch = batch_of([[1.0, 1.0]], components={"iou": iou}, weights={"iou": 1.0})
    found = DifficultyWeight(form="linear", component="iou")(torch.ones(1, 2), batch)
    assert found.tolist()[0] == pytest.approx([0.55, 0.55])
    with pytest.raises(UserError, match=r"no reward giou.*it has: iou"):
        DifficultyWeight(component="giou")(torch.ones(1, 2), batch)


def test_a_rows_own_weight() -> None:
    weights = torch.tensor([2.0, torch.nan])
    assert RowWeight()(torch.ones(2, 2), batch_of([[1.0, 0]] * 2, sample_weight_B=weights)).tolist() == [[2, 2], [1, 1]]


@pytest.mark.parametrize(
    ("rewards", "lengths", "truncated", "vision", "text"),
    [
        ([1.0, 0, 0], [9, 5, 7], [], 1.0, 1.0),
        ([1.0, 0, 0], [5, 5, 7], [], 0.1, 0.1),
        ([1.0, 0, 0], [6, 5, 99], [2], 1.0, 1.0),
        ([1.0, 1, 1], [9, 5, 7], [], 0.1, 1.0),
        ([0.0, 0, 0], [9, 5, 7], [], 1.0, 0.1),
    ],
)
def test_length_advantage(
    rewards: list[float], lengths: list[int], truncated: list[int], vision: float, text: float
) -> None:
    cut = torch.zeros(1, 3, dtype=torch.bool)
    cut[0, truncated] = True
    batch = batch_of([rewards], lengths_BG=torch.tensor([lengths]), truncated_BG=cut)
    ones = torch.ones(1, 3)
    assert LengthAdvantage()(ones, batch)[0, 0].item() == pytest.approx(vision)
    assert LengthAdvantage(variant="text")(ones, batch)[0, 0].item() == pytest.approx(text)
    assert LengthAdvantage(without=1.0)(ones, batch).eq(1).all()


def test_dilution_is_undone_up_to_a_limit() -> None:
    one_of = batch_of([[1.0, 0], [0, 0]])
    assert UndoDilution()(torch.ones(2, 2), one_of).eq(2).all()
    assert UndoDilution(limit=1.5)(torch.ones(2, 2), one_of).eq(1.5).all()
    assert UndoDilution()(torch.ones(1, 2), batch_of([[0.0, 0]])).eq(1).all()


def test_the_running_deviation_is_a_tasks_own() -> None:
    piece = EmaScaled(decay=0.5)
    first = piece(batch_of([[1.0, 0]], task="a"))
    # mean 1/2 and mean square 1/2 of the first step: deviation 1/2
    assert first.tolist()[0] == pytest.approx([1.0, -1.0], abs=1e-5)
    second = piece(batch_of([[3.0, 1]], task="a"))
    # means 1.25 and 2.75: deviation sqrt(2.75 - 1.5625)
    assert second[0, 0].item() == pytest.approx(1 / math.sqrt(2.75 - 1.25**2), abs=1e-5)
    other = piece(batch_of([[1.0, 0]], task="b"))
    assert torch.equal(other, first)
    again = EmaScaled(decay=0.5)
    again.load_state_dict(piece.state_dict())
    assert again.moments == piece.moments


def test_an_advantage_beyond_the_guard_is_divided_by_its_groups_deviation() -> None:
    rewards = torch.zeros(20, 8, dtype=torch.float64)
    rewards[0, 0] = 1.0
    found = EmaScaled()(batch_of(rewards))
    assert found[0, 0].item() == pytest.approx((7 / 8) / math.sqrt(7 / 64), abs=1e-4)


def test_filters() -> None:
    batch = batch_of([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    assert Varying()(batch).tolist() == [True, True, False]
    # three quarters of the largest variance
    assert HighVariance()(batch).tolist() == [True, True, False]
    assert HighVariance()(replace(batch, step=21)).tolist() == [False, True, False]
    half = replace(batch, accuracy_BG=torch.zeros(3, 4, dtype=torch.float64))
    assert Varying()(half).tolist() == [False] * 3
    assert Varying(of="reward")(half).tolist() == [True, True, False]


def test_high_entropy_keeps_the_share_and_says_what_counts() -> None:
    tokens = tokens_of([3, 2], entropy_NT=torch.tensor([[0.1, 0.9, 0.4], [0.8, 0.2, 5.0]]))
    kept = HighEntropy(share=0.4)(tokens)
    assert kept.weight_NT is None
    assert kept.keep_NT is not None
    assert kept.keep_NT.tolist() == [[False, True, False], [True, False, False]]
    weighted = HighEntropy(share=0.4, counts=False)(tokens)
    assert weighted.keep_NT is None
    assert weighted.weight_NT is not None
    assert weighted.weight_NT.tolist() == kept.keep_NT.double().tolist()
    assert HighEntropy(share=1.0)(tokens) == (None, None)


def test_a_sampler_that_does_not_know_counts_as_right() -> None:
    tokens = tokens_of([2], old_NT=torch.tensor([[-1.0, -1.0]]), rollout_NT=torch.tensor([[torch.nan, -torch.inf]]))
    assert SamplerRatio()(tokens).weight_NT.tolist() == [[1, 1]]  # type: ignore[union-attr]


def test_returns_go_back_to_every_token() -> None:
    tokens = tokens_of([3, 1])
    advantages = torch.tensor([1.0, -1.0], dtype=torch.float64)
    paid = torch.tensor([[-0.1, -0.2, -0.3], [0.0, 9.0, 9.0]], dtype=torch.float64)
    returns = torch.tensor([0.4, 0.5, 0.7, -1.0], dtype=torch.float64)
    found = ReturnToGo()(advantages, tokens, paid)[tokens.mask_NT]
    assert torch.allclose(found, (returns - returns.mean()) / (returns.var() + 1e-8).sqrt())


def test_key_tokens_of_one_sided_groups_have_no_value() -> None:
    piece = KeyTokens()
    assert piece.token_values([[1, 2], [2]], [True, True]) == {}
    assert piece.token_values([[1, 2], [2]], [False, False]) == {}
    values = piece.token_values([[1, 2], [1], [2, 3], [3]], [True, True, False, False])
    assert values[1] > 0 > values[3]
    assert abs(values[2]) < 1e-9
    assert KeyTokens(top=0.0).token_values([[1], [2]], [True, False]) == {1: 0, 2: 0}


def test_the_end_of_the_turn_is_no_key_token() -> None:
    ids = torch.tensor([[1, 9], [2, 9]])
    tokens = tokens_of([2, 2], group_size=2, ids_NT=ids, correct_N=torch.tensor([True, False]))
    found = KeyTokens()(torch.zeros(2, dtype=torch.float64), tokens, None)
    assert found[:, 1].tolist() == [0, 0]
    assert found[0, 0] > 0 > found[1, 0]


def policies(logits: list[list[float]]) -> tuple[Policies, Tokens]:
    rows = torch.tensor(logits, dtype=torch.float64)
    zeros = torch.zeros(1, len(rows), dtype=torch.float64)
    return Policies(zeros, zeros, rows), tokens_of([len(rows)])


def test_entropy_of_a_sharper_distribution() -> None:
    found = Entropy(temperature=0.5)(*policies([[0.0, math.log(2), -math.inf]]))
    p = torch.tensor([0.2, 0.8], dtype=torch.float64)
    assert found.item() == pytest.approx((p * p.log()).sum().item())


def test_the_hinge_pays_beyond_its_limit() -> None:
    piece = KlHinge(coefficient=10.0, limit=0.1)
    tokens = tokens_of([2], old_NT=torch.tensor([[-1.0, -1.0]]))
    for now, expected in (([[-1.0, -1.1]], 0.0), ([[-1.5, -1.1]], 10 * (0.3 - 0.1))):
        tokens.now_NT = torch.tensor(now)
        assert piece.weight(1, tokens) == pytest.approx(expected)


def test_rows_a_regulariser_acts_on() -> None:
    tokens = tokens_of(
        [1] * 4,
        group_size=2,
        correct_N=torch.tensor([True, False, False, False]),
        group_accuracy_N=torch.tensor([0.5, 0.5, 0, 0]),
    )
    assert Kl(rows="wrong").gate(tokens).tolist() == [False, True, True, True]
    assert Kl(rows="failed_groups").gate(tokens).tolist() == [False, False, True, True]


def test_the_contrast_arm_is_half_a_group_of_shuffled_frames() -> None:
    frames = tuple(f"frame {i}" for i in range(6))
    row = sample_of(videos=(Video(frames, tuple(float(i) for i in range(6))),))  # type: ignore[arg-type]
    arm = ShuffledFrames()(row, 8, seed=3)
    assert arm is not None
    assert arm.completions == 4
    (video,) = arm.sample.videos
    assert sorted(video.frames) == list(frames)  # type: ignore[union-attr, type-var]
    assert video.frames != frames  # type: ignore[union-attr]
    assert ShuffledFrames()(sample_of(), 8, seed=3) is None


class Notes:
    """A helper whose solution is known."""

    def solution(self, sample: Sample) -> str:
        return "abcdefgh"

    def teacher_hint(self, sample: Sample) -> str:
        return "look left"

    def expert(self, group: Group) -> Rollout | None:
        return group_of([1.0]).rollouts[0]


ROW = sample_of()


def test_solution_hints_come_in_failed_groups_and_grow() -> None:
    piece, failed = SolutionHints(start_step=3), group_of([0.0, 0.0])
    assert piece.ask(failed, ROW, 3, 0, Notes()) is None
    assert piece.ask(group_of([0.0, 0.2]), ROW, 4, 0, Notes()) is None
    hints = [piece.ask(failed, ROW, 4, attempt, Notes()) for attempt in range(4)]
    assert [request and request.sample.question.rpartition(" ")[2] for request in hints] == [
        "ab", "abcd", "abcdef", None,
    ]  # fmt: skip
    answers = group_of([1.0, 0.0])
    piece.merge(failed, answers)
    assert failed.prompt is answers.prompt
    assert [rollout.source for rollout in failed.rollouts] == [Source.HINTED] * 2


def test_a_hinted_slot_takes_the_first_right_answer() -> None:
    piece, failed = HintedSlot(exempt_steps=0, parts=2), group_of([0.0, 0.0])
    assert HintedSlot().ask(failed, ROW, 50, 0, Notes()) is None
    request = piece.ask(failed, ROW, 1, 1, Notes())
    assert request is not None
    assert request.completions == 1
    assert request.sample.question.endswith("abcdefgh")
    assert piece.ask(failed, ROW, 1, 2, Notes()) is None
    own = replace(ROW, extra={"hints": ["think of cells", "it is red"]})
    request = piece.ask(failed, own, 1, 1, Notes())
    assert request is not None
    assert request.sample.question.endswith("think of cells\nit is red")
    piece.merge(failed, group_of([0.0]))
    assert [rollout.accuracy for rollout in failed.rollouts] == [0, 0]
    answer = group_of([1.0])
    piece.merge(failed, answer)
    assert [rollout.accuracy for rollout in failed.rollouts] == [1, 0]
    assert failed.rollouts[0].prompt is answer.prompt
    assert piece.ask(failed, ROW, 1, 0, Notes()) is None


def test_a_teachers_hint_trains_the_plain_prompt() -> None:
    piece, failed = TeacherHint(), group_of([0.0, 0.0, 0.0])
    request = piece.ask(failed, ROW, 1, 4, Notes())
    assert request is not None
    assert "look left" in request.sample.question
    assert piece.ask(failed, ROW, 1, 5, Notes()) is None
    assert piece.ask(group_of([0.0, 0.1]), ROW, 1, 0, Notes()) is None
    piece.merge(failed, group_of([0.0, 0.0]))
    assert all(rollout.source is Source.SAMPLED for rollout in failed.rollouts)
    piece.merge(failed, group_of([1.0, 0.0]))
    assert [rollout.accuracy for rollout in failed.rollouts] == [0, 1, 0]
    assert [rollout.prompt for rollout in failed.rollouts] == [None] * 3


def test_an_expert_takes_the_last_place() -> None:
    group = group_of([0.0, 0.0])
    assert ExpertSlot().ask(group, ROW, 1, 0, Notes()) is None
    assert [rollout.accuracy for rollout in group.rollouts] == [0, 1]
    assert ExpertSlot().ask(group, ROW, 1, 1, Notes()) is None


def test_a_failed_group_gets_a_stored_success_of_its_row() -> None:
    piece = SuccessReplay(capacity=2)
    failed = group_of([0.0, 0.0, 0.0], id_="2-0")
    assert piece.exchange([failed], 1) == []
    piece.keep([group_of([1.0, 0.5, 1.0, 0.1])], 1)
    assert [rollout.accuracy for rollout in piece.stored["row-0"]] == [0.5, 1.0]
    piece.exchange([failed, group_of([0.0, 0.0], name="row-1")], 2)
    assert failed.rollouts[0].accuracy > 0
    assert [rollout.source for rollout in failed.rollouts] == [Source.REPLAYED, Source.SAMPLED, Source.SAMPLED]
    # its log-probs are computed anew
    assert failed.rollouts[0].old_logprobs_T is None
    piece.keep([failed], 2)
    assert len(piece.stored["row-0"]) == 2
    good = group_of([1.0, 1.0])
    piece.exchange([good], 3)
    assert all(rollout.source is Source.SAMPLED for rollout in good.rollouts)


def test_selected_groups_come_back_while_they_are_young() -> None:
    piece = SelectiveSamples(capacity=2, take=1, max_age=2)
    groups = [group_of([1.0, 0.0], id_=f"1-{i}") for i in range(4)]
    for group, size in zip(groups, (0.5, 0.0, 2.0, 1.0), strict=True):
        group.rollouts[0].advantage, group.rollouts[1].advantage = size, -size
    piece.keep(groups, 1)
    assert [group.id for _, _, group in piece.stored] == ["1-2", "1-3"]
    (taken,) = piece.exchange([], 2)
    assert taken.id == "1-2"
    assert taken.rollouts[0].source is Source.REPLAYED
    piece.keep([taken], 2)
    assert [group.id for _, _, group in piece.stored] == ["1-3"]
    assert taken.rollouts[0].old_logprobs_T == taken.rollouts[0].logprobs_T
    assert piece.exchange([], 4) == []
    assert piece.stored == []


def test_the_previous_batch_returns_with_its_old_log_probs() -> None:
    piece = Retrospective(window=2)
    group = group_of([1.0, 0.0])
    group.rollouts[0].advantage, group.rollouts[1].advantage = 0.5, -0.5
    piece.after([group], 0.2)
    assert piece.before(0.9) == []
    piece.after([group], 0.4)
    (again,) = piece.before(0.4)
    # progress (0.4 - 0.3) / 0.1 = 1
    assert [rollout.advantage for rollout in again.rollouts] == pytest.approx([1.0, -1.0], abs=1e-5)
    assert again.rollouts[0].old_logprobs_T == [-1.0] * 4
    assert group.rollouts[0].advantage == 0.5


def test_a_weak_task_comes_more_often() -> None:
    piece, order = TaskDeficit(every=2, memory=2), MixedOrder([50, 50], [1.0, 1.0], 0)
    first = piece.next(order, 10, 1, refill=False)
    assert sum(row < 50 for row in first) == 5
    for _ in range(2):
        good, bad = torch.full((1, 4), 0.9), torch.full((1, 4), 0.1)
        piece.observe(order, [0, 60], torch.cat([good, bad]), torch.cat([good, bad]))
        piece.step_done()
    # averages of 0.9 * (1 + 1/2) / 2 and 0.1 * ..., target (1 + 1/2) / 2
    v = [0.75 * 0.1, 0.75 * 0.9]
    weights = [math.exp((x + 0.1) / 0.3) for x in v]
    assert piece.weights == pytest.approx([w / sum(weights) for w in weights])
    rows = piece.next(order, 20, 3, refill=False)
    assert sum(row >= 50 for row in rows) > 14
    again = TaskDeficit(every=2, memory=2)
    again.load_state_dict(piece.state_dict())
    assert again == piece


def test_the_bank_gives_the_rows_that_vary_most() -> None:
    piece, order = VarianceBank(capacity=2, replays=1), MixedOrder([50], [1.0], 0)
    assert piece.next(order, 3, 1, refill=True) == []
    accuracy = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.float64)
    piece.observe(order, [7, 8, 9], accuracy, accuracy)
    assert set(piece.bank) == {7, 8}
    assert piece.next(order, 1, 1, refill=True) == [8]
    assert piece.next(order, 3, 1, refill=True) == [7]
    assert piece.next(order, 3, 1, refill=True) == []
    piece.observe(order, [8], accuracy[2:], accuracy[2:])
    assert piece.bank[8] == (pytest.approx(0.9), 1)
    piece.observe(order, [9], accuracy[:1], accuracy[:1])
    assert set(piece.bank) == {8, 9}
    assert OneRow(row=4).next(order, 3, 1, refill=False) == [4, 4, 4]


def test_the_kls_weight_moves_by_a_fifth_at_most() -> None:
    piece = AdaptiveKl(goal=0.1, horizon=100)
    piece.observe({"kl": 5.0, "rollouts": 50})
    assert piece.factor() == pytest.approx(1.1)
    piece.observe({"kl": 0.09, "rollouts": 50})
    assert piece.factor() == pytest.approx(1.1 * (1 - 0.05))


def test_hypervolume() -> None:
    assert hypervolume([(2.0, 1.0), (1.0, 3.0)]) == pytest.approx(4.0)
    assert hypervolume([(1.0, 1.0, 1.0), (0.5, 0.5, 0.5)]) == pytest.approx(1.0)
    piece = Hypervolume(("hit", "format"))
    assert piece.factor() == 1
    piece.evaluated({"hit": 0.5, "format": 0.5}, 0)
    assert piece.factor() == 1
    piece.evaluated({"hit": 0.75, "format": 0.5}, 4)
    assert piece.factor() == pytest.approx(0.5 + 1.5 * math.tanh(0.125))
    # a resumed run evaluates the step again
    piece.evaluated({"hit": 0.75, "format": 0.5}, 4)
    assert piece.factor() == pytest.approx(0.5 + 1.5 * math.tanh(0.125))
    piece.evaluated({"hit": 0.5, "format": 0.5}, 8)
    assert piece.factor() == 0.5
    with pytest.raises(UserError, match=r"objective format .* there are: hit"):
        piece.evaluated({"hit": 0.5}, 12)


def test_opo_weighs_the_baseline_by_length() -> None:
    batch = batch_of([[1.0, 0, 0]], lengths_BG=torch.tensor([[6, 1, 1]]))
    found = GroupRelative(baseline="length_weighted", scale="none")(batch)
    assert found.tolist() == [[0.25, -0.75, -0.75]]
    median = GroupRelative(baseline="median", scale="none")(batch)
    assert median.tolist() == [[1, 0, 0]]
    assert LIMIT == batch.completion_limit


def test_a_tree_without_branches_credits_twice_the_advantage() -> None:
    advantages = torch.tensor([0.5, 0.5, -1.0], dtype=torch.float64)
    tokens = tokens_of([2, 2, 2], group_size=3)
    found = TreeValues()(advantages, tokens, None)
    assert torch.allclose(found, 2 * advantages[:, None].expand(3, 2))


def test_branches_of_branches_hang_where_they_left() -> None:
    # row 1 leaves row 0 after two tokens, row 2 leaves row 1 after its third, row 3 leaves row 0 at its start
    parent, shared, lengths = [-1, 0, 1, 0], [0, 2, 3, 0], [4, 4, 5, 2]
    found = tree_segments([0, 1, 2, 3], parent, shared, lengths, [1.0, 0.0, 0.0, 1.0])
    spans = [(s.row, s.start, s.end, len(s.leaves)) for s in found]
    assert spans == [(0, 0, 2, 3), (0, 2, 4, 1), (1, 2, 3, 2), (1, 3, 4, 1), (2, 3, 5, 1), (3, 0, 2, 1)]
    above = [s.above and (s.above.row, s.above.start) for s in found]
    assert above == [None, (0, 0), (0, 0), (1, 2), (1, 2), None]
    # both ways on from row 1's first own token are worth the same, so they have its credit
    assert found[3].credit == found[4].credit == found[2].credit


def test_groups_branch_at_the_most_surprising_tokens() -> None:
    group = group_of([1.0, 0.0])
    group.rollouts[0].logprobs_T = [-0.1, -3.0, -0.2, -2.0]
    group.rollouts[1].logprobs_T = [-5.0]
    group.rollouts[1].token_ids_T = [7]
    plan = SurprisingTokens()
    assert plan.branching_points(group.rollouts, 0) == [(0, 1), (0, 3), (1, 0), (1, 0)]
    assert plan.branching_points(group.rollouts, 1) == [(1, 0), (1, 0)]


def test_a_joined_completion_is_cut_at_the_limit() -> None:
    rollout = group_of([1.0]).rollouts[0]
    went_on = Completion([8, 9, 10], [-2.0, -2.0, -2.0], 0.2, Finish.STOP)
    whole = joined(rollout, 2, went_on, limit=16)
    assert (whole.token_ids_T, whole.logprobs_T) == ([3, 4, 8, 9, 10], [-1, -1, -2, -2, -2])
    assert whole.entropy == pytest.approx((2 * 0.5 + 3 * 0.2) / 5)
    assert whole.finish is Finish.STOP
    cut = joined(rollout, 2, went_on, limit=4)
    assert (cut.token_ids_T, cut.finish) == ([3, 4, 8, 9], Finish.LENGTH)
