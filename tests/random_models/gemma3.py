"""A random Gemma 3 model whose window is shorter than its prompts and its completions."""

from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    PreTrainedModel,
    ProcessorMixin,
)

from tests.random_models.common import Size, chat_template, language_model, tokenizer_with, vision_transformer


def gemma3(size: Size) -> tuple[PreTrainedModel, ProcessorMixin]:
    tokenizer = tokenizer_with(
        bos_token="<bos>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    bos = ("<bos>", tokenizer.bos_token_id)
    # as in the published tokenizer, which writes the token that the chat template writes too
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[bos])
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": 56, "width": 56}),
        tokenizer,
        image_seq_length=4,
        chat_template=chat_template("<start_of_image>"),
    )
    kinds = ["full_attention" if layer == 1 else "sliding_attention" for layer in range(size.layers)]
    config = Gemma3Config(
        text_config=language_model(size, tokenizer)
        | {"head_dim": size.hidden // 4, "query_pre_attn_scalar": 16, "sliding_window": 5, "layer_types": kinds},
        vision_config=vision_transformer(size, 56, 14) | {"vision_use_head": False},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    return Gemma3ForConditionalGeneration(config), processor
