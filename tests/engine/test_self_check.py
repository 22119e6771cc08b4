"""The check before training: rounding passes, a wrong engine does not, in both precisions."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.engine.groups import TEMPERATURE, prompts_of_two_sizes, ragged_completions
from tests.random_models import save_random_model
from vlmrl.config import LoraConfig, ModelConfig
from vlmrl.engine import self_check
from vlmrl.engine.attention import BranchLayout
from vlmrl.engine.self_check import Difference, compare_with_naive, require_agreement, rounding_effect
from vlmrl.errors import UserError
from vlmrl.models.load import Policy, load_policy


def load(folder: Path, family: str, layers: int, dtype: str) -> Policy:
    source = save_random_model(family, folder, layers=layers)
    config = ModelConfig(path=str(source), dtype=dtype, lora=LoraConfig(rank=4))  # type: ignore[arg-type]
    policy = load_policy(config, torch.device("cpu"), trainable=True)
    torch.manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    return policy


def test_a_deep_model_that_amplifies_roundings_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # no fixed tolerance fits every model: with one that is far too small, the model's own sensitivity decides
    monkeypatch.setitem(self_check.LOGPROB_TOLERANCE, torch.bfloat16, 1e-6)
    monkeypatch.setitem(self_check.GRADIENT_TOLERANCE, torch.bfloat16, 1e-6)
    policy = load(tmp_path, "qwen3_5", 8, "bfloat16")
    prompt, completions = prompts_of_two_sizes(policy)[0], ragged_completions(policy)[0]
    difference = require_agreement(policy, prompt, completions, TEMPERATURE)
    assert difference.gradient > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_wrong_prompt_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    policy = load(tmp_path, "qwen2_5_vl", 3, dtype)
    prompt, completions = prompts_of_two_sizes(policy)[0], ragged_completions(policy)[0]
    attend = BranchLayout.attend

    def forgets_the_prompts_values(self, module, layer, q, k, v, mask, scale):  # type: ignore[no-untyped-def]
        keys, values = self.keys_values[layer]
        empty = replace(self, keys_values={layer: (keys, torch.zeros_like(values))})
        return attend(empty, module, layer, q, k, v, mask, scale)

    monkeypatch.setattr(BranchLayout, "attend", forgets_the_prompts_values)
    with pytest.raises(UserError, match="disagrees with the ordinary one"):
        require_agreement(policy, prompt, completions, TEMPERATURE)


def test_the_effect_of_a_rounding_is_that_of_bfloat16(tmp_path: Path) -> None:
    policy = load(tmp_path, "qwen2_5_vl", 3, "bfloat16")
    prompts, completions = prompts_of_two_sizes(policy)[:1], [ragged_completions(policy)[0]]
    effect = rounding_effect(policy, prompts, completions, TEMPERATURE)
    assert effect == rounding_effect(policy, prompts, completions, TEMPERATURE)
    real = compare_with_naive(policy, prompts, completions, TEMPERATURE)
    assert real.within(Difference(4 * effect.logprob, 4 * effect.gradient))
    assert 1e-3 < effect.gradient < 0.3
