"""Golden numbers: each from a formula, worked out by hand or by an independent script, never by this package."""

import math

import pytest
import torch
from scipy.stats import fisher_exact
from torch import Tensor

from tests.algorithms.batches import algorithm_of, batch_of, tokens_of
from vlmrl.algorithms.advantage_transforms import difficulty_weight
from vlmrl.algorithms.advantages import ForwardCorrected, GroupRelative, beta_density, beta_weights
from vlmrl.algorithms.auxiliary import Retrospective
from vlmrl.algorithms.curricula import deficit_weights
from vlmrl.algorithms.filters import variance_share
from vlmrl.algorithms.objectives import Discriminative, PairwisePreference
from vlmrl.algorithms.reducers import SequenceMean, StepCounts, TokenMean, TokenSum, TokenSumConstant
from vlmrl.algorithms.regularisers import Kl, kl_estimate
from vlmrl.algorithms.reward_transforms import BackwardCorrected, RankedLength, TrustedThoughts, soft_overlong, trust
from vlmrl.algorithms.surrogates import BoundedTarget, Clip, ExpertShaping, SigmoidGate, log_ratio
from vlmrl.algorithms.token_credit import KeyTokens, TreeValues, Whitened
from vlmrl.algorithms.token_weights import OwnTokens, SamplerRatio

ONE = [[1.0, 0, 0, 1, 1, 0, 0, 0]]
THREE = [[1.0, 0, 0, 1], [1.0, 1, 1, 0], [0.0, 0, 0, 0]]


def near(found: Tensor, expected: object, places: float = 1e-6) -> bool:
    return torch.allclose(found.double(), torch.as_tensor(expected, dtype=torch.float64), atol=places, rtol=0)


def test_01_02_grpo() -> None:
    rewards = torch.tensor(ONE, dtype=torch.float64)
    assert near(rewards.mean(), 0.375)
    assert near(rewards.std(), 0.517549)
    assert near(GroupRelative()(batch_of(ONE)), torch.where(rewards == 1, 1.207381, -0.724429))


def test_03_dr_grpo_and_rloo() -> None:
    rewards = torch.tensor(ONE)
    assert near(GroupRelative(scale="none")(batch_of(ONE)), torch.where(rewards == 1, 0.625, -0.375))
    rloo = GroupRelative(baseline="leave_one_out", scale="none")(batch_of(ONE))
    assert near(rloo, torch.where(rewards == 1, 0.714286, -0.428571))


def test_04_lite_ppo() -> None:
    found = GroupRelative(scale="batch")(batch_of(THREE))
    a, b, c = 0.97082, 0.48541, -1.45623
    assert near(found, [[a, -a, -a, a], [b, b, b, c], [0, 0, 0, 0]], 1e-5)


def test_05_reinforce_pp_baseline() -> None:
    advantages = GroupRelative(scale="none")(batch_of(THREE)).reshape(-1)
    found = Whitened()(advantages, tokens_of([1] * 12), None).reshape(3, 4)
    a, b, c = 1.253566, 0.626783, -1.880349
    assert near(found, [[a, -a, -a, a], [b, b, b, c], [0, 0, 0, 0]])


def test_06_07_bnpo() -> None:
    means = torch.tensor([0.5, 0.75, 0.0], dtype=torch.float64)
    weights = beta_weights(means)
    assert near(weights[:2], [0.938331, 0.988721])
    assert weights[2] == 1e6
    found = GroupRelative(order="normalise", scale="beta")(batch_of(THREE))
    a, b, c = 0.469166, 0.247180, -0.741541
    assert near(found, [[a, -a, -a, a], [b, b, b, c], [0, 0, 0, 0]])
    p = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    half = torch.tensor(1.5)
    assert near(1 / beta_density(p, half, half), [0.906900, 0.785398, 0.906900])


def test_08_soft_overlong() -> None:
    found = soft_overlong(torch.tensor([[16384, 18000, 20480, 21000]]), 20480, 4096)
    assert near(found, [[0, -0.394531, -1, -1]])


def test_09_ratios() -> None:
    lp, old, mask = torch.tensor([[0.1, -0.2, 0.05]]), torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool)
    for level, expected in (
        ("sequence", [[0.983471]]),
        ("sequence_sum", [[0.951229]]),
        ("token", [[1.105171, 0.818731, 1.051271]]),
        ("sequence_token", [[0.983471] * 3]),
    ):
        assert near(log_ratio(lp, old, mask, level).exp(), expected), level


