"""Supervised fine-tuning on conversations about pictures: only the answers' tokens are learnt."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from vlmrl.models.families.qwen3_vl import Qwen3VL
from vlmrl.training.scenes import RowTeacher, Scene, Turn
from vlmrl.types import Prompt, Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

ANSWER_START = "<|im_start|>assistant\n"
ANSWER_END = "<|im_end|>"
ROWS = 1 << 17
"""Rows of a task's generator before they come again."""
WARM_UP_SEEDS = 1 << 20
"""Generator seeds from here on are the warm-up's."""


class Conversations(Protocol):
    """An endless supply of conversations as model inputs."""

    def batch(self, pictures: int) -> Mapping[str, Tensor]:
        """Model inputs [B, T] of one conversation about each of so many pictures or clips."""
        ...


class SceneConversations:
    """Several questions about each drawn scene."""

    def __init__(self, processor: Qwen3VLProcessor, scenes: Iterator[Scene]) -> None:
        self.processor, self.scenes = processor, scenes

    def batch(self, pictures: int) -> Mapping[str, Tensor]:
        """Right-padded."""
        return encode_scenes(self.processor, islice(self.scenes, pictures))


class RowConversations:
    """A task's own synthetic training rows with their gold answers, encoded as for reinforcement learning."""

    def __init__(self, processor: Qwen3VLProcessor, task: RowTeacher, seed: int, scattered: bool) -> None:
        """`scattered` replaces gold by answers near it."""
        self.family, self.task = Qwen3VL(processor), task
        self.rows = task.synthetic("train", ROWS, WARM_UP_SEEDS + seed)
        self.scattered = scattered
        self.next = 0

    def turn(self) -> tuple[Sample, Turn]:
        """The next row with its request and the completion to learn."""
        convention, row = self.family.convention, self.rows[self.next % ROWS]
        if self.scattered:
            row = replace(row, gold=self.task.scattered(row, random.Random(f"scattered {row.id}")))
        self.next += 1
        return row, Turn(self.task.request(row, convention), self.task.render(row, convention))

    def batch(self, pictures: int) -> Mapping[str, Tensor]:
        """Left-padded."""
        return self.family.collate([self._conversation(*self.turn()) for _ in range(pictures)])

    def _conversation(self, row: Sample, turn: Turn) -> Prompt:
        """The prompt with its completion behind it."""
        prompt = self.family.encode(row, turn.request)
        completion = self.family.tokenizer(turn.completion + ANSWER_END).input_ids
        return self.family.continued(prompt, torch.tensor(completion))


def encode_scenes(processor: Qwen3VLProcessor, scenes: Iterable[Scene]) -> Mapping[str, Tensor]:
    """Model inputs of one conversation about each scene, right-padded [B, T]."""
    batch = list(scenes)
    texts = [processor.apply_chat_template(_messages(scene.turns)) for scene in batch]
    return processor(
        text=texts,
        images=[scene.image for scene in batch],
        padding=True,
        padding_side="right",
        return_tensors="pt",
    )


def answer_loss(
    model: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, inputs: Mapping[str, Tensor]
) -> tuple[Tensor, float]:
    """Mean cross-entropy of the answers' tokens and the share of them predicted right."""
    ids_BT = inputs["input_ids"]
    learnt_BT = answer_mask(ids_BT, tokenizer)
    hidden_BTD = model.model(**inputs, use_cache=False).last_hidden_state
    logits_NV = model.lm_head(hidden_BTD[:, :-1][learnt_BT[:, 1:]])
    targets_N = ids_BT[:, 1:][learnt_BT[:, 1:]]
    accuracy = (logits_NV.argmax(-1) == targets_N).float().mean().item()
    return functional.cross_entropy(logits_NV, targets_N), accuracy


def answer_mask(ids_BT: Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """bool [B, T]: true on the assistant's tokens, their end of turn included."""
    header = tokenizer(ANSWER_START).input_ids
    end = tokenizer.convert_tokens_to_ids(ANSWER_END)
    mask_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, ids in enumerate(ids_BT.tolist()):
        for i in range(len(ids) - len(header)):
            if ids[i : i + len(header)] == header:
                first = i + len(header)
                mask_BT[row, first : ids.index(end, first) + 1] = True
    return mask_BT


def _messages(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for i, turn in enumerate(turns):
        picture = [{"type": "image"}] if i == 0 else []
        messages.append({"role": "user", "content": [*picture, {"type": "text", "text": turn.request}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": turn.completion}]})
    return messages
