"""What the Qwen-VL families share: the processor's outputs, mRoPE positions, videos and parameter names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.video_utils import VideoMetadata

from vlmrl.geometry import ImageRecord, Size
from vlmrl.models.families.base import Family
from vlmrl.types import Sample, Video

TICKS_PER_SECOND = 1000
"""Frame times reach the processor as whole numbers of ticks."""


class QwenVL(Family):
    """Base of the Qwen-VL adapters; a subclass states model type and convention."""

    merger_pattern = re.compile(r"(^|\.)visual\.(merger|deepstack_merger_list)\.")
    tower_pattern = re.compile(r"(^|\.)visual\.")
    token_inputs = ("mm_token_type_ids",)
    vision_inputs: ClassVar[tuple[str, ...]] = (
        "pixel_values",
        "image_grid_thw",
        "pixel_values_videos",
        "video_grid_thw",
    )
    takes_videos = True
    has_pixel_limits = True

    def __init__(self, processor: Any) -> None:
        super().__init__(processor)
        # as in qwen-vl-utils, the reference; the processor's own default is unset and about to change
        processor.video_processor.cap_pixels_per_frame = True

    def process(self, text: str, images: Sequence[Image.Image], videos: Sequence[Video]) -> Mapping[str, Tensor]:
        return self.processor(
            text=[text],
            images=[list(images)] if images else None,
            videos=[list(video.frames) for video in videos] or None,
            video_metadata=[_metadata(video) for video in videos] or None,
            do_sample_frames=False,
            add_special_tokens=False,
            return_tensors="pt",
        )

    def records(self, sample: Sample, inputs: Mapping[str, Tensor]) -> tuple[ImageRecord, ...]:
        patch = self.processor.image_processor.patch_size
        grids = inputs["image_grid_thw"].tolist() if sample.images else []
        return tuple(
            replace(record, model=Size(width * patch, height * patch))
            for record, (_, height, width) in zip(sample.records, grids, strict=True)
        )

    def resized(self, sample: Sample) -> Sample:
        image = self.processor.image_processor
        factor = image.patch_size * image.merge_size
        limits = {"min_pixels": image.size["shortest_edge"], "max_pixels": image.size["longest_edge"]}

        def completed(record: ImageRecord) -> ImageRecord:
            height, width = smart_resize(record.original.height, record.original.width, factor, **limits)
            return replace(record, model=Size(width, height))

        return replace(sample, records=tuple(map(completed, sample.records)))

    def positions(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        rope_index: Any = next(m.get_rope_index for m in model.modules() if hasattr(m, "get_rope_index"))
        ignored = {"pixel_values", "pixel_values_videos"}
        positions, _ = rope_index(**{key: value for key, value in inputs.items() if key not in ignored})
        # the last token is text, so its position counts; a video's last frames may lie beyond it in time
        return positions, positions[0, :, -1] + 1

    def next_positions(self, start_N: Tensor, length: int) -> Tensor:
        return super().next_positions(start_N, length).expand(3, -1, -1)

    def settings(self) -> dict[str, Any]:
        image = self.processor.image_processor
        return {
            "image_processor": type(image).__name__,
            "min_pixels": image.size["shortest_edge"],
            "max_pixels": image.size["longest_edge"],
            "patch_size": image.patch_size,
            "merge_size": image.merge_size,
        }


def _metadata(video: Video) -> VideoMetadata:
    ticks = [round(second * TICKS_PER_SECOND) for second in video.seconds]
    return VideoMetadata(total_num_frames=ticks[-1] + 1, fps=TICKS_PER_SECOND, frames_indices=ticks)
