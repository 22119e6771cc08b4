"""Qwen2.5-VL: JSON answers in pixels of the resized picture (Qwen process_bbox.ipynb, ScreenSpot-Pro qwen2_5vl.py)."""

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.qwen_vl import QwenVL


class Qwen25VL(QwenVL):
    model_types = ("qwen2_5_vl",)
    convention = Convention(Unit.MODEL, "json")
