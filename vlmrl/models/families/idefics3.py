"""Idefics3 and SmolVLM: pictures as a grid of tiles and an overview, each marked by text tokens.

The families were trained on no coordinate format. JSON in 0-1000 is chosen here: it does not depend on the resizing.
"""

from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.base import Family
from vlmrl.types import Video


class Idefics3(Family):
    model_types = ("idefics3", "smolvlm")
    convention = Convention(Unit.NORM1000, "json")
    vision_inputs = ("pixel_values", "pixel_attention_mask")
    processor_settings = ("size", "max_image_size", "do_image_splitting")

    def process(self, text: str, images: Sequence[Image.Image], videos: Sequence[Video]) -> Mapping[str, Tensor]:
        inputs = super().process(text, images, videos)
        # [1, tiles, ...] -> [tiles, 1, ...]: the model takes tiles in that order either way, and batches can be joined
        tiles = {key: inputs[key].transpose(0, 1) for key in self.vision_inputs if key in inputs}
        return {**inputs, **tiles}
