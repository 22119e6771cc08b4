"""Loss and gradient equal those of TRL's own `GRPOTrainer._compute_loss`, in float64 on random tensors."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from tests.algorithms.batches import LIMIT, algorithm_of, tokens_of
from vlmrl.algorithms.loss import pass_loss, step_terms

LENGTHS = [3, 7, 5, 1, 6, 7]


class _Accelerator:
    """One process."""

    num_processes = 1

    def reduce(self, value: Tensor, reduction: str) -> Tensor:
        return value

    def gather(self, value: Tensor) -> Tensor:
        return value


def trls(logprobs_NT: Tensor, inputs: dict[str, Tensor], **settings: Any) -> Tensor:
    """TRL's loss for these log-probs."""
    args = {
        "use_bias_correction_kl": False,
        "delta": None,
        "sapo_temperature_pos": 1.0,
        "sapo_temperature_neg": 1.05,
        "steps_per_generation": 1,
    }
    trainer = {
        "loss_type": "grpo",
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "importance_sampling_level": "token",
    }
    given = {name: value for name, value in settings.items() if name not in args}
    trainer = SimpleNamespace(
        **{**trainer, **given},
        args=SimpleNamespace(**{name: settings.get(name, value) for name, value in args.items()}),
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs_NT, torch.zeros_like(logprobs_NT), None),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm="importance_sampling_ratio" in inputs,
        vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=1,
        max_completion_length=LIMIT,
        accelerator=_Accelerator(),
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
    )
    return GRPOTrainer._compute_loss(trainer, None, inputs)


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ([], {"loss_type": "grpo"}),
        (["algorithm.reducer=token_mean"], {"loss_type": "bnpo"}),
        (["algorithm.reducer=token_sum_constant"], {"loss_type": "dr_grpo"}),
        (["algorithm.reducer=token_mean", "algorithm.surrogate.clip_high=0.28"],
         {"loss_type": "dapo", "epsilon_high": 0.28}),
        (["algorithm=cispo"], {"loss_type": "cispo", "epsilon_high": 5.0}),
        (["algorithm=sapo"], {"loss_type": "sapo"}),
        (["algorithm=gspo"],
         {"importance_sampling_level": "sequence", "epsilon_low": 3e-4, "epsilon_high": 4e-4}),
        (["algorithm.surrogate.delta=1.3"], {"delta": 1.3}),
        (["algorithm.regularisers.kl.coefficient=0.1"], {"beta": 0.1}),
        (["algorithm.regularisers.kl={coefficient: 0.1, estimator: rho_k3}"],
         {"beta": 0.1, "use_bias_correction_kl": True}),
        (["algorithm.token_weights.sampler_ratio={mode: mask, high: 3.0, level: sequence}"], {"vllm": True}),
    ],
)  # fmt: skip
def test_loss_and_gradient_are_trls(words: list[str], settings: dict[str, Any]) -> None:
    torch.manual_seed(3)
    count, width = len(LENGTHS), max(LENGTHS)
    old, reference = (torch.randn(count, width, dtype=torch.float64) * 0.5 - 2 for _ in range(2))
    logprobs = (old + 0.4 * torch.randn_like(old)).requires_grad_()
    rollout = old + 0.1 * torch.randn_like(old)
    advantages = torch.randn(count, dtype=torch.float64)
    mask_NT = torch.arange(width) < torch.tensor(LENGTHS)[:, None]
    inputs = {
        "prompt_ids": torch.zeros(count, 1),
        "prompt_mask": torch.ones(count, 1),
        "completion_ids": torch.zeros(count, width),
        "completion_mask": mask_NT.double(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask_NT.sum(),
    }
    if settings.pop("vllm", False):
        # TRL makes this weight while it samples: sequence level, masked above its cap of 3
        ratio = torch.exp(((old - rollout) * mask_NT).sum(-1, keepdim=True))
        inputs["importance_sampling_ratio"] = ratio.masked_fill(ratio > 3.0, 0.0)
    theirs = trls(logprobs, inputs, **settings)
    tokens = tokens_of(
        LENGTHS, old_NT=old, rollout_NT=rollout, reference_NT=reference, advantages_NT=advantages[:, None]
    )
    algorithm = algorithm_of(*words)
    ours = pass_loss(algorithm, logprobs, tokens, range(count), step_terms(algorithm, tokens, 1, LIMIT)).loss
    assert torch.allclose(ours, theirs, atol=1e-8, rtol=0)
    ours_gradient, theirs_gradient = (torch.autograd.grad(loss, logprobs)[0] for loss in (ours, theirs))
    assert theirs_gradient.abs().max() > 1e-3
    assert torch.allclose(ours_gradient, theirs_gradient, atol=1e-8, rtol=0)
