"""Supervised fine-tuning on conversations about pictures: only the answers' tokens are learnt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from vlmrl.training.scenes import Scene, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Qwen3VLForConditionalGeneration, Qwen3VLProcessor

ANSWER_START = "<|im_start|>assistant\n"
ANSWER_END = "<|im_end|>"


def encode_conversations(processor: Qwen3VLProcessor, scenes: Iterable[Scene]) -> Mapping[str, Tensor]:
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
