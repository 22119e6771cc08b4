"""A key-value cache whose layers can be replayed: the state of a prompt, shared by the branches that continue it.

A stock cache layer appends in place, so a second pass through it (gradient checkpointing replays every layer) sees its
own keys twice. A two-slot layer reads the state it was given and writes the new one elsewhere; reading again gives the
same result, and autograd flows from the branches into the prompt.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

KeysValues = tuple[Tensor, Tensor]


class TwoSlotLayer(CacheLayerMixin):
    """One attention layer's state: `past` is read, `current` is written."""

    is_sliding = False

    def __init__(self, past: KeysValues | None = None) -> None:
        super().__init__()
        self.past = past
        self.current: KeysValues | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> KeysValues:
        """Keys and values [B, heads, past + new, dim] for this pass; the past stays as it was."""
        if self.past is not None:
            key_states = torch.cat([self.past[0], key_states], dim=-2)
            value_states = torch.cat([self.past[1], value_states], dim=-2)
        self.current = (key_states, value_states)
        return self.current

    def get_seq_length(self) -> int:
        return 0 if self.past is None else self.past[0].shape[-2]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to allocate: the state is whatever the last pass produced."""

    def advance(self) -> None:
        """Makes what the last pass wrote the past of the next one (decoding)."""
        self.past = self.current


class TwoSlotCache(Cache):
    """Cache of a decoder whose layers are all full attention."""

    def __init__(self, layers: list[TwoSlotLayer]) -> None:
        super().__init__(layers=list(layers))
        self.slots = layers

    @classmethod
    def empty(cls, layer_count: int) -> "TwoSlotCache":
        return cls([TwoSlotLayer() for _ in range(layer_count)])

    def branch(self, count: int) -> "TwoSlotCache":
        """A cache of B * count rows, `count` per prompt in order, that continue from this cache's last pass."""
        layers = []
        for slot in self.slots:
            assert slot.current is not None, "branch() follows the prompt pass"
            keys, values = slot.current
            layers.append(TwoSlotLayer((keys.repeat_interleave(count, 0), values.repeat_interleave(count, 0))))
        return TwoSlotCache(layers)

    def advance(self) -> None:
        for slot in self.slots:
            slot.advance()
