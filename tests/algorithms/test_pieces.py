"""Golden numbers from the formulas, and the properties every piece must have."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlmrl.algorithms.advantages import group_advantages, is_constant
from vlmrl.algorithms.presets import DAPO, DR_GRPO, GRPO, choose_algorithm
from vlmrl.algorithms.reducers import StepCounts, reduce
from vlmrl.algorithms.regularisers import k3
from vlmrl.algorithms.reward_transforms import soft_overlong
from vlmrl.algorithms.surrogates import clipped_ratio
from vlmrl.config import AlgorithmConfig, RolloutConfig
from vlmrl.errors import UserError

REWARDS = torch.tensor([[1.0, 0, 0, 1, 1, 0, 0, 0]])
ALL = torch.ones_like(REWARDS, dtype=torch.bool)
groups = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=8)


def test_grpo_advantages() -> None:
    expected = torch.where(REWARDS == 1, 1.207381, -0.724429)
    assert torch.allclose(group_advantages(REWARDS, ALL, "mean", "group_std"), expected, atol=1e-6)


def test_dr_grpo_advantages() -> None:
    expected = torch.where(REWARDS == 1, 0.625, -0.375)
    assert torch.allclose(group_advantages(REWARDS, ALL, "mean", "none"), expected)


def test_invalid_rollouts_leave_the_statistics() -> None:
    valid = torch.tensor([[True] * 6 + [False] * 2])
    rewards = REWARDS.clone()
    rewards[0, 6:] = torch.nan
    advantages = group_advantages(rewards, valid, "mean", "none")
    assert advantages.tolist() == [[0.5, -0.5, -0.5, 0.5, 0.5, -0.5, 0, 0]]


def test_group_without_valid_rollouts_is_zero() -> None:
    none = torch.zeros_like(ALL)
    assert group_advantages(REWARDS, none, "mean", "group_std").eq(0).all()
    assert is_constant(REWARDS, none).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 0.9, 1.1])
def test_constant_group_is_exactly_zero(value: float, dtype: torch.dtype) -> None:
    rewards = torch.full((1, 8), value, dtype=dtype)
    rewards[0, 0] += 1e-8 if dtype is torch.float32 else 0
    assert group_advantages(rewards, ALL, "mean", "group_std").eq(0).all()


@given(groups, st.floats(-5, 5, width=32))
def test_advantages_ignore_a_shift_and_sum_to_zero(rewards: list[float], shift: float) -> None:
    r = torch.tensor([rewards], dtype=torch.float64)
    valid = torch.ones_like(r, dtype=torch.bool)
    for scale in ("group_std", "none"):
        a = group_advantages(r, valid, "mean", scale)
        assert a.sum().abs() < 1e-6
        assert torch.allclose(a, group_advantages(r + shift, valid, "mean", scale), atol=1e-3)


@given(groups, st.randoms())
def test_advantages_follow_a_permutation(rewards: list[float], random: object) -> None:
    order = list(range(len(rewards)))
    random.shuffle(order)
    r = torch.tensor([rewards])
    valid = torch.ones_like(r, dtype=torch.bool)
    straight = group_advantages(r, valid, "mean", "group_std")[:, order]
    assert torch.allclose(straight, group_advantages(r[:, order], valid, "mean", "group_std"), atol=1e-5)


def test_soft_overlong() -> None:
    lengths = torch.tensor([[16384, 18000, 20480, 21000]])
    expected = torch.tensor([[0, -0.394531, -1, -1]])
    assert torch.allclose(soft_overlong(lengths, 20480, 4096), expected, atol=1e-6)


def test_k3() -> None:
    d = torch.tensor([0.5, -0.3])
    assert torch.allclose(k3(d, torch.zeros(2)), torch.tensor([0.106531, 0.049859]), atol=1e-6)


def test_clipped_ratio_values() -> None:
    old = torch.zeros(2, 3)
    new = torch.log(torch.tensor([[0.5, 1.0, 2.0], [0.5, 1.0, 2.0]]))
    loss, low, high = clipped_ratio(new, old, torch.tensor([1.0, -1.0]), 0.2, 0.28)
    expected = torch.tensor([[-0.5, -1.0, -1.28], [0.8, 1.0, 2.0]])
    assert torch.allclose(loss, expected)
    assert high.tolist() == [[False, False, True], [False] * 3]
    assert low.tolist() == [[False] * 3, [True, False, False]]


def test_on_policy_gradient_is_minus_advantage() -> None:
    logprobs = torch.randn(3, 4, requires_grad=True)
    advantages = torch.tensor([0.7, -1.3, 0.0])
    loss = clipped_ratio(logprobs, logprobs.detach(), advantages, 0.2, 0.2).loss_NT.sum()
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert torch.allclose(gradient, -advantages[:, None].expand(3, 4))


def test_reducers() -> None:
    loss = torch.tensor([[1.0, 1, 9, 9], [2, 2, 2, 2]])
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    counts = StepCounts(sequences=2, tokens=6, completion_limit=8)
    assert reduce(loss, mask, "sequence_mean", counts).item() == pytest.approx(1.5)
    assert reduce(loss, mask, "token_mean", counts).item() == pytest.approx(1.666667)
    assert reduce(loss, mask, "token_sum_constant", counts).item() == pytest.approx(0.625)


@pytest.mark.parametrize("reducer", ["sequence_mean", "token_mean", "token_sum_constant"])
def test_reducers_do_not_depend_on_the_split_or_on_padding(reducer: str) -> None:
    torch.manual_seed(0)
    loss = torch.randn(6, 5)
    mask = torch.arange(5) < torch.tensor([1, 5, 2, 4, 3, 5])[:, None]
    counts = StepCounts(6, int(mask.sum()), 5)
    whole = reduce(loss, mask, reducer, counts)
    parts = sum(reduce(loss[i : i + 2], mask[i : i + 2], reducer, counts) for i in (0, 2, 4))
    assert torch.allclose(whole, parts)
    assert torch.equal(whole, reduce(torch.where(mask, loss, torch.nan), mask, reducer, counts))


def test_presets_are_what_the_papers_say() -> None:
    assert (DR_GRPO.scale, DR_GRPO.reducer) == ("none", "token_sum_constant")
    assert (DAPO.clip_low, DAPO.clip_high, DAPO.reducer, DAPO.drop_constant_groups) == (0.2, 0.28, "token_mean", True)
    assert choose_algorithm(AlgorithmConfig("dapo"), RolloutConfig(max_completion_tokens=20480)).overlong_buffer == 4096


def test_presets_with_their_switches_off_are_grpo() -> None:
    rollout = RolloutConfig()
    dr_grpo = AlgorithmConfig("dr_grpo", scale="group_std", reducer="sequence_mean")
    dapo = AlgorithmConfig(
        "dapo", clip_high=0.2, reducer="sequence_mean", drop_constant_groups=False, overlong_buffer=0
    )
    assert choose_algorithm(dr_grpo, rollout) == choose_algorithm(dapo, rollout) == GRPO


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="group_size=2"):
        choose_algorithm(AlgorithmConfig(), RolloutConfig(group_size=1))
    choose_algorithm(AlgorithmConfig(baseline="none", scale="none"), RolloutConfig(group_size=1))


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="grpo, dr_grpo, dapo"):
        choose_algorithm(AlgorithmConfig("ppo"), RolloutConfig())
