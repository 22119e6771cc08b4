"""Qwen3.5-VL, dense and MoE: three of four layers are linear attention; JSON answers in 0-1000 of the picture.

The convention is Qwen3-VL's: no source states one for this generation.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.qwen_vl import QwenVL


class Qwen35VL(QwenVL):
    model_types = ("qwen3_5", "qwen3_5_moe")
    convention = Convention(Unit.NORM1000, "json")
    lora_targets = (
        r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(shared_expert\.)?(gate|up|down)_proj"
        r"|linear_attn\.(in_proj_(qkv|z|b|a)|out_proj))"
    )
    # the template would open a think block inside the prompt, where no completion could contain it
    template_options: ClassVar[Mapping[str, Any]] = {"enable_thinking": False}
