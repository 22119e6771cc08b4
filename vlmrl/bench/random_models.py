"""Randomly initialised Qwen2.5-VL models of named sizes: real layer shapes, a local tokenizer, nothing downloaded.

What a step costs does not depend on the values of the weights, so a model drawn at random measures as the published
one does. `qwen2_5_vl-3b` and `-7b` have the layers, widths, heads and vocabulary of the published configurations.
"""

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from vlmrl.models.tiny_recipe import CHAT_TEMPLATE, CONTROL_TOKENS, END_OF_TEXT, END_OF_TURN

PATCH, MERGE = 14, 2


@dataclass(frozen=True)
class Shape:
    """Layer shapes of a Qwen2.5-VL."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    """Output and input embeddings are one matrix."""
    vision_layers: int = 32
    vision_hidden: int = 1280
    vision_heads: int = 16
    vision_intermediate: int = 3420
    initializer_range: float = 0.02


SHAPES = {
    "tiny-qwen2_5_vl": Shape(384, 4, 6, 2, 1024, 4096, False, 2, 160, 4, 426, 0.05),
    "random:qwen2_5_vl-3b": Shape(2048, 36, 16, 2, 11008, 151936, True),
    "random:qwen2_5_vl-7b": Shape(3584, 28, 28, 4, 18944, 152064, False),
}
"""Sizes of the published config.json files (Qwen/Qwen2.5-VL-3B-Instruct, -7B-Instruct), and one of 11 M parameters
for the CPU, whose weights are drawn wider so that logits and gradients are far from degenerate."""


def build_processor(shape: Shape) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor with a byte-level tokenizer that has a token for every id of the vocabulary."""
    control = [END_OF_TEXT, *CONTROL_TOKENS]
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    # pieces no text contains fill the vocabulary: an id without a token would be banned from sampling
    pieces += [f"<{i}>" for i in range(shape.vocabulary - len(pieces) - len(control))]
    bytes_only = Tokenizer(tokenizer_models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_only.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_only,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        additional_special_tokens=control,
    )
    geometry: dict[str, Any] = dict(patch_size=PATCH, merge_size=MERGE)
    return Qwen2_5_VLProcessor(
        Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 16384, **geometry),
        tokenizer,
        Qwen2VLVideoProcessor(**geometry),
        chat_template=CHAT_TEMPLATE,
    )


def build_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    token: Any = tokenizer.convert_tokens_to_ids
    half = shape.hidden // shape.heads // 2
    by_height = half * 3 // 8
    return Qwen2_5_VLConfig(
        text_config=dict(
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            vocab_size=shape.vocabulary,
            max_position_embeddings=128000,
            rms_norm_eps=1e-6,
            rope_parameters=dict(
                rope_type="default", rope_theta=1e6, mrope_section=[half - 2 * by_height, by_height, by_height]
            ),
            initializer_range=shape.initializer_range,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=shape.tied,
        ),
        vision_config=dict(
            depth=shape.vision_layers,
            hidden_size=shape.vision_hidden,
            num_heads=shape.vision_heads,
            intermediate_size=shape.vision_intermediate,
            out_hidden_size=shape.hidden,
            patch_size=PATCH,
            spatial_merge_size=MERGE,
            window_size=112,
            fullatt_block_indexes=sorted({*range(7, shape.vision_layers, 8), shape.vision_layers - 1}),
            initializer_range=shape.initializer_range,
        ),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=shape.tied,
    )


def build_model(config: Qwen2_5_VLConfig, device: torch.device, dtype: torch.dtype, seed: int = 0) -> PreTrainedModel:
    """The model on its device, weights drawn there: a model of 7 billion parameters is never held twice."""
    text = config.get_text_config(decoder=True)
    torch.manual_seed(seed)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.generation_config.eos_token_id = text.eos_token_id
    model.generation_config.pad_token_id = text.pad_token_id
    return model
