"""Random Idefics3 and SmolVLM models; the two differ in name and in SmolVLM's video processor."""

from typing import Any

from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    PreTrainedModel,
    ProcessorMixin,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

from tests.random_models.common import Size, chat_template, language_model, tokenizer_with, vision_transformer

TILES = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}
IMAGE_TOKENS = 16


def _tokenizer() -> Any:
    tiles = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    return tokenizer_with(
        *tiles,
        image_token="<image>",
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
    )


def _config(size: Size, tokenizer: Any) -> dict[str, Any]:
    return {
        "text_config": language_model(size, tokenizer) | {"model_type": "llama"},
        "vision_config": vision_transformer(size, 64, 8),
        "image_token_id": tokenizer.image_token_id,
        "scale_factor": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }


def idefics3(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = _tokenizer()
    processor = Idefics3Processor(
        Idefics3ImageProcessor(do_image_splitting=True, **TILES),
        tokenizer,
        image_seq_len=IMAGE_TOKENS,
        chat_template=chat_template("<image>"),
    )
    return Idefics3ForConditionalGeneration(Idefics3Config(**_config(size, tokenizer))), processor


def smolvlm(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = _tokenizer()
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(do_image_splitting=True, **TILES),
        tokenizer,
        SmolVLMVideoProcessor(video_sampling={"max_frames": 4, "fps": 1, "video_size": {"longest_edge": 64}}, **TILES),
        image_seq_len=IMAGE_TOKENS,
        chat_template=chat_template("<image>"),
    )
    return SmolVLMForConditionalGeneration(SmolVLMConfig(**_config(size, tokenizer))), processor
