"""Random Qwen-VL models."""

from typing import Any

from transformers import (
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from tests.random_models.common import Size, language_model
from vlmrl.paths import tiny_model_dir

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def _shipped_processor() -> Any:
    """The embedded model's processor (a Qwen3-VL one), with the box tokens that Qwen2-VL answers with."""
    processor: Any = AutoProcessor.from_pretrained(tiny_model_dir())
    box_tokens = ["<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"]
    processor.tokenizer.add_special_tokens(
        {"additional_special_tokens": box_tokens}, replace_extra_special_tokens=False
    )
    return processor


def _small_pictures(cls: type) -> Any:
    shipped = _shipped_processor()
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=128 * 128, patch_size=14, merge_size=2)
    videos = Qwen2VLVideoProcessor(min_pixels=28 * 28, max_pixels=84 * 84, patch_size=14, merge_size=2)
    return cls(images, shipped.tokenizer, videos, chat_template=shipped.chat_template)


def _language_model(size: Size, tokenizer: Any) -> dict[str, Any]:
    half = size.hidden // 4 // 2
    third = half // 3
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [half - 2 * third, third, third]}
    return language_model(size, tokenizer) | {"rope_parameters": rope}


def _tower(size: Size, **settings: Any) -> dict[str, Any]:
    return {
        "depth": 2,
        "hidden_size": size.vision_hidden,
        "num_heads": 4,
        "intermediate_size": 2 * size.vision_hidden,
        "out_hidden_size": size.hidden,
        **settings,
    }


def _placeholders(tokenizer: Any) -> dict[str, Any]:
    token = tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        "tie_word_embeddings": False,
    }


def qwen2_vl(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    processor = _small_pictures(Qwen2VLProcessor)
    config = Qwen2VLConfig(
        text_config=_language_model(size, processor.tokenizer),
        vision_config={
            "depth": 2,
            "embed_dim": size.vision_hidden,
            "num_heads": 4,
            "mlp_ratio": 2,
            "hidden_size": size.hidden,
        },
        **_placeholders(processor.tokenizer),
    )
    return Qwen2VLForConditionalGeneration(config), processor


def qwen2_5_vl(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    processor = _small_pictures(Qwen2_5_VLProcessor)
    config = Qwen2_5_VLConfig(
        text_config=_language_model(size, processor.tokenizer),
        vision_config=_tower(size, window_size=56, fullatt_block_indexes=[1]),
        **_placeholders(processor.tokenizer),
    )
    return Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl(size: Size, config_class: type, **text_settings: Any) -> tuple[Any, ProcessorMixin]:
    processor = _shipped_processor()
    text = _language_model(size, processor.tokenizer) | {"head_dim": size.hidden // 4, **text_settings}
    text["rope_parameters"]["mrope_interleaved"] = True
    config = config_class(
        text_config=text,
        vision_config=_tower(size, depth=3, patch_size=16, num_position_embeddings=64, deepstack_visual_indexes=[0, 1]),
        **_placeholders(processor.tokenizer),
    )
    return config, processor


def qwen3_vl(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    config, processor = _qwen3_vl(size, Qwen3VLConfig)
    return Qwen3VLForConditionalGeneration(config), processor


def qwen3_vl_moe(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    config, processor = _qwen3_vl(size, Qwen3VLMoeConfig, **EXPERTS)
    return Qwen3VLMoeForConditionalGeneration(config), processor


def _qwen3_5(size: Size, config_class: type, **text_settings: Any) -> tuple[Any, ProcessorMixin]:
    processor = _shipped_processor()
    kinds = ["full_attention" if layer == 1 else "linear_attention" for layer in range(size.layers)]
    text = _language_model(size, processor.tokenizer) | {
        "head_dim": 32,
        "layer_types": kinds,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        **text_settings,
    }
    text["rope_parameters"] |= {
        "mrope_interleaved": True,
        "mrope_section": [2, 1, 1],
        "partial_rotary_factor": 0.25,
    }
    config = config_class(
        text_config=text,
        vision_config=_tower(size, patch_size=16, num_position_embeddings=64),
        **_placeholders(processor.tokenizer),
    )
    return config, processor


def qwen3_5(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    config, processor = _qwen3_5(size, Qwen3_5Config)
    return Qwen3_5ForConditionalGeneration(config), processor


def qwen3_5_moe(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    config, processor = _qwen3_5(size, Qwen3_5MoeConfig, **EXPERTS, shared_expert_intermediate_size=32)
    return Qwen3_5MoeForConditionalGeneration(config), processor
