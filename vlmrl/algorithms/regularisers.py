"""Terms that hold the policy near another one, or shape its entropy."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from vlmrl.algorithms.batch import Tokens
from vlmrl.algorithms.piece import Need, Piece, required

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm

Estimator = Literal["k1", "k2", "k3", "rho_k3", "k3_value_k2_gradient"]
Rows = Literal["all", "wrong", "failed_groups"]

DIFFERENCE_LIMIT = 20.0
"""Differences of log-probs are clamped to this before exp."""
DRIFT_LIMIT = 2.0


class Policies(NamedTuple):
    """What a regulariser compares in one pass, with gradient where the policy is concerned."""

    logprobs_NT: Tensor
    old_NT: Tensor
    logits_RV: Tensor | None = None
    """The policy's distributions at the R real tokens, row after row; -inf where a token cannot be drawn."""
    teacher_logits_RV: Tensor | None = None


def k3(logprobs_NT: Tensor, other_logprobs_NT: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || other) per token: exp(-d) - 1 + d with d = lp - lp_other, never negative.

    GRPO's KL term (arXiv 2402.03300, eq. 4).
    """
    d = (logprobs_NT - other_logprobs_NT).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
    return (-d).exp() - 1 + d


def kl_estimate(logprobs_NT: Tensor, other_NT: Tensor, old_NT: Tensor, estimator: Estimator) -> Tensor:
    """KL(policy || other) per token, on tokens that the old policy sampled."""
    d = logprobs_NT - other_NT
    match estimator:
        case "k1":
            return d
        case "k2":
            return d.square() / 2
        case "k3":
            return k3(logprobs_NT, other_NT)
        case "rho_k3":
            limited = (logprobs_NT - old_NT).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
            return limited.exp() * k3(logprobs_NT, other_NT)
        case "k3_value_k2_gradient":
            k2 = d.square() / 2
            return k3(logprobs_NT, other_NT).detach() + k2 - k2.detach()


class Regulariser(Piece):
    """(policies, tokens) -> loss [N, T]."""

    coefficient: float
    """0 takes it out of the computation."""
    selective = False
    """One that acts on some rows only is averaged over their tokens; one of all rows goes through the reducer."""
    in_reward = False
    measures_kl = False

    @abstractmethod
    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor: ...

    def weight(self, step: int, tokens: Tokens) -> float:
        """What its loss is multiplied by in a training step, counted from 1; `tokens` are all of that step."""
        return self.coefficient

    def gate(self, tokens: Tokens) -> Tensor:
        """bool [N]: rows it acts on."""
        return torch.ones_like(tokens.correct_N)


@dataclass(frozen=True)
class Kl(Regulariser):
    """coefficient * KL(policy || target), by an estimate per token with d = log p - log p_target.

    k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d, rho_k3 = r k3 with r the ratio to the old policy, and
    k3_value_k2_gradient. As a loss, k2, rho_k3 and k3_value_k2_gradient have the gradient of KL(policy || target); k3
    (GRPO, arXiv 2402.03300) has that of KL(target || policy); k1 has none on average. In the reward only k1 is right.
    """

    coefficient: float = 0.04
    """Weight; DeepSeekMath 0.04, R1 0.001. 0 switches the piece off and saves the pass."""
    target: Literal["reference", "old", "teacher"] = "reference"
    """The start model, the weights that sampled, or algorithm.teacher."""
    estimator: Estimator = "k3"
    """How it is estimated from the sampled token."""
    place: Literal["loss", "reward"] = "loss"
    """reward subtracts it from the rewards before advantages are taken."""
    rows: Rows = "all"
    """wrong: rows whose headline metric is below a half; failed_groups: rows of groups without any accuracy."""
    decay: float = 0.0
    """What the coefficient loses with each step (KDRL, arXiv 2506.02208)."""
    floor: float = 0.0
    """Where a falling coefficient stops."""

    measures_kl = True

    @property
    def in_reward(self) -> bool:  # type: ignore[override]
        return self.place == "reward"

    @property
    def selective(self) -> bool:  # type: ignore[override]
        return self.rows != "all"

    def gate(self, tokens: Tokens) -> Tensor:
        match self.rows:
            case "wrong":
                return ~tokens.correct_N
            case "failed_groups":
                return tokens.group_accuracy_N == 0
        return torch.ones_like(tokens.correct_N)

    def needs(self) -> frozenset[Need]:
        if not self.coefficient:
            return frozenset()
        other: frozenset[Need] = frozenset() if self.target == "old" else frozenset({self.target})
        return other | (frozenset({"old"}) if self.in_reward else frozenset())

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if self.in_reward and self.estimator != "k1":
            return f"estimator={self.estimator} has a wrong gradient in the reward; set estimator=k1"
        if not self.in_reward and self.estimator == "k1":
            return "estimator=k1 has no gradient in the loss on average; set estimator=k2 or place=reward"
        if self.in_reward and self.target == "old":
            return "target=old is 0 in the reward; set target=reference"
        return None

    def weight(self, step: int, tokens: Tokens) -> float:
        return self.coefficient_at(step)

    def coefficient_at(self, step: int) -> float:
        """The coefficient of a step, counted from 1."""
        return max(self.coefficient - self.decay * (step - 1), min(self.coefficient, self.floor))

    def other(self, tokens: Tokens, old_NT: Tensor) -> Tensor:
        """The target's log-probs."""
        found = {"reference": tokens.reference_NT, "teacher": tokens.teacher_NT, "old": old_NT}[self.target]
        assert found is not None
        return found

    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor:
        other = self.other(tokens, policies.old_NT)
        return kl_estimate(policies.logprobs_NT, other, policies.old_NT, self.estimator)


