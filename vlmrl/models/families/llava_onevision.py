"""LLaVA-OneVision: a single picture as a grid of tiles, several pictures as one tile each.

The family was trained on no coordinate format. JSON in 0-1000 is chosen here: it does not depend on the resizing.
"""

import re
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Unit
from vlmrl.models.families.base import Family
from vlmrl.types import Video


class LlavaOneVision(Family):
    model_types = ("llava_onevision",)
    convention = Convention(Unit.NORM1000, "json")
    merger_pattern = re.compile(r"(^|\.)(multi_modal_projector\.|image_newline$)")
    vision_inputs = ("pixel_values", "image_sizes", "batch_num_images")
    processor_settings = ("size", "image_grid_pinpoints")

    def process(self, text: str, images: Sequence[Image.Image], videos: Sequence[Video]) -> Mapping[str, Tensor]:
        inputs = super().process(text, images, videos)
        if not images:
            return inputs
        # The model uses all tiles of a lone picture and only the first, the overview, of each of several. Without the
        # rest the tiles of a batch join into one tensor, which the model accepts as well.
        tiles = inputs["pixel_values"]
        return {**inputs, "pixel_values": tiles[0] if len(images) == 1 else tiles[:, 0]}