def test_10_kl_estimates() -> None:
    d, zero = torch.tensor([0.5, -0.3]), torch.zeros(2)
    assert near(kl_estimate(d, zero, zero, "k1"), [0.5, -0.3])
    assert near(kl_estimate(d, zero, zero, "k2"), [0.125, 0.045])
    assert near(kl_estimate(d, zero, zero, "k3"), [0.106531, 0.049859])


def test_11_reducers() -> None:
    loss = torch.tensor([[1.0, 1, 9, 9], [2, 2, 2, 2]])
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    counts = StepCounts(sequences=2, tokens=6, completion_limit=8)
    found = [reducer(loss, mask, counts) for reducer in (SequenceMean(), TokenMean(), TokenSumConstant(), TokenSum())]
    assert near(torch.stack(found), [1.5, 1.666667, 0.625, 5.0])
    assert near(TokenSumConstant(constant=64)(loss, mask, counts), 10 / 128)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(8, [0, 0.4375, 0.75, 0.9375, 1, 0.9375, 0.75, 0.4375, 0]), (5, [0, 0.6667, 1, 1, 0.6667, 0])],
)
def test_12_variance_share(size: int, expected: list[float]) -> None:
    accuracy = torch.tensor([[1.0] * k + [0.0] * (size - k) for k in range(size + 1)], dtype=torch.float64)
    assert near(variance_share(accuracy, torch.ones_like(accuracy, dtype=torch.bool)), expected, 1e-4)


def test_13_noisy_verifiers() -> None:
    batch = batch_of([[0.0, 1.0]])
    corrected = BackwardCorrected(0.1, 0.2)(batch.rewards, batch).total_BG
    assert near(corrected, [[-0.142857, 1.285714]])
    wrong, right = corrected[0]
    assert near(0.9 * wrong + 0.1 * right, 0)
    assert near(0.2 * wrong + 0.8 * right, 1)
    rejected, accepted = ForwardCorrected(0.2)(batch)[0]
    assert near(0.9 * rejected + 0.1 * accepted, -0.7)
    assert near(0.2 * rejected + 0.8 * accepted, 0)


def test_14_difficulty_weights() -> None:
    quarter = torch.tensor([0.25])
    found = [difficulty_weight(quarter, form) for form in ("exponential", "linear", "log")]
    assert near(torch.cat(found), [2.117000, 0.8, 1.309333])


def test_15_trust_grpo() -> None:
    judged = torch.tensor([[0.4, 0.7]])
    assert near(trust(judged, torch.tensor([[True, False]]), torch.tensor([[False, True]])), [0.740818])
    # mean score of the right 0.4, of the wrong 0.7; the rollout in question has 0.6
    batch = batch_of(
        [[1.0, 1.0, 0.3, 0.3]], judged_BG=torch.tensor([[0.6, 0.2, 0.7, 0.7]], dtype=torch.float64), step=1000
    )
    assert near(TrustedThoughts()(batch.rewards, batch).total_BG[0, 0], 1.122685)


def test_16_gbpo() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    standing = (rewards - 0.0) / (rewards.std() + 1e-6)
    assert near(BoundedTarget().target(standing[0]), [1.3, 1, 1, 1])
    assert near(GroupRelative(epsilon=1e-6)(batch_of(rewards))[0, :2], [1.499997, -0.499999])


def test_17_18_disco_and_drpo() -> None:
    scores = torch.tensor([[-0.3, -0.5, -0.4, -0.9, -0.2]])
    levels, lengths = torch.tensor([[1, 1, 2, 2, 2]]), torch.tensor([[100, 300, 9, 9, 9]])
    assert near(-Discriminative()(scores, levels, lengths, 1000), [0.0956871])
    assert near(-Discriminative(basic=True)(scores, levels, lengths, 1000), [0.1])
    assert near(-Discriminative(length_temperature=0.1)(scores, levels, lengths, 1000), [0.171847])


def test_19_luffy() -> None:
    p = torch.tensor([[0.001, 0.01, 0.1, 0.5, 1.0]])
    found = -ExpertShaping()(p.log(), p.log(), torch.ones(1, 1), tokens_of([5])).loss_NT
    assert near(found, [[0.009901, 0.090909, 0.5, 0.833333, 0.909091]])


def test_20_ktae() -> None:
    assert fisher_exact([[3, 1], [1, 3]]).pvalue == pytest.approx(0.485714, abs=1e-6)
    assert KeyTokens().value((4, 3, 5, 100), (4, 1, 2, 120)) == pytest.approx(0.186177, abs=1e-6)