@dataclass(frozen=True)
class Drift(Regulariser):
    """coefficient * sg(min(r - 1, 2)) log p, whose gradient is that of KL(old policy || policy).

    CPGD's policy drift (arXiv 2505.12504).
    """

    coefficient: float = 0.001
    """Weight; 0 switches the piece off."""

    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor:
        limited = (policies.logprobs_NT - policies.old_NT).clamp(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT)
        return (limited.exp() - 1).clamp(max=DRIFT_LIMIT).detach() * policies.logprobs_NT


@dataclass(frozen=True)
class KlHinge(Regulariser):
    """sg(max(0, coefficient (KL - limit))) KL, with KL to the old policy as the mean over the step's tokens.

    DisCO's trust region (arXiv 2505.12366), KL estimated by log p_old - log p.
    """

    coefficient: float = 1000.0
    """How steeply the penalty rises; 0 switches the piece off."""
    limit: float = 1e-4
    """KL up to which nothing is paid."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"now"}) if self.coefficient else frozenset()

    def weight(self, step: int, tokens: Tokens) -> float:
        assert tokens.now_NT is not None
        difference = (tokens.old_NT - tokens.now_NT)[tokens.mask_NT]
        kl = difference.double().mean().item() if len(difference) else 0.0
        return max(0.0, self.coefficient * (kl - self.limit))

    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor:
        return policies.old_NT - policies.logprobs_NT


@dataclass(frozen=True)
class Entropy(Regulariser):
    """-coefficient * entropy of softmax(logits / temperature), mean over tokens: a bonus, or with a negative
    coefficient a minimisation.

    LUFFY (arXiv 2504.14945): 0.001. One-shot entropy minimisation (2505.20282): -1 at temperature 0.5.
    """

    coefficient: float = 0.001
    """Weight; above 0 raises the entropy, below 0 lowers it, 0 switches the piece off."""
    temperature: float = 1.0
    """Divides the logits of the sampling distribution."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"logits"}) if self.coefficient else frozenset()

    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor:
        assert policies.logits_RV is not None
        log_p_RV = (policies.logits_RV / self.temperature).log_softmax(-1)
        # a token of probability 0 adds nothing, but 0 * -inf would be NaN
        entropy_R = -(log_p_RV.exp() * log_p_RV.masked_fill(log_p_RV.isinf(), 0.0)).sum(-1)
        return torch.zeros_like(policies.logprobs_NT).masked_scatter(tokens.mask_NT, -entropy_R)


@dataclass(frozen=True)
class Distillation(Regulariser):
    """coefficient * Jensen-Shannon divergence between policy S and teacher T, over rows worth learning from.

    b KL(T || M) + (1 - b) KL(S || M) with M = b T + (1 - b) S and b the mixture; b = 0 is KL(T || S), b = 1 is
    KL(S || T). KEPO (arXiv 2602.00400): rows whose reward reaches the threshold.
    """

    coefficient: float = 1.0
    """Weight; 0 switches the piece off."""
    mixture: float = required()
    """b; the paper's value is not known."""
    threshold: float = 1.0
    """Least reward of a row."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"logits", "teacher"}) if self.coefficient else frozenset()

    selective = True

    def gate(self, tokens: Tokens) -> Tensor:
        return tokens.reward_N >= self.threshold

    def __call__(self, policies: Policies, tokens: Tokens) -> Tensor:
        assert policies.logits_RV is not None
        assert policies.teacher_logits_RV is not None
        divergence_R = jensen_shannon(policies.logits_RV, policies.teacher_logits_RV, self.mixture)
        return torch.zeros_like(policies.logprobs_NT).masked_scatter(tokens.mask_NT, divergence_R)


def jensen_shannon(student_RV: Tensor, teacher_RV: Tensor, mixture: float) -> Tensor:
    """KEPO's divergence [R] of two distributions given as logits, -inf in both where a token cannot be drawn."""
    possible = ~student_RV.isinf()
    # finite stand-ins keep NaN out of the gradient of impossible tokens
    student, teacher = (x.masked_fill(~possible, -1e4).log_softmax(-1) for x in (student_RV, teacher_RV))

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return (p.exp() * (p - q)).sum(-1)

    if mixture == 0:
        return kl(teacher, student)
    if mixture == 1:
        return kl(student, teacher)
    weights = torch.tensor([mixture, 1 - mixture], dtype=student.dtype, device=student.device).log()
    middle = torch.logsumexp(torch.stack([teacher + weights[0], student + weights[1]]), 0)
    return mixture * kl(teacher, middle) + (1 - mixture) * kl(student, middle)
