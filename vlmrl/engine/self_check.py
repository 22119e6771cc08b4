"""The check before training: the shared engine must agree with the naive one on a real group of this run.

How far two right computations are apart in bfloat16 depends on the model: deep and recurrent ones amplify every
rounding. Where a fixed tolerance is exceeded there, the model is asked: the naive computation is repeated with one
rounding more after every layer, and what that changes is the measure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlmrl.engine.base import Engine
from vlmrl.engine.distribution import NO_TRUNCATION, Truncation
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.models.load import Policy
from vlmrl.types import Prompt

LOGPROB_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.25}
GRADIENT_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
ROUNDINGS = 4.0
"""How many times the effect of one more rounding per layer is still rounding. The two engines' real differences were
0.1 to 1.4 times that effect on small random models of all families, once 3.1 where experts were chosen differently."""
BFLOAT16_ULP = 2.0**-8
"""Largest relative distance of neighbouring bfloat16 numbers."""


@dataclass(frozen=True)
class Difference:
    """How far two engines are apart."""

    logprob: float
    """Largest absolute difference of a token's log-probability."""
    gradient: float
    """Norm of the difference of all gradients, relative to the naive gradient's norm."""

    def within(self, other: "Difference") -> bool:
        """Whether neither figure is above the other's."""
        return self.logprob <= other.logprob and self.gradient <= other.gradient

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


def _difference(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Difference:
    error = (one[1] - other[1]).norm() / other[1].norm().clamp_min(1e-30)
    return Difference((one[0] - other[0]).abs().max().item(), error.item())


def compare_with_naive(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    truncation: Truncation = NO_TRUNCATION,
) -> Difference:
    """Log-probs and gradients of the shared engine against the naive one, over the trainable parameters."""
    shared = _logprobs_and_gradient(SharedEngine(policy, 1), prompts, completions, temperature, truncation)
    return _difference(
        shared, _logprobs_and_gradient(NaiveEngine(policy, 1), prompts, completions, temperature, truncation)
    )


def rounding_effect(
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Sequence[int]]],
    temperature: float,
    truncation: Truncation = NO_TRUNCATION,
) -> Difference:
    """What the naive computation changes by if every layer's output moves to a neighbouring bfloat16 number or stays,
    at random."""
    naive = NaiveEngine(policy, 1)
    plain = _logprobs_and_gradient(naive, prompts, completions, temperature, truncation)
    hooks = [layer.register_forward_hook(_rounded_again) for layer in policy.decoder_layers()]
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            rounded = _logprobs_and_gradient(naive, prompts, completions, temperature, truncation)
    finally:
        for hook in hooks:
            hook.remove()
    return _difference(rounded, plain)


def _rounded_again(layer: nn.Module, inputs: Any, output: Any) -> Any:
    hidden = output[0] if isinstance(output, tuple) else output
    steps = torch.randint(-1, 2, hidden.shape, device=hidden.device).to(hidden.dtype)
    moved = hidden * (1 + BFLOAT16_ULP * steps)
    return (moved, *output[1:]) if isinstance(output, tuple) else moved


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
    allowed = Difference(LOGPROB_TOLERANCE[dtype], GRADIENT_TOLERANCE[dtype])
    if not difference.within(allowed) and dtype is torch.bfloat16:
        effect = rounding_effect(policy, [prompt], [completions], temperature, truncation)
        allowed = Difference(
            max(allowed.logprob, ROUNDINGS * effect.logprob), max(allowed.gradient, ROUNDINGS * effect.gradient)
        )
    if not difference.within(allowed):
        raise UserError(
            f"the shared-prompt computation disagrees with the ordinary one on this model: {difference}; allowed are "
            f"{allowed.logprob:.1e} and {allowed.gradient:.1e}; train with engine.kind=naive and report the model"
        )
    return difference
