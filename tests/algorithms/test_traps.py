"""Mistakes that were found in published implementations. Each test fails on the wrong version."""

import math

import pytest
import torch

from tests.algorithms.batches import LIMIT, algorithm_of, batch_of, tokens_of
from tests.algorithms.rollouts import group_of
from vlmrl.algorithms.advantages import GroupRelative, is_constant
from vlmrl.algorithms.auxiliary import Retrospective
from vlmrl.algorithms.loss import step_terms
from vlmrl.algorithms.objectives import Discriminative
from vlmrl.algorithms.points import POINTS
from vlmrl.algorithms.reward_transforms import SoftOverlong
from vlmrl.algorithms.surrogates import Cispo
from vlmrl.algorithms.token_credit import Whitened
from vlmrl.training.credit import make_tokens
from vlmrl.training.update import units_of
from vlmrl.types import Source


def test_a_factor_of_all_rewards_vanishes_under_a_deviation() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 1]], dtype=torch.float64)
    plain, scaled = batch_of(rewards), batch_of(rewards).rewards.times(1.7)
    assert torch.allclose(GroupRelative()(plain), GroupRelative()(batch_of(scaled.total_BG)), atol=1e-3)
    assert GroupRelative().scales_away_constants
    assert not GroupRelative(scale="none").scales_away_constants


def test_a_filter_on_shaped_rewards_would_keep_a_group_of_wrong_answers() -> None:
    batch = batch_of([[0.0, 0, 0, 0]], lengths_BG=torch.tensor([[1, 8, 7, 2]]))
    shaped = SoftOverlong()(batch.rewards, batch)
    assert not is_constant(shaped.total_BG, batch.valid_BG).any()
    assert not algorithm_of("algorithm=dapo").filter(batch).any()


def test_stored_log_probs_stay_the_ratios_denominator() -> None:
    group = group_of([1.0, 0.0])
    group.rollouts[0].old_logprobs_T = [-3.0] * 4
    tokens = make_tokens([group], torch.device("cpu"))
    assert tokens.old_NT[0].tolist() == [-3.0] * 4
    assert tokens.old_NT[1].isnan().all()


def test_a_rollout_trains_the_prompt_it_says() -> None:
    group, hinted = group_of([1.0, 0.0, 0.0]), group_of([1.0])
    group.rollouts[0] = hinted.rollouts[0]
    group.rollouts[0].prompt = hinted.prompt
    units = units_of([group])[0]
    assert [(unit.prompt, unit.rows) for unit in units] == [(hinted.prompt, [0]), (group.prompt, [1, 2])]


def test_masked_completions_still_shape_their_groups_statistics() -> None:
    truncated = torch.tensor([[True, False, False, False]])
    batch = batch_of([[1.0, 0, 0, 0]], truncated_BG=truncated)
    assert GroupRelative(scale="none")(batch).tolist() == [[0.75, -0.25, -0.25, -0.25]]
    tokens = tokens_of([2, 3, 1, 2], group_size=4, truncated_N=truncated[0], advantages_NT=torch.ones(4, 1))
    terms = step_terms(algorithm_of("algorithm=overlong_masking"), tokens, 1, LIMIT)
    assert terms.keep_NT.sum(1).tolist() == [0, 3, 1, 2]
    assert (terms.counts.sequences, terms.counts.tokens) == (4, 6)


def test_whitening_over_tokens_weighs_length_and_moves_constant_groups() -> None:
    advantages = torch.tensor([0.5, -0.5, 0.0, 0.0], dtype=torch.float64)
    whitened = Whitened()(advantages, tokens_of([5, 1, 1, 1]), None)
    over_sequences = advantages / advantages.std()
    assert not torch.allclose(whitened[:, 0], over_sequences)
    # the long good answer raises the mean, so a group without differences is pushed down
    assert (whitened[2:, 0] < -0.1).all()


def test_cispos_cap_is_no_width() -> None:
    ratio = torch.tensor([[0.1, 3.0, 7.0]])
    logprobs = ratio.log().requires_grad_()
    loss = Cispo()(logprobs, torch.zeros(1, 3), torch.ones(1, 1), tokens_of([3])).loss_NT
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    assert torch.allclose(-gradient, torch.tensor([[0.1, 3.0, 5.0]]))


def test_bnpo_is_the_beta_normalisation_and_no_reducer() -> None:
    bnpo = algorithm_of("algorithm=bnpo")
    assert isinstance(bnpo.advantage, GroupRelative)
    assert bnpo.advantage.scale == "beta"
    assert "bnpo" not in POINTS["reducer"].shipped()


def test_discos_gradient_is_a_softmax_over_wrong_answers() -> None:
    """A log-mean-exp whose denominator has no gradient has this gradient and another value."""
    scores = torch.tensor([[-0.3, -0.4, -0.9]], dtype=torch.float64)
    piece = Discriminative(temperature=0.5)
    levels, lengths = torch.tensor([[1, 2, 2]]), torch.ones(1, 3)
    expected = (scores[0, 1:] / 0.5).softmax(0)
    assert torch.allclose(piece.factors(scores, levels, lengths, LIMIT)[0, 1:], expected)
    value = piece(scores, levels, lengths, LIMIT)
    assert value.item() == pytest.approx(0.3 + 0.5 * math.log((math.exp(-0.8) + math.exp(-1.8)) / 2))


def test_progress_is_measured_against_the_past_alone() -> None:
    piece = Retrospective(window=3)
    for reward in (0.1, 0.2):
        piece.after([], reward)
        assert piece.progress(0.9) == 0
    piece.after([], 0.3)
    # past mean 0.2, population deviation sqrt(2/3) / 10
    assert piece.progress(0.25) == pytest.approx(0.05 / (math.sqrt(2 / 3) / 10))


def test_half_a_group_has_other_advantages() -> None:
    whole = GroupRelative()(batch_of([[1.0, 0, 0, 0]]))
    halves = GroupRelative()(batch_of([[1.0, 0], [0, 0]])).reshape(1, 4)
    assert not torch.allclose(whole, halves)
    # so groups are never split: a unit holds all completions of a prompt
    assert [len(unit.rows) for unit in units_of([group_of([1.0, 0, 0, 0])])[0]] == [4]


def test_where_a_rollout_comes_from_is_on_the_rollout() -> None:
    assert {source.value for source in Source} == {"sampled", "hinted", "replayed", "expert"}