def test_21_gdpo() -> None:
    first = torch.tensor([[1.0, 0, 1, 0], [1, 1, 0, 1]], dtype=torch.float64)
    second = torch.tensor([[0.0, 1, 1, 0], [0.5, 0, 0.5, 1]], dtype=torch.float64)
    batch = batch_of(first + second, components={"a": first, "b": second}, weights={"a": 1.0, "b": 1.0})
    sums = [[0, 0, 1.731751, -1.731751], [0.4999, -0.724545, -1.4997, 1.724345]]
    assert near(GroupRelative(order="normalise")(batch), sums)
    final = [[0, 0, 1.322807, -1.322807], [0.381851, -0.553448, -1.145554, 1.317150]]
    assert near(algorithm_of("algorithm=gdpo").advantage(batch), final)


def test_22_grpo_lambda() -> None:
    batch = batch_of([[1.0, 1, 1, 0]], lengths_BG=torch.tensor([[100, 200, 300, 7]]))
    assert near(RankedLength(alpha=0.6)(batch.rewards, batch).total_BG, [[0.863738, 0.7, 0.536262, 0]])


def test_23_trpa() -> None:
    loss = PairwisePreference()(torch.tensor([[0.2, -0.3]]), torch.tensor([[1, 2]]), torch.ones(1, 2), 8)
    assert near(loss, [0.632599])


def test_24_pipo() -> None:
    piece = Retrospective()
    piece.rewards = [0.2, 0.3, 0.4, 0.3, 0.2, 0.3, 0.4, 0.3]
    assert piece.progress(0.5) == pytest.approx(2.828427, abs=1e-6)
    assert piece.progress(0.1) == pytest.approx(-0.1 * 2.828427, abs=1e-6)
    assert piece.coefficients([1.0, -0.5, -0.5], 1.0) == pytest.approx([1.5, -0.75, -0.75], abs=1e-5)


def test_25_engine_mismatch() -> None:
    tokens = tokens_of([3], old_NT=torch.tensor([[0.5, -1.0, 2.0]]))
    assert near(SamplerRatio()(tokens).weight_NT, [[1.648721, 0.367879, 2.0]])
    assert near(SamplerRatio(high=math.inf)(tokens).weight_NT, [[1.648721, 0.367879, 7.389056]], 1e-5)
    assert near(SamplerRatio(mode="mask", low=0.5)(tokens).weight_NT, [[1.648721, 0, 0]])
    assert near(SamplerRatio(level="sequence", high=math.inf)(tokens).weight_NT, [[4.481689] * 3])
    assert near(SamplerRatio(level="geometric", high=math.inf)(tokens).weight_NT, [[1.648721] * 3])


def test_26_tree_rl() -> None:
    # A is a leaf; B goes on as B1 and B2, whose rows both begin with B's token
    advantages = GroupRelative(baseline="leave_one_out", scale="none")(batch_of([[1.0, 1.0, 0.0]]))
    assert near(advantages, [[0.5, 0.5, -1]])
    tokens = tokens_of([1, 2, 2], group_size=3, parent_N=torch.tensor([-1, -1, 1]), shared_N=torch.tensor([0, 0, 1]))
    a, b, b1, b2 = 1.1, -0.4, 1.35, -1.65
    found = TreeValues()(advantages[0], tokens, None)
    assert near(found, [[a, 0], [b, b1], [0, b2]])
    kept = OwnTokens()(tokens).keep_NT
    assert kept is not None
    assert kept.tolist() == [[True, False], [True, True], [False, True]]


def test_27_sapo() -> None:
    ratio = torch.tensor([[0.5, 1.0, 2.0]])
    logprobs = ratio.log().requires_grad_()
    loss = SigmoidGate()(logprobs, torch.zeros(1, 3), torch.ones(1, 1), tokens_of([3])).loss_NT
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert near(-gradient / ratio, [[0.940015, 1, 0.786448]])


def test_28_kdrl_schedule() -> None:
    kl = algorithm_of("algorithm=kdrl").regularisers["teacher"]
    assert isinstance(kl, Kl)
    # steps are counted from 1 here and from 0 there
    assert [kl.coefficient_at(step + 1) for step in (0, 40, 80, 200)] == pytest.approx([0.005, 0.003, 0.001, 0.001])


def test_29_dual_clip() -> None:
    logprobs = torch.full((1, 1), math.log(4.0), requires_grad=True)
    for dual, value, slope in ((None, 4.0, 4.0), (3.0, 3.0, 0.0)):
        loss = Clip(dual=dual)(logprobs, torch.zeros(1, 1), -torch.ones(1, 1), tokens_of([1])).loss_NT
        (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
        assert near(loss, [[value]])
        assert near(gradient, [[slope]], 1e-5)


def test_30_rule_reasoner() -> None:
    assert deficit_weights([0.8, 0.4, 0.0], 0.3) == pytest.approx([0.750142, 0.197735, 0.052122], abs=1e-6)
