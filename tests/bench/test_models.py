"""Random models and the limit model, against published sizes and the formula."""

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vlmrl.bench.limit_model import ModelShape, StepShape, step_costs
from vlmrl.bench.random_models import SHAPES, build_config, build_processor
from vlmrl.models.families import FAMILIES

PUBLISHED = {"random:qwen2_5_vl-3b": 3_754_622_976, "random:qwen2_5_vl-7b": 8_292_166_656}
"""Parameters of Qwen/Qwen2.5-VL-3B-Instruct and -7B-Instruct, as their safetensors indices state them."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_random_models_have_the_published_number_of_parameters(name: str) -> None:
    processor = build_processor(SHAPES[name])
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(build_config(SHAPES[name], processor.tokenizer))
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
    family = FAMILIES["qwen2_5_vl"](processor)
    # only the control tokens are banned: every other id of the vocabulary is a token
    assert len(family.banned_ids(model)) == 6
    shape = ModelShape.of(model, family)
    text = SHAPES[name]
    attention = 2 * text.hidden * text.hidden + 2 * text.hidden * shape.key_value
    assert shape.layer_weights == text.layers * (attention + 3 * text.hidden * text.intermediate)


SHAPE = ModelShape(
    layers=4, hidden=1, query=0, key_value=1, intermediate=1, layer_weights=16, head_weights=0, vocabulary=1,
    tower_weights=1, merger_weights=0, tower_layers=1, tower_full_layers=1, tower_window=1, tower_hidden=0,
)  # fmt: skip
"""Attention, head and merger cost nothing, so that the plain formula remains: a patch costs 2 in the tower, a token
2 W in the language model, and 2 S if the last layer makes only its key and value."""
W, S = 16, 12 + 2


@pytest.mark.parametrize(("lora", "checkpointing", "k"), [(False, False, 3), (True, False, 2), (True, True, 3)])
def test_costs_are_the_formula(lora: bool, checkpointing: bool, k: int) -> None:
    P, C, G, v = 1000, 32, 8, 0.4
    costs = step_costs(SHAPE, StepShape(P, C, G, 400, 250, lora, checkpointing))
    tower = 3 if lora and checkpointing else 1
    expected = {
        "ideal": P * v + W * G * C + k * (S * P + W * G * C),
        "loop-once": 2 * P * v + W * (G * P + G * C + k * G * (P + C)),
        "loop": 2 * G * P * v + W * (G * P + G * C + k * G * (P + C)),
        "trl": G * P * v * (1 + tower) + W * (G * P + G * C + k * G * (P + C)),
    }
    assert {name: cost.total / 2 for name, cost in costs.items()} == pytest.approx(expected)
