"""The check before training: the shared engine must agree with the naive one on a real group of this run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmrl.engine.base import Engine
from vlmrl.engine.distribution import NO_TRUNCATION, Truncation
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.models.load import Policy
from vlmrl.types import Prompt

LOGPROB_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25}
GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}


@dataclass(frozen=True)
class Difference:
    """How far two engines are apart."""

    logprob: float
    """Largest absolute difference of a token's log-probability."""
    gradient: float
    """Norm of the difference of all gradients, relative to the naive gradient's norm."""

    def __str__(self) -> str:
        return f"log-probs differ by at most {self.logprob:.1e}, gradients by {self.gradient:.1e} (relative)"


CHECKED_MEMBERS = 2
CHECKED_TOKENS = 32
"""Completions of the checked group and their length: as long as they are ragged, more would find nothing else."""


def _logprobs_and_gradient(
    engine: Engine,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    truncation: Truncation,
) -> tuple[Tensor, Tensor]:
    parameters = [p for p in engine.policy.model.parameters() if p.requires_grad]
    scored = engine.logprobs(prompts, completions, temperature, truncation)
    # signs alternate over the members, as advantages do, so that errors cannot hide in a common factor
    signs = 1.0 - 2.0 * (torch.arange(len(scored.logprobs_NT), device=scored.logprobs_NT.device) % 2)
    total = (scored.logprobs_NT * signs[:, None]).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    flat = [
        torch.zeros_like(p).flatten() if g is None else g.flatten() for p, g in zip(parameters, gradients, strict=True)
    ]
    return scored.logprobs_NT.detach(), torch.cat(flat).float()


def compare_with_naive(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    truncation: Truncation = NO_TRUNCATION,
) -> Difference:
    """Log-probs and gradients of the shared engine against the naive one, over the trainable parameters."""
    shared, gradient = _logprobs_and_gradient(SharedEngine(policy, 1), prompts, completions, temperature, truncation)
    naive, oracle = _logprobs_and_gradient(NaiveEngine(policy, 1), prompts, completions, temperature, truncation)
    error = (gradient - oracle).norm() / oracle.norm().clamp_min(1e-30)
    return Difference((shared - naive).abs().max().item(), error.item())


def require_agreement(
    policy: Policy,
    prompt: Prompt,
    completions: Sequence[Sequence[int]],
    temperature: float,
    truncation: Truncation = NO_TRUNCATION,
) -> Difference:
    """Compares one group. Raises UserError if the engines disagree by more than rounding."""
    difference = compare_with_naive(policy, [prompt], [completions], temperature, truncation)
    dtype = policy.compute_dtype
    if difference.logprob > LOGPROB_TOLERANCE[dtype] or difference.gradient > GRADIENT_TOLERANCE[dtype]:
        raise UserError(
            f"the shared-prompt computation disagrees with the ordinary one on this model: {difference}; "
            "train with engine.kind=naive and report the model"
        )
    return difference
