"""Checkpoint folders of randomly initialised Qwen-VL models, built from transformers' own configurations."""

from pathlib import Path

import torch
from transformers import (
    AutoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)

from vlmrl.paths import tiny_model_dir

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def save_random_model(
    family: str, folder: Path, hidden: int = 64, layers: int = 3, vision_hidden: int = 32, seed: int = 0
) -> Path:
    """Writes a checkpoint with transformers' full class of that family, tiny in width, and a real processor."""
    shipped = AutoProcessor.from_pretrained(tiny_model_dir())
    tokenizer = shipped.tokenizer
    box_tokens = ["<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": box_tokens}, replace_extra_special_tokens=False)
    torch.manual_seed(seed)
    heads, head_dim = 4, hidden // 4
    token = tokenizer.convert_tokens_to_ids
    sections = [head_dim // 2 - 2 * (head_dim // 6), head_dim // 6, head_dim // 6]
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections}
    text = {
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer) + 8,  # padded, as the published checkpoints are
        "max_position_embeddings": 4096,
        "rope_parameters": rope,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    ids = {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        "tie_word_embeddings": False,
    }
    if family == "qwen3_vl":
        text |= {"head_dim": head_dim, "rope_parameters": {**rope, "mrope_interleaved": True}}
        vision = {
            "depth": 3,
            "hidden_size": vision_hidden,
            "num_heads": 4,
            "intermediate_size": 2 * vision_hidden,
            "out_hidden_size": hidden,
            "patch_size": 16,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        }
        config = Qwen3VLConfig(text_config=text, vision_config=vision, **ids)
        model = Qwen3VLForConditionalGeneration(config)
        processor = shipped
    elif family == "qwen2_5_vl":
        vision = {
            "depth": 2,
            "hidden_size": vision_hidden,
            "num_heads": 4,
            "intermediate_size": 2 * vision_hidden,
            "out_hidden_size": hidden,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        }
        config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
        model = Qwen2_5_VLForConditionalGeneration(config)
        processor = _qwen2_processor(Qwen2_5_VLProcessor, shipped)
    else:
        vision = {"depth": 2, "embed_dim": vision_hidden, "num_heads": 4, "mlp_ratio": 2, "hidden_size": hidden}
        config = Qwen2VLConfig(text_config=text, vision_config=vision, **ids)
        model = Qwen2VLForConditionalGeneration(config)
        processor = _qwen2_processor(Qwen2VLProcessor, shipped)
    with torch.no_grad():
        # wider than the usual 0.02, so that attention, logits and gradients are far from degenerate
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5 if "embed_tokens" in name else 2 * parameter[0].numel() ** -0.5 / 2)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _qwen2_processor(cls: type, shipped: Qwen3VLProcessor) -> Qwen2VLProcessor | Qwen2_5_VLProcessor:
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=128 * 128, patch_size=14, merge_size=2)
    from transformers import Qwen2VLVideoProcessor

    videos = Qwen2VLVideoProcessor(patch_size=14, merge_size=2)
    return cls(images, shipped.tokenizer, videos, chat_template=shipped.chat_template)
