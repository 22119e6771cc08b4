"""Qwen2.5-VL: JSON answers in pixels of the resized picture (Qwen process_bbox.ipynb, ScreenSpot-Pro qwen2_5vl.py)."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.qwen_vl import QwenVL
from vlmrl.types import Video


class Qwen25VL(QwenVL):
    model_types = ("qwen2_5_vl",)
    convention = Convention(Unit.MODEL, "json")
    vision_inputs = (*QwenVL.vision_inputs, "second_per_grid_ts")

    def process(self, text: str, images: Sequence[Image.Image], videos: Sequence[Video]) -> Mapping[str, Tensor]:
        inputs = super().process(text, images, videos)
        if not videos:
            return inputs
        # time between frame pairs scales the temporal positions; transformers' processor no longer computes it
        frames = self.processor.video_processor.temporal_patch_size
        return {**inputs, "second_per_grid_ts": torch.tensor([frames * video.frame_interval for video in videos])}
