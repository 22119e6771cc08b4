"""Qwen2-VL: coordinates in 0-1000 inside box tokens (ScreenSpot-Pro's reference parser; Qwen process_bbox.ipynb)."""

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.qwen_vl import QwenVL


class Qwen2VL(QwenVL):
    model_types = ("qwen2_vl",)
    convention = Convention(Unit.NORM1000, "qwen2_box_tokens")
    answer_tokens = ("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>")
