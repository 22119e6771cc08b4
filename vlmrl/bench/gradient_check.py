"""The gate of every benchmark: the gradient of the measured step must be the naive computation's gradient."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmrl.bench.sides import PLAIN_ATTENTION, Completions, Side, policy_loss
from vlmrl.bench.workload import Workload
from vlmrl.engine.naive import NaiveEngine
from vlmrl.errors import UserError
from vlmrl.models.load import Policy

FLOAT32_TOLERANCE = 1e-5
BFLOAT16_FACTOR = 2.0
"""How much further from the float32 gradient than naive bfloat16 the measured step may be."""


@dataclass(frozen=True)
class GradientError:
    """Norm of the gradient's error over all trained parameters, relative to the naive float32 gradient's norm."""

    error: float
    tolerance: float

    def __str__(self) -> str:
        return f"gradient error against naive {self.error:.1e} (tolerance {self.tolerance:.1e})"

    def require(self, setting: object) -> None:
        """Raises UserError if the error is above the tolerance: a wrong step's speed means nothing."""
        if not self.error <= self.tolerance:
            raise UserError(f"setting {setting}: {self}; nothing is reported for a step that computes something else")


def gradient_error(side: Side) -> GradientError:
    """Runs one step of `side` and the naive computation on the completions it sampled."""
    policy = side.policy
    clear_gradients(policy)
    side.prepare()
    completions = side.step()
    gradient = _gradients(policy)
    naive = naive_gradients(policy, side.workload, completions)
    if policy.compute_dtype is torch.float32:
        return GradientError(_distance(gradient, naive), FLOAT32_TOLERANCE)
    with _in_float32(policy):
        oracle = naive_gradients(policy, side.workload, completions)
    return GradientError(_distance(gradient, oracle), BFLOAT16_FACTOR * _distance(naive, oracle))


def naive_gradients(policy: Policy, workload: Workload, completions: Completions) -> list[Tensor]:
    """Gradients of the step's loss, every completion computed with its own copy of the prompt, one row at a time."""
    clear_gradients(policy)
    policy.use_attention(PLAIN_ATTENTION)
    prompt, engine = workload.encode(policy), NaiveEngine(policy, 0)
    for row, advantage in zip(completions, workload.advantages.to(policy.device), strict=True):
        scored = engine.logprobs([prompt], [[row]], temperature=1.0)
        (policy_loss(scored.logprobs_NT, advantage[None]) / len(completions)).backward()
    gradients = _gradients(policy)
    clear_gradients(policy)
    return gradients


def clear_gradients(policy: Policy) -> None:
    """Gradients of all trained parameters, allocated and zero."""
    for parameter in policy.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)


def _gradients(policy: Policy) -> list[Tensor]:
    return [p.grad for p in policy.model.parameters() if p.grad is not None]


def _distance(gradients: Sequence[Tensor], oracle: Sequence[Tensor]) -> float:
    difference = sum((a.double() - b.double()).square().sum() for a, b in zip(gradients, oracle, strict=True))
    norm = sum(b.double().square().sum() for b in oracle)
    return float((difference / norm) ** 0.5)


@contextmanager
def _in_float32(policy: Policy) -> Iterator[None]:
    """While entered, the policy computes in float32 on the same weights: widening a bfloat16 weight is exact."""
    frozen = [p for p in policy.model.parameters() if not p.requires_grad]
    reduced = policy.compute_dtype
    policy.compute_dtype = torch.float32
    for parameter in frozen:
        parameter.data = parameter.data.float()
    try:
        yield
    finally:
        policy.compute_dtype = reduced
        for parameter in frozen:
            parameter.data = parameter.data.to(reduced)
