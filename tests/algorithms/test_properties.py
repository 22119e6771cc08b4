"""What must hold of estimators, surrogates, regularisers and reducers whatever the numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.algorithms.batches import LIMIT, algorithm_of, batch_of, tokens_of
from tests.algorithms.test_choose import GIVEN
from vlmrl.algorithms.advantages import EmaScaled, GroupRelative, is_constant
from vlmrl.algorithms.loss import pass_loss, step_terms
from vlmrl.algorithms.objectives import Discriminative, PairwisePreference
from vlmrl.algorithms.presets import PRESETS
from vlmrl.algorithms.reducers import SequenceMean, StepCounts, TokenMean, TokenSum, TokenSumConstant
from vlmrl.algorithms.regularisers import Estimator, jensen_shannon, kl_estimate
from vlmrl.algorithms.surrogates import BoundedTarget, Cispo, Clip, ExpertShaping, LogClip, SigmoidGate, Surrogate

CENTRED = {
    "grpo": GroupRelative(),
    "dr_grpo": GroupRelative(scale="none"),
    "rloo": GroupRelative(baseline="leave_one_out", scale="none"),
    "lite_ppo": GroupRelative(scale="batch"),
    "gdpo": GroupRelative(order="normalise", whiten_batch=True),
    "ema": EmaScaled(),
}
every_centred = pytest.mark.parametrize("name", CENTRED)
groups = st.lists(st.lists(st.floats(-2, 2, width=32), min_size=4, max_size=4), min_size=1, max_size=4)


def advantages_of(name: str, rewards: object) -> Tensor:
    if name == "ema":
        return EmaScaled()(batch_of(rewards))  # type: ignore[arg-type]
    return CENTRED[name](batch_of(rewards))  # type: ignore[arg-type]


@every_centred
@given(rewards=groups, shift=st.floats(-5, 5, width=32))
def test_a_shift_of_all_rewards_changes_nothing(name: str, rewards: list[list[float]], shift: float) -> None:
    r = torch.tensor(rewards, dtype=torch.float64)
    a = advantages_of(name, r)
    assert torch.allclose(a, advantages_of(name, r + shift), atol=1e-3)


@every_centred
@given(rewards=groups)
def test_advantages_of_a_group_sum_to_zero(name: str, rewards: list[list[float]]) -> None:
    a = advantages_of(name, rewards)
    assert (a.sum() if name == "gdpo" else a.sum(1)).abs().max() < 1e-6


@every_centred
@given(rewards=groups, order=st.permutations(range(4)))
def test_advantages_follow_a_permutation(name: str, rewards: list[list[float]], order: list[int]) -> None:
    r = torch.tensor(rewards, dtype=torch.float64)
    assert torch.allclose(advantages_of(name, r)[:, order], advantages_of(name, r[:, order]), atol=1e-6)


@given(rewards=groups, factor=st.floats(1, 4, width=32))
def test_what_is_divided_by_a_deviation_ignores_the_scale(rewards: list[list[float]], factor: float) -> None:
    r = torch.tensor(rewards, dtype=torch.float64)
    r = torch.where(is_constant(r, torch.ones_like(r, dtype=torch.bool))[:, None], r.mean(1, keepdim=True), r)
    spread = (r.amax(1) - r.amin(1)).max()
    if spread > 0.1:
        assert torch.allclose(advantages_of("lite_ppo", r), advantages_of("lite_ppo", r * factor), atol=0.02)
    for name in ("dr_grpo", "rloo"):
        assert torch.allclose(advantages_of(name, r) * factor, advantages_of(name, r * factor), atol=1e-5)


@every_centred
@pytest.mark.parametrize("value", [0.0, 0.9, 1.1])
def test_a_constant_group_is_exactly_zero(name: str, value: float) -> None:
    rewards = torch.full((2, 8), value, dtype=torch.float64)
    rewards[0, 0] += 1e-8
    assert advantages_of(name, rewards).eq(0).all()
    for dtype in (torch.bfloat16, torch.float32):
        assert is_constant(rewards.to(dtype), torch.ones(2, 8, dtype=torch.bool)).all()


def test_invalid_rollouts_leave_the_statistics() -> None:
    valid = torch.tensor([[True] * 6 + [False] * 2])
    rewards = torch.tensor([[1.0, 0, 0, 1, 1, 0, torch.nan, torch.nan]])
    batch = batch_of(rewards, valid_BG=valid)
    assert GroupRelative(scale="none")(batch).tolist() == [[0.5, -0.5, -0.5, 0.5, 0.5, -0.5, 0, 0]]
    for name in CENTRED:
        nothing = batch_of(rewards, valid_BG=torch.zeros_like(valid))
        estimator = EmaScaled() if name == "ema" else CENTRED[name]
        assert estimator(nothing).eq(0).all(), name


def test_a_component_without_values_does_not_count() -> None:
    first = torch.tensor([[1.0, 0, 1, 0]], dtype=torch.float64)
    nan = torch.full((1, 4), torch.nan, dtype=torch.float64)
    batch = batch_of(first, components={"a": first, "b": nan}, weights={"a": 1.0, "b": 1.0})
    assert torch.equal(GroupRelative(order="normalise")(batch), GroupRelative()(batch))


SURROGATES = [
    Clip(),
    Clip(clip_high=0.28, dual=3.0),
    Clip(delta=4.0),
    Clip(level="sequence", clip_low=3e-4, clip_high=4e-4),
    Clip(level="sequence_token"),
    Clip(log_ratio_limit=6.9),
    Cispo(),
    LogClip(),
    SigmoidGate(),
    BoundedTarget(),
]


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
def test_on_policy_gradient_is_minus_advantage(surrogate: Surrogate) -> None:
    lengths = [3, 5, 2, 4]
    logprobs = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    advantages = torch.tensor([0.7, -1.3, 0.0, 0.4], dtype=torch.float64)
    tokens = tokens_of(lengths, standing_N=advantages)
    loss = surrogate(logprobs, logprobs.detach(), advantages[:, None], tokens).loss_NT
    counts = StepCounts(4, sum(lengths), LIMIT)
    (gradient,) = torch.autograd.grad(SequenceMean()(loss, tokens.mask_NT, counts), logprobs)
    expected = -advantages[:, None] / tokens.lengths()[:, None] / 4 * tokens.mask_NT
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_the_sequence_sums_gradient_is_minus_advantage_for_every_token() -> None:
    logprobs = torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    advantages = torch.tensor([[0.7], [-1.3]], dtype=torch.float64)
    loss = Clip(level="sequence_sum")(logprobs, logprobs.detach(), advantages, tokens_of([3, 3])).loss_NT
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert torch.allclose(gradient, -advantages.expand(2, 3))


def test_expert_shaping_weighs_by_the_probability() -> None:
    p = torch.tensor([[0.02, 0.1, 0.9]], dtype=torch.float64)
    logprobs = p.log().requires_grad_()
    loss = ExpertShaping(gamma=0.1)(logprobs, logprobs.detach(), torch.ones(1, 1), tokens_of([3])).loss_NT
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert torch.allclose(-gradient, p * 0.1 / (p + 0.1) ** 2)


@pytest.mark.parametrize("preset", PRESETS)
def test_splits_and_padding_change_nothing(preset: str) -> None:
    """Loss and gradient of a step are the same for any split into passes, and blind to what stands on padding."""
    torch.manual_seed(0)
    algorithm = algorithm_of(f"algorithm={preset}", *(word for word in GIVEN.get(preset, []) if "algorithm" in word))
    lengths, vocabulary = [1, 5, 2, 4, 3, 5, 5, 2], 6
    old, reference, teacher = (torch.randn(8, 5, dtype=torch.float64) * 0.3 - 1.5 for _ in range(3))
    logits = torch.randn(8, 5, vocabulary, dtype=torch.float64)
    logits[..., 0] = -torch.inf
    their_logits = torch.randn(8, 5, vocabulary, dtype=torch.float64)
    their_logits[..., 0] = -torch.inf
    logprobs = old + 0.3 * torch.randn_like(old)
    correct = torch.tensor([True, False, False, True, False, False, False, True])
    tokens = tokens_of(
        lengths,
        group_size=4,
        old_NT=old,
        rollout_NT=old + 0.1,
        now_NT=logprobs,
        reference_NT=reference,
        teacher_NT=teacher,
        entropy_NT=torch.rand(8, 5, dtype=torch.float64),
        correct_N=correct,
        level_N=torch.where(correct, 1, 2),
        reward_N=correct.double(),
        standing_N=correct.double() - 0.3,
        expert_N=torch.tensor([False] * 7 + [True]),
        advantages_NT=torch.randn(8, 1, dtype=torch.float64),
    )
    mask = tokens.mask_NT

    def run(parts: list[list[int]], logprobs: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        lp, raw = logprobs.clone().requires_grad_(), logits.clone().requires_grad_()
        terms = step_terms(algorithm, tokens, 1, LIMIT)
        losses = []
        for rows in parts:
            real = mask[rows]
            part = pass_loss(algorithm, lp[rows], tokens, rows, terms, raw[rows][real], their_logits[rows][real])
            losses.append(part.loss)
        total = torch.stack(losses).sum()
        grads = torch.autograd.grad(total, [lp, raw], allow_unused=True)
        found = [torch.zeros_like(mask, dtype=torch.float64) if g is None else g for g in grads]
        return total.detach(), torch.cat([g[mask].flatten() for g in found])

    loss, gradient = run([list(range(8))], logprobs, logits)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 1e-6
    for parts in ([[0, 1, 2, 3], [4, 5, 6, 7]], [[4, 5], [0, 6, 7], [1, 2, 3]]):
        again, same = run(parts, logprobs, logits)
        assert torch.allclose(again, loss, atol=1e-12)
        assert torch.allclose(same, gradient, atol=1e-12)
    blank = torch.where(mask, logprobs, torch.nan)
    again, same = run([list(range(8))], blank, logits)
    assert torch.equal(again, loss)
    assert torch.equal(same, gradient)


@pytest.mark.parametrize("reducer", [SequenceMean(), TokenMean(), TokenSumConstant(), TokenSum()], ids=str)
def test_a_mean_over_one_pass_alone_would_depend_on_the_split(reducer: object) -> None:
    """What the shared denominators are for: the token mean of each pass, averaged, is another number."""
    torch.manual_seed(0)
    loss, mask = torch.randn(6, 5), torch.arange(5) < torch.tensor([1, 5, 2, 4, 3, 5])[:, None]
    counts = StepCounts(6, int(mask.sum()), 5)
    whole = reducer(loss, mask, counts)  # type: ignore[operator]
    parts = [reducer(loss[i : i + 2], mask[i : i + 2], counts) for i in (0, 2, 4)]  # type: ignore[operator]
    assert torch.allclose(whole, torch.stack(parts).sum())
    local = torch.stack([loss[i : i + 2][mask[i : i + 2]].mean() for i in (0, 2, 4)]).mean()
    assert not torch.allclose(local, TokenMean()(loss, mask, counts))


@pytest.mark.parametrize("estimator", ["k2", "k3", "rho_k3", "k3_value_k2_gradient"])
def test_the_kl_to_itself_is_zero_and_so_is_its_gradient(estimator: Estimator) -> None:
    logprobs = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    same = logprobs.detach()
    value = kl_estimate(logprobs, same, same, estimator)
    (gradient,) = torch.autograd.grad(value.sum(), logprobs)
    assert value.eq(0).all()
    assert gradient.eq(0).all()


def distributions() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("estimator", "right"),
    [("k1", False), ("k2", True), ("k3", False), ("rho_k3", True), ("k3_value_k2_gradient", True)],
)
def test_which_estimates_have_the_kls_gradient_as_a_loss(estimator: Estimator, right: bool) -> None:
    """By enumeration of a distribution over five tokens."""
    logits, other = distributions()
    logits.requires_grad_()
    logp, logq = logits.log_softmax(0), other.log_softmax(0)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - logq)).sum(), logits, retain_graph=True)
    sampled = kl_estimate(logp, logq, logp.detach(), estimator)
    (found,) = torch.autograd.grad((logp.detach().exp() * sampled).sum(), logits)
    assert torch.allclose(found, exact, atol=1e-12) == right


@pytest.mark.parametrize(("estimator", "right"), [("k1", True), ("k2", False), ("k3", False)])
def test_which_estimates_have_the_kls_gradient_as_a_reward(estimator: Estimator, right: bool) -> None:
    logits, other = distributions()
    logits.requires_grad_()
    logp, logq = logits.log_softmax(0), other.log_softmax(0)
    (exact,) = torch.autograd.grad((logp.exp() * (logp - logq)).sum(), logits, retain_graph=True)
    paid = kl_estimate(logp, logq, logp, estimator).detach()
    (found,) = torch.autograd.grad((logp.exp().detach() * paid * logp).sum(), logits)
    assert torch.allclose(found, exact, atol=1e-12) == right


def test_the_jensen_shannon_divergence_has_its_ends() -> None:
    student, teacher = (x[None] for x in distributions())
    p, q = student.softmax(-1), teacher.softmax(-1)
    assert torch.allclose(jensen_shannon(student, teacher, 0.0), (q * (q / p).log()).sum(-1))
    assert torch.allclose(jensen_shannon(student, teacher, 1.0), (p * (p / q).log()).sum(-1))
    m = 0.3 * q + 0.7 * p
    middle = 0.3 * (q * (q / m).log()).sum(-1) + 0.7 * (p * (p / m).log()).sum(-1)
    assert torch.allclose(jensen_shannon(student, teacher, 0.3), middle)
    assert jensen_shannon(student, student, 0.3).abs() < 1e-12


LEVELS = torch.tensor([[1, 2, 1, 2, 2], [2, 2, 2, 2, 2]])


def test_discos_basic_factors_are_reinforces_by_class() -> None:
    scores = torch.randn(2, 5, dtype=torch.float64)
    factors = Discriminative(basic=True).factors(scores, LEVELS, torch.ones(2, 5), LIMIT)
    # two prompts: the one without a right answer counts in the mean and teaches nothing
    assert torch.allclose(2 * factors[0], torch.tensor([-1 / 2, 1 / 3, -1 / 2, 1 / 3, 1 / 3], dtype=torch.float64))
    assert factors[1].eq(0).all()


def test_a_hot_disco_is_the_basic_one_and_a_slack_drpo_is_disco() -> None:
    scores = torch.randn(2, 5, dtype=torch.float64)
    lengths = torch.randint(1, LIMIT, (2, 5))
    hot = Discriminative(temperature=1e6).factors(scores, LEVELS, lengths, LIMIT)
    basic = Discriminative(basic=True).factors(scores, LEVELS, lengths, LIMIT)
    assert torch.allclose(hot, basic, atol=1e-6)
    slack = Discriminative(length_temperature=1e6).factors(scores, LEVELS, lengths, LIMIT)
    assert torch.allclose(slack, Discriminative().factors(scores, LEVELS, lengths, LIMIT), atol=1e-6)


def test_trpa_raises_the_better_of_every_pair() -> None:
    scores = torch.randn(2, 5, dtype=torch.float64)
    factors = PairwisePreference().factors(scores, LEVELS, torch.ones(2, 5), LIMIT)
    assert (factors[0, [0, 2]] < 0).all()
    assert (factors[0, [1, 3, 4]] > 0).all()
    assert (factors[1] > 0).all()
