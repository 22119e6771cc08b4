"""What the builders of random models share: a tokenizer with a family's tokens, and a small language model."""

from dataclasses import dataclass
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from vlmrl.paths import tiny_model_dir


@dataclass(frozen=True)
class Size:
    """Widths and depth of a random model."""

    hidden: int
    layers: int
    vision_hidden: int


CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% elif part.type == 'text' %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat_template(image: str) -> str:
    """A chat template that writes `image` for every picture."""
    return CHAT_TEMPLATE.replace("IMAGE", image)


def tokenizer_with(*tokens: str, **named: str) -> PreTrainedTokenizerBase:
    """The embedded model's tokenizer with further special tokens; `named` ones become attributes (image_token=...)."""
    shipped: Any = AutoTokenizer.from_pretrained(tiny_model_dir())
    return PreTrainedTokenizerFast(
        tokenizer_object=shipped.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", *tokens],
        **named,
    )


def language_model(size: Size, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Settings of a small decoder, in the names that transformers' configurations share."""
    return {
        "hidden_size": size.hidden,
        "intermediate_size": 2 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": len(tokenizer) + 8,  # padded, as the published checkpoints are
        "max_position_embeddings": 4096,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "tie_word_embeddings": False,
    }


def vision_transformer(size: Size, image_size: int, patch_size: int) -> dict[str, Any]:
    """Settings of a small vision tower with square inputs."""
    return {
        "hidden_size": size.vision_hidden,
        "intermediate_size": 2 * size.vision_hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": image_size,
        "patch_size": patch_size,
    }
