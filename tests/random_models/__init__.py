"""Checkpoint folders of randomly initialised models of every family, built from transformers' own configurations."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import PreTrainedModel, ProcessorMixin

from tests.random_models.common import Size
from tests.random_models.gemma3 import gemma3
from tests.random_models.idefics3 import idefics3, smolvlm
from tests.random_models.internvl import internvl
from tests.random_models.llava_onevision import llava_onevision
from tests.random_models.qwen import qwen2_5_vl, qwen2_vl, qwen3_5, qwen3_5_moe, qwen3_vl, qwen3_vl_moe

Builder = Callable[[Size], tuple[PreTrainedModel, ProcessorMixin]]

QWEN_FAMILIES: dict[str, Builder] = {
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "qwen3_5": qwen3_5,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5_moe": qwen3_5_moe,
}
FAMILIES: dict[str, Builder] = {
    **QWEN_FAMILIES,
    "internvl": internvl,
    "gemma3": gemma3,
    "llava_onevision": llava_onevision,
    "smolvlm": smolvlm,
    "idefics3": idefics3,
}


def save_random_model(
    family: str, folder: Path, hidden: int = 64, layers: int = 3, vision_hidden: int = 32, seed: int = 0
) -> Path:
    """Writes a checkpoint with transformers' full class of that family, tiny in width, and a real processor."""
    torch.manual_seed(seed)
    model, processor = FAMILIES[family](Size(hidden, layers, vision_hidden))
    with torch.no_grad():
        # wider than the usual 0.02, so that attention, logits and gradients are far from degenerate
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 if "embed_tokens" in name else parameter[0].numel() ** -0.5)
            elif name.endswith("A_log"):
                parameter.uniform_(-5, -1)  # slow decay, so that completions depend on the whole prompt's state
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
