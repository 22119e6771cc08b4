"""Qwen3-VL, dense and MoE: JSON answers in 0-1000 of the picture (Qwen3-VL README, ODinW script with is_rel=1)."""

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.qwen_vl import QwenVL


class Qwen3VL(QwenVL):
    model_types = ("qwen3_vl", "qwen3_vl_moe")
    convention = Convention(Unit.NORM1000, "json")
