"""A random InternVL model in transformers' own form."""

from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from tests.random_models.common import Size, chat_template, language_model, tokenizer_with, vision_transformer

TILE = {"height": 56, "width": 56}


def internvl(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = tokenizer_with(
        *("<box>", "</box>", "<ref>", "</ref>"),
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=TILE, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        InternVLVideoProcessor(size=TILE),
        image_seq_length=4,
        chat_template=chat_template("<IMG_CONTEXT>\n"),
    )
    config = InternVLConfig(
        text_config=language_model(size, tokenizer) | {"model_type": "qwen2"},
        vision_config=vision_transformer(size, 56, 14) | {"image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
        tie_word_embeddings=False,
    )
    return InternVLForConditionalGeneration(config), processor
