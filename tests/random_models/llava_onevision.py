"""A random LLaVA-OneVision model with three tile grids."""

from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from tests.random_models.common import Size, chat_template, language_model, tokenizer_with, vision_transformer

TILE = {"height": 56, "width": 56}
GRIDS = [[56, 56], [56, 112], [112, 56]]


def llava_onevision(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = tokenizer_with(image_token="<image>", video_token="<video>")
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=TILE, image_grid_pinpoints=GRIDS),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=TILE),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>\n"),
    )
    config = LlavaOnevisionConfig(
        text_config=language_model(size, tokenizer) | {"model_type": "qwen2"},
        vision_config=vision_transformer(size, 56, 14)
        | {"model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=GRIDS,
        tie_word_embeddings=False,
    )
    return LlavaOnevisionForConditionalGeneration(config), processor
