"""Tokens of a user's own prompts, from the headers of the pictures: nothing is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlmrl.geometry import Size
from vlmrl.media.pictures import picture_size
from vlmrl.models.families import Family
from vlmrl.task import Task
from vlmrl.types import Sample

MOST_ROWS = 5000
"""Evenly spread rows of a larger data set are looked at."""


@dataclass(frozen=True)
class PromptSize:
    """One row's prompt."""

    row: str
    pictures: tuple[Size, ...]
    patches: int
    """Tower patches of all pictures."""
    image_tokens: int
    text_tokens: int

    @property
    def tokens(self) -> int:
        return self.image_tokens + self.text_tokens


def prompt_sizes(family: Family, task: Task, samples: Sequence[Sample]) -> list[PromptSize]:
    """Sizes of every row's prompt as the processor will make it."""
    stride = max(1, -(-len(samples) // MOST_ROWS))
    rows = [samples[i] for i in range(0, len(samples), stride)]
    return [_prompt_size(family, task, sample) for sample in rows]


def _prompt_size(family: Family, task: Task, sample: Sample) -> PromptSize:
    processor: Any = family.processor
    pictures = tuple(
        picture_size(image, f"row {sample.id}, image {record.index}")
        for image, record in zip(sample.images, sample.records, strict=True)
    )
    request = task.request(sample, family.convention)
    content = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": request}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False, **family.template_options
    )
    counted = processor._get_num_multimodal_tokens(image_sizes=[(size.height, size.width) for size in pictures])
    placeholders = len(pictures)
    text_tokens = len(family.tokenizer(text, add_special_tokens=False)["input_ids"]) - placeholders
    return PromptSize(sample.id, pictures, sum(counted.num_image_patches), sum(counted.num_image_tokens), text_tokens)
