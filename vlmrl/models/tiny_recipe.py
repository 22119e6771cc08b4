"""The embedded model before any training: its tokenizer, its processor and its randomly initialised weights.

Everything is transformers' own Qwen3-VL, only small: about 0.9 M parameters, 16-pixel patches, pictures of about
128 x 128 pixels.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    Qwen2Tokenizer,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"
CONTROL_TOKENS = (
    "<|im_start|>",
    END_OF_TURN,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ANSWER_TOKENS = ('{"point_2d": [', '{"bbox_2d": [', ", ", "]}")
"""Pieces of JSON answers that are one ordinary token each: a point is at most eleven tokens, end of turn included."""

VOCABULARY_SIZE = 512
PATCH = 16
MERGE = 2
POSITION_GRID = 8
"""Side of the tower's table of learned positions: one entry per patch of a 128 x 128 picture."""
MIN_PIXELS = 96 * 160
MAX_PIXELS = 128 * 128

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type == 'image' or 'image' in part -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part.type == 'video' or 'video' in part -%}
{{ '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""


def build_tokenizer(corpus: Iterable[str]) -> Qwen2Tokenizer:
    """Train a byte-level BPE of `VOCABULARY_SIZE` tokens on `corpus`, with Qwen's pre-tokenisation (single digits)."""
    tokenizer = Qwen2Tokenizer().train_new_from_iterator(
        corpus,
        vocab_size=VOCABULARY_SIZE - len(ANSWER_TOKENS),
        new_special_tokens=list(CONTROL_TOKENS),
        show_progress=False,
    )
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in ANSWER_TOKENS])
    tokenizer.eos_token = END_OF_TURN
    tokenizer.pad_token = END_OF_TEXT
    return tokenizer


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen3VLProcessor:
    """Combine `tokenizer` with image and video processing bounded to the embedded model's picture sizes."""
    pixels = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    geometry: dict[str, Any] = dict(
        patch_size=PATCH, merge_size=MERGE, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessorPil(size=pixels, **geometry),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(size=pixels, **geometry),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(tokenizer: Qwen2Tokenizer, seed: int) -> Qwen3VLForConditionalGeneration:
    """Return the float32 model with weights drawn from `seed`."""
    token_ids = tokenizer.get_vocab()
    end_of_turn, end_of_text = token_ids[END_OF_TURN], token_ids[END_OF_TEXT]
    width, init = 96, 0.04
    config = Qwen3VLConfig(
        text_config=dict(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=3,
            num_key_value_heads=3,
            head_dim=32,
            max_position_embeddings=2048,
            initializer_range=init,
            rope_parameters=dict(
                rope_type="default", rope_theta=1000.0, mrope_section=[6, 5, 5], mrope_interleaved=True
            ),
            eos_token_id=end_of_turn,
            pad_token_id=end_of_text,
            tie_word_embeddings=True,
        ),
        vision_config=dict(
            depth=2,
            hidden_size=width,
            intermediate_size=256,
            num_heads=3,
            patch_size=PATCH,
            spatial_merge_size=MERGE,
            out_hidden_size=width,
            num_position_embeddings=POSITION_GRID**2,
            deepstack_visual_indexes=[],
            initializer_range=init,
        ),
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(eos_token_id=end_of_turn, pad_token_id=end_of_text, do_sample=False)
    _start_with_sinusoidal_positions(model)
    return model


@torch.no_grad()
def _start_with_sinusoidal_positions(model: Qwen3VLForConditionalGeneration) -> None:
    """Start with smooth positions that are strong against the patches, so that places are told apart early."""
    table = model.model.visual.pos_embed.weight
    width = table.shape[1]
    rows, columns = torch.meshgrid(torch.arange(POSITION_GRID), torch.arange(POSITION_GRID), indexing="ij")
    lowest, highest = math.log(math.pi / POSITION_GRID), math.log(math.pi / 1.5)
    frequencies = torch.linspace(lowest, highest, width // 4).exp()
    angles = [axis.reshape(-1, 1) * frequencies for axis in (columns, rows)]
    table.copy_(0.5 * torch.cat([f(angle) for angle in angles for f in (torch.sin, torch.cos)], dim=1))
    model.model.visual.patch_embed.proj.weight.mul_(0.5)
