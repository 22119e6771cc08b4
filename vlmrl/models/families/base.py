"""What differs between model families, behind one interface. Everything else in vlmrl is family-blind."""

import re
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord
from vlmrl.media.pictures import open_picture
from vlmrl.media.videos import open_video
from vlmrl.types import Prompt, Sample, Video

MEDIA_TOKEN_IDS = ("image_token_id", "video_token_id")
"""Names of the placeholders' ids in a model's configuration."""


class Part(Enum):
    """The three parts of a vision-language model that are trained or frozen apart."""

    TOWER = "vision tower"
    MERGER = "merger"
    LANGUAGE = "language model"


class Family(ABC):
    """Adapter of one model family; made from a checkpoint's processor.

    The defaults serve a model whose language model has one position per token and whose vision inputs, one row or more
    per picture, can be joined over a batch along their first axis. A subclass states what its checkpoints call things.
    """

    model_types: ClassVar[tuple[str, ...]]
    """`model_type` values of config.json that this adapter serves."""
    convention: ClassVar[Convention]
    """How the family writes coordinates."""
    merger_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(^|\.)(multi_modal_projector|connector)\.")
    """Matches the names of the parameters between tower and language model; checked before `tower_pattern`."""
    tower_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(^|\.)(vision_tower|vision_model)\.")
    """Matches the names of the vision tower's parameters."""
    lora_targets: ClassVar[str] = (
        r".*(language_model|text_model)\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
    )
    """Regular expression of the language model's linear layers that LoRA adapts (peft's full-match syntax)."""
    answer_tokens: ClassVar[tuple[str, ...]] = ()
    """Special tokens that belong to the family's answers and may be sampled."""
    token_inputs: ClassVar[tuple[str, ...]] = ()
    """Model inputs with one value per token besides input_ids; 0 on completions and on padding."""
    vision_inputs: ClassVar[tuple[str, ...]] = ("pixel_values",)
    """Model inputs made from pictures and videos."""
    template_options: ClassVar[Mapping[str, Any]] = {}
    """Variables of the chat template that must not be left to its defaults."""
    takes_videos: ClassVar[bool] = False
    """Whether a prompt may carry videos."""
    has_pixel_limits: ClassVar[bool] = False
    """Whether the processor resizes to an area between min_pixels and max_pixels."""
    processor_settings: ClassVar[tuple[str, ...]] = ("size",)
    """Attributes of the image processor that a run's record names."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer

    def encode(self, sample: Sample, request: str) -> Prompt:
        """The prompt of one sample: one call of the processor. `request` is the user's message.

        Raises UserError for a picture or video that cannot be opened and for videos where the family takes none.
        """
        if sample.videos and not self.takes_videos:
            raise UserError(
                f"row {sample.id}, field videos: models of type {self.model_types[0]} take pictures only; "
                "choose a Qwen-VL model or give the frames as pictures"
            )
        images = [
            open_picture(image, f"row {sample.id}, image {record.index}")
            for image, record in zip(sample.images, sample.records, strict=True)
        ]
        videos = [open_video(video, f"row {sample.id}, video {i}") for i, video in enumerate(sample.videos)]
        media = [{"type": "image"} for _ in images] + [{"type": "video"} for _ in videos]
        text = self.processor.apply_chat_template(
            [{"role": "user", "content": [*media, {"type": "text", "text": request}]}],
            add_generation_prompt=True,
            tokenize=False,
            **self.template_options,
        )
        inputs = self.process(text, images, videos)
        return Prompt(
            sample=replace(sample, records=self.records(sample, inputs)),
            text=text,
            token_ids_P=inputs["input_ids"][0],
            vision={
                **{key: inputs[key][0] for key in self.token_inputs},
                **{key: inputs[key] for key in self.vision_inputs if key in inputs},
            },
        )

    def process(self, text: str, images: Sequence[Image.Image], videos: Sequence[Video]) -> Mapping[str, Tensor]:
        """The processor's one call: input_ids [1, P], the token inputs [1, P] and the vision inputs."""
        return self.processor(
            text=[text],
            images=[list(images)] if images else None,
            add_special_tokens=False,  # the chat template has written them all
            return_tensors="pt",
        )

    def records(self, sample: Sample, inputs: Mapping[str, Tensor]) -> tuple[ImageRecord, ...]:
        """The pictures' records, with the size the model sees where a picture reaches it in one piece."""
        return sample.records

    def resized(self, sample: Sample) -> Sample:
        """The sample with its records completed as `encode` does, from the pictures' stored sizes alone."""
        return sample

    def collate(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """Model inputs of several prompts, left-padded to one length: input_ids, attention_mask [B, P] and vision."""
        longest = max(len(prompt.token_ids_P) for prompt in prompts)

        def padded(rows: list[Tensor], fill: int) -> Tensor:
            return torch.stack([nn.functional.pad(row, (longest - len(row), 0), value=fill) for row in rows])

        vision = [key for key in self.vision_inputs if any(key in p.vision for p in prompts)]
        return {
            "input_ids": padded([p.token_ids_P for p in prompts], self.tokenizer.pad_token_id),
            "attention_mask": padded([torch.ones_like(p.token_ids_P) for p in prompts], 0),
            **{key: padded([p.vision[key] for p in prompts], 0) for key in self.token_inputs},
            **{key: torch.cat([p.vision[key] for p in prompts if key in p.vision]) for key in vision},
        }

    def continued(self, prompt: Prompt, tokens_T: Tensor) -> Prompt:
        """A prompt with text tokens behind it, as one prompt."""
        types = {key: prompt.vision[key] for key in self.token_inputs}
        longer = {key: torch.cat([row, row.new_zeros(len(tokens_T))]) for key, row in types.items()}
        ids = torch.cat([prompt.token_ids_P, tokens_T])
        return replace(prompt, token_ids_P=ids, vision={**prompt.vision, **longer})

    def extend(self, prompt: Prompt, completion_T: Tensor) -> dict[str, Tensor]:
        """Model inputs of one prompt followed by one completion, as an ordinary forward takes them: [1, P + T]."""
        whole = self.continued(prompt, completion_T)
        types = {key: whole.vision[key][None] for key in self.token_inputs}
        return {**whole.vision, "input_ids": whole.token_ids_P[None], **types}

    def positions(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Position ids of collated prompts (last axes [B, P]) and the position after each prompt [B]."""
        positions_BP = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        return positions_BP, positions_BP[:, -1] + 1

    def next_positions(self, start_N: Tensor, length: int) -> Tensor:
        """Position ids of `length` tokens that follow prompts whose next positions are `start_N`."""
        return start_N[:, None] + torch.arange(length, device=start_N.device)

    def settings(self) -> dict[str, Any]:
        """What the processor does to pictures, for the run's record: sizes, patches, backend."""
        image = self.processor.image_processor
        values = image.to_dict()
        return {"image_processor": type(image).__name__, **{name: values.get(name) for name in self.processor_settings}}

    def part_of(self, parameter: str) -> Part:
        """The part a parameter belongs to, by its name in the transformers model."""
        if self.merger_pattern.search(parameter):
            return Part.MERGER
        return Part.TOWER if self.tower_pattern.search(parameter) else Part.LANGUAGE

    def stop_ids(self, model: PreTrainedModel) -> list[int]:
        """Tokens that end the model's turn."""
        configured = model.generation_config.eos_token_id
        ids = configured if isinstance(configured, list) else [configured]
        return sorted({i for i in [*ids, self.tokenizer.eos_token_id] if i is not None})

    def end_of_turn(self, model: PreTrainedModel) -> int:
        """The token with which the chat template ends the model's turn; one of `stop_ids`.

        Raises UserError if the template ends it with none of them: a model that learns such turns would never stop.
        """
        said = "ANSWER"
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "QUESTION"}]},
            {"role": "assistant", "content": [{"type": "text", "text": said}]},
        ]
        text = self.processor.apply_chat_template(messages, tokenize=False, **self.template_options)
        after = self.tokenizer(text.rpartition(said)[2], add_special_tokens=False).input_ids
        stops = [token for token in after if token in self.stop_ids(model)]
        if not stops:
            names = ", ".join(self.tokenizer.convert_ids_to_tokens(self.stop_ids(model)))
            raise UserError(
                f"the chat template ends the model's turn with {text.rpartition(said)[2]!r}, but sampling stops at "
                f"{names}: add the template's token to eos_token_id in generation_config.json"
            )
        return stops[0]

    def banned_ids(self, model: PreTrainedModel) -> list[int]:
        """Tokens that must never be sampled: chat and media control tokens, and ids the tokenizer has no token for.

        A sampled image placeholder breaks the next forward pass, because it has no image features.
        """
        vocabulary = model.get_output_embeddings().weight.shape[0]
        control = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        control |= {getattr(model.config, name, None) for name in MEDIA_TOKEN_IDS} - {None}
        allowed = {*self.stop_ids(model), *self.tokenizer.convert_tokens_to_ids(list(self.answer_tokens))}
        return sorted((control | set(range(len(self.tokenizer), vocabulary))) - allowed)
