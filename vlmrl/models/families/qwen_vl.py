"""What Qwen2-VL, Qwen2.5-VL and Qwen3-VL share: the processor's outputs, mRoPE positions and parameter names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmrl.geometry import Size
from vlmrl.media.pictures import open_picture
from vlmrl.models.families.base import Family
from vlmrl.types import Prompt, Sample

VISION_KEYS = ("pixel_values", "image_grid_thw")


class QwenVL(Family):
    """Base of the three Qwen-VL adapters; a subclass states model type and convention."""

    merger_pattern = re.compile(r"(^|\.)visual\.(merger|deepstack_merger_list)\.")
    tower_pattern = re.compile(r"(^|\.)visual\.")
    lora_targets = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"

    def encode(self, sample: Sample, request: str) -> Prompt:
        images = [
            open_picture(image, f"row {sample.id}, image {record.index}")
            for image, record in zip(sample.images, sample.records, strict=True)
        ]
        content = [{"type": "image"} for _ in images] + [{"type": "text", "text": request}]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        inputs = self.processor(text=[text], images=images or None, return_tensors="pt")
        patch = self.processor.image_processor.patch_size
        grids = inputs["image_grid_thw"].tolist() if images else []
        records = tuple(
            replace(record, model=Size(width * patch, height * patch))
            for record, (_, height, width) in zip(sample.records, grids, strict=True)
        )
        return Prompt(
            sample=replace(sample, records=records),
            text=text,
            token_ids_P=inputs["input_ids"][0],
            vision={
                "mm_token_type_ids": inputs["mm_token_type_ids"][0],
                **{key: inputs[key] for key in VISION_KEYS if key in inputs},
            },
        )

    def collate(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        longest = max(len(prompt.token_ids_P) for prompt in prompts)

        def padded(rows: list[Tensor], fill: int) -> Tensor:
            return torch.stack([nn.functional.pad(row, (longest - len(row), 0), value=fill) for row in rows])

        return {
            "input_ids": padded([p.token_ids_P for p in prompts], self.tokenizer.pad_token_id),
            "attention_mask": padded([torch.ones_like(p.token_ids_P) for p in prompts], 0),
            "mm_token_type_ids": padded([p.vision["mm_token_type_ids"] for p in prompts], 0),
            **{
                key: torch.cat([p.vision[key] for p in prompts if key in p.vision])
                for key in VISION_KEYS
                if any(key in p.vision for p in prompts)
            },
        }

    def extend(self, prompt: Prompt, completion_T: Tensor) -> dict[str, Tensor]:
        types = prompt.vision["mm_token_type_ids"]
        return {
            **prompt.vision,
            "input_ids": torch.cat([prompt.token_ids_P, completion_T])[None],
            "mm_token_type_ids": torch.cat([types, types.new_zeros(len(completion_T))])[None],
        }

    def positions(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        rope_index: Any = next(m.get_rope_index for m in model.modules() if hasattr(m, "get_rope_index"))
        positions, _ = rope_index(
            inputs["input_ids"],
            mm_token_type_ids=inputs["mm_token_type_ids"],
            image_grid_thw=inputs.get("image_grid_thw"),
            attention_mask=inputs["attention_mask"],
        )
        return positions, positions.amax(dim=(0, 2)) + 1

    def next_positions(self, start_N: Tensor, length: int) -> Tensor:
        steps = torch.arange(length, device=start_N.device)
        return (start_N[:, None] + steps).expand(3, -1, -1)

    def settings(self) -> dict[str, Any]:
        image = self.processor.image_processor
        return {
            "image_processor": type(image).__name__,
            "min_pixels": image.size["shortest_edge"],
            "max_pixels": image.size["longest_edge"],
            "patch_size": image.patch_size,
            "merge_size": image.merge_size,
        }
