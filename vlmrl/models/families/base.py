"""What differs between model families, behind one interface. Everything else in vlmrl is family-blind."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, ClassVar

from torch import Tensor
from transformers import PreTrainedModel

from vlmrl.answers.convention import Convention
from vlmrl.types import Prompt, Sample


class Part(Enum):
    """The three parts of a vision-language model that are trained or frozen apart."""

    TOWER = "vision tower"
    MERGER = "merger"
    LANGUAGE = "language model"


class Family(ABC):
    """Adapter of one model family; made from a checkpoint's processor."""

    model_types: ClassVar[tuple[str, ...]]
    """`model_type` values of config.json that this adapter serves."""
    convention: ClassVar[Convention]
    """How the family writes coordinates."""
    merger_pattern: ClassVar[re.Pattern[str]]
    """Matches the names of the parameters between tower and language model; checked before `tower_pattern`."""
    tower_pattern: ClassVar[re.Pattern[str]]
    """Matches the names of the vision tower's parameters."""
    lora_targets: ClassVar[str]
    """Regular expression of the language model's linear layers that LoRA adapts (peft's full-match syntax)."""
    answer_tokens: ClassVar[tuple[str, ...]] = ()
    """Special tokens that belong to the family's answers and may be sampled."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer

    @abstractmethod
    def encode(self, sample: Sample, request: str) -> Prompt:
        """The prompt of one sample: one call of the processor. `request` is the user's message."""

    @abstractmethod
    def collate(self, prompts: Sequence[Prompt]) -> dict[str, Tensor]:
        """Model inputs of several prompts, left-padded to one length: input_ids, attention_mask [B, P] and vision."""

    @abstractmethod
    def extend(self, prompt: Prompt, completion_T: Tensor) -> dict[str, Tensor]:
        """Model inputs of one prompt followed by one completion, as an ordinary forward takes them: [1, P + T]."""

    @abstractmethod
    def positions(self, model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Position ids of collated prompts (last axes [B, P]) and the position after each prompt [B]."""

    @abstractmethod
    def next_positions(self, start_N: Tensor, length: int) -> Tensor:
        """Position ids of `length` tokens that follow prompts whose next positions are `start_N`."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the processor does to pictures, for the run's record: pixel limits, patch size, backend."""

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

    def banned_ids(self, model: PreTrainedModel) -> list[int]:
        """Tokens that must never be sampled: chat and media control tokens, and ids the tokenizer has no token for.

        A sampled image placeholder breaks the next forward pass, because it has no image features.
        """
        vocabulary = model.get_output_embeddings().weight.shape[0]
        control = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        allowed = {*self.stop_ids(model), *self.tokenizer.convert_tokens_to_ids(list(self.answer_tokens))}
        return sorted((control | set(range(len(self.tokenizer), vocabulary))) - allowed)
