"""Predicted memory of training: what is held throughout, and what every token row of a pass adds. An estimate.

Counted per decoder layer and token row: what autograd keeps of the norms, the attention and the gated MLP of the
transformers implementation. Kernels' workspaces and fragmentation are left to the share of memory that is not used.
"""

import re
from dataclasses import dataclass

from torch import nn

from vlmrl.bench.limit_model import ModelShape
from vlmrl.config import ModelConfig
from vlmrl.models.families import Family, Part

FLOAT32_BYTES = 4
OPTIMIZER_BYTES = 8
"""AdamW's two moments of a trained weight."""
LOGITS_COPIES = 3
"""Logits, log-probabilities and their gradient, in float32."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one training process."""

    weights: int
    gradients_and_optimizer: int
    per_token_row: int
    """Activations of the decoder layers, for each of the P + G C token rows of a pass."""
    per_completion_token: int
    """Output head and loss, for each of the G C completion tokens."""

    @property
    def held(self) -> int:
        return self.weights + self.gradients_and_optimizer

    def of_pass(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Bytes at the peak of a pass over these many prompt tokens and completion tokens."""
        rows = prompt_tokens + completion_tokens
        return self.held + rows * self.per_token_row + completion_tokens * self.per_completion_token


def training_memory(
    model: nn.Module, shape: ModelShape, family: Family, config: ModelConfig, compute_bytes: int
) -> TrainingMemory:
    """The estimate for a model (its parameters may be without values) trained as `config` says."""
    trained, frozen = _trained_and_frozen(model, family, config)
    # autocast keeps a copy of a trained weight in the reduced precision during a pass
    copies = compute_bytes if compute_bytes < FLOAT32_BYTES else 0
    layer = compute_bytes * (10 * shape.hidden + 3 * shape.query + 4 * shape.key_value + 4 * shape.intermediate)
    key_value = compute_bytes * 2 * shape.layers * shape.key_value
    if config.gradient_checkpointing:
        # every layer keeps its input; one layer at a time is recomputed in full
        rows = compute_bytes * shape.layers * shape.hidden + key_value + layer
    else:
        rows = shape.layers * layer + key_value
    return TrainingMemory(
        weights=trained * (FLOAT32_BYTES + copies) + frozen * compute_bytes,
        gradients_and_optimizer=trained * (FLOAT32_BYTES + OPTIMIZER_BYTES),
        per_token_row=rows,
        per_completion_token=LOGITS_COPIES * FLOAT32_BYTES * shape.vocabulary,
    )


def _trained_and_frozen(model: nn.Module, family: Family, config: ModelConfig) -> tuple[int, int]:
    if config.lora.rank:
        targets = re.compile(family.lora_targets)
        linear = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and targets.fullmatch(name)]
        adapters = sum(config.lora.rank * (m.in_features + m.out_features) for m in linear)
        return adapters, sum(p.numel() for p in model.parameters())
    wanted = {Part.TOWER: config.train_tower, Part.MERGER: config.train_merger, Part.LANGUAGE: config.train_language}
    counts = {True: 0, False: 0}
    for name, parameter in model.named_parameters():
        counts[wanted[family.part_of(name)] is not False] += parameter.numel()
    return counts[True], counts[False]
