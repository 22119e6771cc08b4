"""A cache whose layers can be replayed: the state of a prompt, shared by the branches that continue it.

A stock cache layer updates its state in place, so a second pass through it (gradient checkpointing replays every layer)
sees its own tokens twice. A two-slot layer reads the state it was given and writes the new one elsewhere; reading again
gives the same result, and autograd flows from the branches into the prompt. There is one class per kind of layer in
transformers' `config.layer_types`.
"""

from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, CacheLayerMixin, LinearAttentionCacheLayerMixin

from vlmrl.errors import UserError

KeysValues = tuple[Tensor, Tensor]


class TwoSlotLayer(CacheLayerMixin):
    """One full-attention layer's state: `past` is read, `current` is written."""

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

    def branch(self, prompt_of_row_N: Tensor) -> "TwoSlotLayer":
        """This layer for N rows, each of which continues from its prompt's last pass."""
        assert self.current is not None, "branch() follows the prompt pass"
        keys, values = self.current
        return TwoSlotLayer((keys[prompt_of_row_N], values[prompt_of_row_N]))

    def keep(self, rows_M: Tensor) -> None:
        """Drops all rows but these from what the next pass reads."""
        assert self.past is not None, "keep() follows branch()"
        self.past = (self.past[0][rows_M], self.past[1][rows_M])

    def advance(self) -> None:
        """Makes what the last pass wrote the past of the next one (decoding)."""
        self.past = self.current


class SlidingLayer(TwoSlotLayer):
    """A sliding-window layer: branches carry only the `window` - 1 last positions, all that a new token can see."""

    is_sliding = True

    def __init__(self, window: int, past: KeysValues | None = None, dropped: int = 0) -> None:
        super().__init__(past)
        self.window = window
        self.dropped = dropped
        """How many positions of the sequence lie before the first one in `past`."""

    def get_seq_length(self) -> int:
        return self.dropped + super().get_seq_length()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return super().get_seq_length() + query_length, self.dropped

    def branch(self, prompt_of_row_N: Tensor) -> "SlidingLayer":
        (keys, values), dropped = self._visible()
        return SlidingLayer(self.window, (keys[prompt_of_row_N], values[prompt_of_row_N]), dropped)

    def advance(self) -> None:
        self.past, self.dropped = self._visible()

    def _visible(self) -> tuple[KeysValues, int]:
        assert self.current is not None, "branch() follows the prompt pass"
        keys, values = self.current
        outside = max(keys.shape[-2] - (self.window - 1), 0)
        return (keys[..., outside:, :], values[..., outside:, :]), self.dropped + outside


class LinearLayer(LinearAttentionCacheLayerMixin):
    """A linear-attention layer: the inputs its convolution still needs and its recurrent state, both fixed in size."""

    def __init__(self, past: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        # one-token kernels update the convolution's state in place, except in a layer that records its past
        self.record_past = True
        self.current: dict[str, Tensor] = {}
        if past is not None:
            self._read(past)

    def _read(self, past: Mapping[str, Tensor]) -> None:
        self.conv_states[0], self.recurrent_states[0] = past["conv"], past["recurrent"]
        self.has_previous_state[0] = True

    def lazy_initialization(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to allocate: the state is whatever the last pass produced."""

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int | None = None, **kwargs: Any
    ) -> Tensor:
        """Inputs of the convolution [B, channels, past + new]; the past stays as it was."""
        assert conv_kernel_size is not None, "the model states the width of its convolution"
        past = self.conv_states[state_idx]
        if past is not None:
            conv_states = torch.cat([past, conv_states], dim=-1)
        missing = max(conv_kernel_size - conv_states.shape[-1], 0)
        self.current["conv"] = torch.nn.functional.pad(conv_states, (missing, 0))[..., -conv_kernel_size:]
        return conv_states

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **kwargs: Any) -> Tensor:
        self.current["recurrent"] = recurrent_states
        return recurrent_states

    def branch(self, prompt_of_row_N: Tensor) -> "LinearLayer":
        return LinearLayer({name: state[prompt_of_row_N] for name, state in self.current.items()})

    def keep(self, rows_M: Tensor) -> None:
        conv, recurrent = self.conv_states[0], self.recurrent_states[0]
        assert conv is not None, "keep() follows branch()"
        assert recurrent is not None, "keep() follows branch()"
        self._read({"conv": conv[rows_M], "recurrent": recurrent[rows_M]})

    def advance(self) -> None:
        self._read(self.current)


class SharedLayer(CacheLayerMixin):
    """A layer whose prompt is shared by the attention function itself (`engine.attention`): nothing is kept here."""

    is_sliding = False

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> KeysValues:
        return key_states, value_states

    def get_seq_length(self) -> int:
        return 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0

    def get_max_length(self) -> int:
        return -1

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to allocate."""

    def branch(self, prompt_of_row_N: Tensor) -> "SharedLayer":
        return self

    def keep(self, rows_M: Tensor) -> None:
        """Nothing to drop."""

    def advance(self) -> None:
        """Nothing to move on."""


Slot = TwoSlotLayer | LinearLayer | SharedLayer


def _empty_layer(kind: str, config: PretrainedConfig) -> Slot:
    match kind:
        case "sliding_attention":
            return SlidingLayer(config.sliding_window)
        case "linear_attention":
            return LinearLayer()
        case "full_attention":
            return TwoSlotLayer()
        case _:
            raise UserError(f"branches cannot continue layers of type {kind}; train with engine.kind=naive")


class TwoSlotCache(Cache):
    """Cache of a decoder, one two-slot layer for each of its layers."""

    def __init__(self, layers: list[Slot]) -> None:
        super().__init__(layers=list(layers))
        self.slots = layers

    @classmethod
    def empty(cls, config: PretrainedConfig, shared: Container[int] = ()) -> "TwoSlotCache":
        """The cache of a prompt pass; `config` is the language model's, `shared` are layers that need no slots.

        Raises UserError for unknown layer types.
        """
        return cls(
            [
                SharedLayer() if layer in shared else _empty_layer(kind, config)
                for layer, kind in enumerate(layer_kinds(config))
            ]
        )

    def branch(self, prompt_of_row_N: Tensor) -> "TwoSlotCache":
        """A cache of N rows, each of which continues from its prompt's last pass."""
        return TwoSlotCache([slot.branch(prompt_of_row_N) for slot in self.slots])

    def keep(self, rows_M: Tensor) -> None:
        """Drops all rows but these from what the next pass reads."""
        for slot in self.slots:
            slot.keep(rows_M)

    def advance(self) -> None:
        for slot in self.slots:
            slot.advance()


def layer_kinds(config: PretrainedConfig) -> list[str]:
    """The kind of each of the language model's layers, in transformers' names."""
    return getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
