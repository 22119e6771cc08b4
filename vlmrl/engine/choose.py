"""The engine a configuration asks for, and the token budget that suits a device."""

import torch

from vlmrl.config import EngineConfig
from vlmrl.engine.base import Engine
from vlmrl.engine.media import FrozenTower
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.shared import SharedEngine
from vlmrl.models.load import Policy

CPU_TOKENS = 16384
"""Larger passes are no faster (1.01 times the step's CPU time at 65536), smaller ones slower: 1.04 times at 8192, 1.10
at 4096, 1.38 at 2048, 3.2 at 512 (one core, the embedded model, 64 prompts of 50 tokens, G = 8, medians of 7)."""
MEMORY_SHARE = 0.6
"""Share of the free GPU memory that activations may take; the rest is for gradients, logits and fragmentation."""
ACTIVATIONS_PER_LAYER = 34
"""Values kept for the backward pass per token and layer, in units of the hidden size (Korthikanti et al. 2022, arXiv
2205.05198, without the attention matrix that flash attention does not keep)."""
CHECKPOINTS_PER_LAYER = 2
"""The same with gradient checkpointing: each layer's input, and the prompt's keys and values."""


def make_engine(policy: Policy, config: EngineConfig, tower: FrozenTower | None = None) -> Engine:
    """`tower` is that of an engine with the same frozen vision weights."""
    tokens = config.max_tokens_per_pass or default_tokens(policy)
    if config.kind == "naive":
        return NaiveEngine(policy, tokens)
    tower = tower or FrozenTower(config.feature_cache_mb * 2**20)
    return SharedEngine(policy, tokens, tower=tower, cuda_graphs=config.cuda_graphs)


def default_tokens(policy: Policy) -> int:
    """Token rows of one pass. On a GPU: as many as fill `MEMORY_SHARE` of the free memory with activations."""
    if policy.device.type != "cuda":
        return CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(policy.device)
    trained_bytes = sum(p.nbytes for p in policy.model.parameters() if p.requires_grad)
    after_optimizer = free - 3 * trained_bytes  # gradients and AdamW's two moments
    text = policy.text_config
    per_layer = CHECKPOINTS_PER_LAYER if policy.checkpoints_activations else ACTIVATIONS_PER_LAYER
    bytes_per_token = text.num_hidden_layers * text.hidden_size * per_layer * policy.compute_dtype.itemsize
    return max(1024, int(MEMORY_SHARE * after_optimizer / bytes_per_token))
