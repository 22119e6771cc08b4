"""The loss of an optimiser step, from the pieces that make it. Pure functions: the trainer supplies log-probs.

A step is computed in passes. What needs the whole step is worked out first (`step_terms`), so that the sum of the
passes' losses (`pass_loss`) is the same for every split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.batch import Tokens, sequence_sum
from vlmrl.algorithms.reducers import StepCounts
from vlmrl.algorithms.regularisers import Policies
from vlmrl.algorithms.surrogates import Loss


@dataclass(frozen=True)
class StepTerms:
    """What all passes of an optimiser step share; rows are those of the whole step."""

    counts: StepCounts
    keep_NT: Tensor
    """bool: tokens in the loss."""
    weight_NT: Tensor | None
    """Factors of the policy loss; None where all are 1."""
    regulariser_weights: Mapping[str, float]
    selected_tokens: Mapping[str, int]
    """Tokens that each selective regulariser acts on."""
    factors_N: Tensor | None
    """A group objective's derivative by each rollout's score."""


@dataclass(frozen=True)
class PassLoss:
    """One pass's share of the step's loss, and what is watched, summed over each row's tokens in the loss."""

    loss: Tensor
    clipped_low_N: Tensor
    """Tokens whose ratio was clipped from below."""
    clipped_high_N: Tensor
    kl_N: Tensor
    """The first KL regulariser's estimate; 0 if there is none."""


def step_terms(algorithm: Algorithm, tokens: Tokens, step: int, completion_limit: int) -> StepTerms:
    """What the passes of an optimiser step share, by the log-probs that `tokens` hold now."""
    keep_NT, weight_NT = tokens.mask_NT, None
    for piece in algorithm.token_weights.values():
        weighting = piece(tokens)
        if weighting.keep_NT is not None:
            keep_NT = keep_NT & weighting.keep_NT
        if weighting.weight_NT is not None:
            weight_NT = weighting.weight_NT if weight_NT is None else weight_NT * weighting.weight_NT
    regularisers = algorithm.loss_regularisers
    return StepTerms(
        counts=StepCounts(len(keep_NT), int(keep_NT.sum()), completion_limit),
        keep_NT=keep_NT,
        weight_NT=weight_NT,
        regulariser_weights={
            label: piece.weight(step, tokens) * algorithm.factor(label) for label, piece in regularisers.items()
        },
        selected_tokens={
            label: int((keep_NT & piece.gate(tokens)[:, None]).sum())
            for label, piece in regularisers.items()
            if piece.selective
        },
        factors_N=_objective_factors(algorithm, tokens, completion_limit),
    )


def _objective_factors(algorithm: Algorithm, tokens: Tokens, completion_limit: int) -> Tensor | None:
    objective = algorithm.objective
    if objective is None:
        return None
    assert tokens.now_NT is not None
    size = len(tokens.group_N) // int(tokens.group_N.max() + 1)
    scores_N = objective.scores(tokens.now_NT, tokens.old_NT, tokens)
    grid = (tokens.level_N, tokens.lengths())
    levels_BG, lengths_BG = (values.reshape(-1, size) for values in grid)
    return objective.factors(scores_N.reshape(-1, size), levels_BG, lengths_BG, completion_limit).reshape(-1)


def pass_loss(
    algorithm: Algorithm,
    logprobs_NT: Tensor,
    step_tokens: Tokens,
    rows: Sequence[int],
    terms: StepTerms,
    logits_RV: Tensor | None = None,
    teacher_logits_RV: Tensor | None = None,
) -> PassLoss:
    """The loss of some rows of the step, with gradient through `logprobs_NT` and `logits_RV`.

    Every log-prob of `step_tokens` that the algorithm needs must be there for these rows.
    """
    width = logprobs_NT.shape[1]
    tokens = step_tokens.take(rows, width)
    index = torch.tensor(rows, device=logprobs_NT.device)
    keep_NT = terms.keep_NT[index, :width]
    policies = Policies(logprobs_NT, tokens.old_NT, logits_RV, teacher_logits_RV)
    policy: Tensor | None = None
    if terms.factors_N is not None:
        assert algorithm.objective is not None
        scores_N = algorithm.objective.scores(logprobs_NT, tokens.old_NT, tokens)
        total = (terms.factors_N[index] * scores_N).sum()
        low = high = torch.zeros_like(keep_NT)
    else:
        surrogate = _surrogate(algorithm, policies, tokens)
        policy, low, high = surrogate
        if terms.weight_NT is not None:
            policy = terms.weight_NT[index, :width] * policy
        total = logprobs_NT.new_zeros(())
    kl_NT: Tensor | None = None
    for label, piece in algorithm.loss_regularisers.items():
        value_NT = piece(policies, tokens)
        weight = terms.regulariser_weights[label]
        if piece.selective:
            gate_NT = keep_NT & piece.gate(tokens)[:, None]
            total = total + weight * torch.where(gate_NT, value_NT, 0.0).sum() / max(terms.selected_tokens[label], 1)
        else:
            policy = weight * value_NT if policy is None else policy + weight * value_NT
        if piece.measures_kl and kl_NT is None:
            kl_NT = value_NT
    if policy is not None:
        total = algorithm.reducer(policy, keep_NT, terms.counts) + total
    watched = (low, high, torch.zeros_like(keep_NT) if kl_NT is None else kl_NT)
    return PassLoss(total, *(sequence_sum(values.detach().float(), keep_NT) for values in watched))


def _surrogate(algorithm: Algorithm, policies: Policies, tokens: Tokens) -> Loss:
    assert tokens.advantages_NT is not None
    advantages_NT = tokens.advantages_NT.to(policies.logprobs_NT.dtype)
    loss = algorithm.surrogate(policies.logprobs_NT, policies.old_NT, advantages_NT, tokens)
    if algorithm.expert_surrogate is None or not tokens.expert_N.any():
        return loss
    expert = algorithm.expert_surrogate(policies.logprobs_NT, policies.old_NT, advantages_NT, tokens)
    by_expert_N1 = tokens.expert_N[:, None]
    return Loss(*(torch.where(by_expert_N1, theirs, own) for theirs, own in zip(expert, loss, strict=True)))
