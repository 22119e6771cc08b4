"""Decoding the branches of a prompt state: one token per row and pass, the prompt's keys and values never copied."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vlmrl.engine.attention import KeysValues, by_prompt, by_row, merge
from vlmrl.engine.cache import TwoSlotCache
from vlmrl.engine.kernels import LeftPadding, kernel_for
from vlmrl.models.load import Policy


class DecodeLayout:
    """Keys and values of N rows while they are decoded: shared ones of their prompts, own ones in static buffers."""

    def __init__(
        self,
        keys_values: Mapping[int, KeysValues],
        padding: LeftPadding | None,
        group_size: int,
        max_tokens: int,
        static: bool,
    ) -> None:
        """`static` keeps every tensor's shape from token to token, as a captured CUDA graph needs."""
        self.keys_values = keys_values
        self.padding = padding
        self.static = static
        prompts, device = self.prompts_shape[0], _device(keys_values)

        def buffer(x_BKPd: Tensor) -> Tensor:
            return x_BKPd.new_zeros(prompts * group_size, x_BKPd.shape[1], max_tokens, x_BKPd.shape[3])

        self.buffers: dict[int, KeysValues] = {layer: (buffer(k), buffer(v)) for layer, (k, v) in keys_values.items()}
        self.end: int | Tensor = 1
        """Own tokens of each row, the current one included."""
        self.prompt_of_row_N = torch.arange(prompts, device=device).repeat_interleave(group_size)
        self.seats: tuple[Tensor, Tensor] | None = None
        """Set once groups differ in size. Queries of a group sit side by side, groups padded to one size: the row in
        each seat [B * G], and the seat of each row [N]."""
        self.position_1 = torch.zeros(1, dtype=torch.long, device=device)
        """Of the current token in the buffers."""
        self.unwritten_T = torch.full((max_tokens,), -torch.inf, device=device)
        self.unwritten_T[0] = 0

    @property
    def prompts_shape(self) -> tuple[int, int]:
        """Number of prompts and their padded length."""
        k_BKPd, _ = next(iter(self.keys_values.values()))
        return k_BKPd.shape[0], k_BKPd.shape[2]

    def tensors(self) -> list[Tensor]:
        """What a step reads and writes, one list of tensors."""
        return [
            self.position_1,
            *(x for pairs in (self.keys_values, self.buffers) for pair in pairs.values() for x in pair),
            *([] if self.padding is None else [self.padding.bias_B11P]),
            *(self.seats or ()),
        ]

    def of_tensors(self, tensors: Sequence[Tensor]) -> "DecodeLayout":
        """This layout with other tensors in the place of `tensors()`."""
        layout, rest = copy.copy(self), iter(tensors)
        layout.position_1 = next(rest)
        layout.end = layout.position_1[0] + 1
        layout.keys_values = {layer: (next(rest), next(rest)) for layer in self.keys_values}
        layout.buffers = {layer: (next(rest), next(rest)) for layer in self.buffers}
        layout.padding = self.padding and replace(self.padding, bias_B11P=next(rest))
        layout.seats = self.seats and (next(rest), next(rest))
        return layout

    def shares(self, layer: int) -> bool:
        return layer in self.keys_values

    def attend(
        self, module: nn.Module, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        own_k, own_v = self.buffers[layer]
        out_p, lse_p = self._attend_to_prompts(layer, q, scale)
        own_k.index_copy_(2, self.position_1, k)
        own_v.index_copy_(2, self.position_1, v)
        if self.static:
            scores = q.unflatten(1, (k.shape[1], -1)) @ own_k.unsqueeze(2).mT * scale + self.unwritten_T
            lse = scores.float().logsumexp(-1)
            out = (scores - lse.unsqueeze(-1)).exp().to(q.dtype) @ own_v.unsqueeze(2)
            return merge(out_p, lse_p, out.flatten(1, 2), lse.flatten(1, 2))
        written = slice(None, self.end)
        out_s, lse_s = kernel_for(q, v).forward(q, own_k[:, :, written], own_v[:, :, written], scale, False, None)
        return merge(out_p, lse_p, out_s, lse_s)

    def _attend_to_prompts(self, layer: int, q: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        prompt_k, prompt_v = self.keys_values[layer]
        seated = q if self.seats is None else q[self.seats[0]]
        kernel = kernel_for(q, prompt_v)
        out, lse = kernel.forward(by_prompt(seated, prompt_k.shape[0]), prompt_k, prompt_v, scale, False, self.padding)
        out, lse = by_row(out, 1), by_row(lse, 1)
        return (out, lse) if self.seats is None else (out[self.seats[1]], lse[self.seats[1]])

    def advance(self) -> None:
        """Moves on to the next token."""
        self.position_1.fill_(self.end)
        if self.static:
            self.unwritten_T[self.end : self.end + 1] = 0
        self.end += 1

    def keep(self, rows_M: Tensor) -> None:
        """Drops all rows but these."""
        self.buffers = {layer: (k[rows_M], v[rows_M]) for layer, (k, v) in self.buffers.items()}
        self.prompt_of_row_N = self.prompt_of_row_N[rows_M]
        prompts, _ = self.prompts_shape
        of_row_N, rows = self.prompt_of_row_N, torch.arange(len(rows_M), device=rows_M.device)
        sizes_B = torch.bincount(of_row_N, minlength=prompts)
        widest = int(sizes_B.max())
        first_B = sizes_B.cumsum(0) - sizes_B
        seat_of_row_N = of_row_N * widest + rows - first_B[of_row_N]
        row_in_seat = rows.new_zeros(prompts * widest).index_copy(0, seat_of_row_N, rows)
        self.seats = row_in_seat, seat_of_row_N


Step = Callable[[Tensor, Tensor], Tensor]
"""The logits [N, V] of the next token from the current tokens [N] and their positions [N]."""


def branch_logits(
    policy: Policy, layout: DecodeLayout, token_ids_N: Tensor, position_N: Tensor, **cached: Any
) -> Tensor:
    """The decoding step of N branches; `cached` are the inputs of layers that continue from a cache."""
    # a mask of four axes is passed on as it is, and layouts need none; without it transformers works one out
    unread = {"use_cache": False, "attention_mask": torch.ones_like(token_ids_N).view(-1, 1, 1, 1)}
    hidden_N1H = policy.hidden_states(
        input_ids=token_ids_N[:, None],
        position_ids=policy.family.next_positions(position_N, 1),
        prompt_layout=layout,
        **(cached or unread),
    )
    return policy.logits(hidden_N1H[:, 0])


class BranchDecoder:
    """Decodes `group_size` branches of every prompt of a state; a `Decoder` of the sampling loop."""

    def __init__(
        self,
        policy: Policy,
        layout: DecodeLayout,
        cache: TwoSlotCache | None,
        mask_NP: Tensor,
        next_position_N: Tensor,
        logits_NV: Tensor,
        capture: bool,
        recorded: Step | None,
    ) -> None:
        """`cache` is the branches' state of layers that are not shared. `capture` replays one CUDA graph per shape,
        `recorded` computes the step in the place of the model's modules; neither knows a cache."""
        self.policy = policy
        self.layout = layout
        self.cache = cache
        self.mask_NS = mask_NP
        self.position_N = next_position_N
        self.logits_NV = logits_NV
        self.capture = capture
        self.captured: CapturedStep | None = None
        self.step = recorded or self._step

    def advance(self, token_ids_N: Tensor) -> None:
        if self.capture:
            if self.captured is None:
                self.captured = CapturedStep(self._step, token_ids_N, self.position_N)
            self.logits_NV = self.captured(token_ids_N, self.position_N)
        else:
            self.logits_NV = self.step(token_ids_N, self.position_N)
        self.position_N = self.position_N + 1
        self.layout.advance()

    def _step(self, token_ids_N: Tensor, position_N: Tensor) -> Tensor:
        cached = {}
        if self.cache is not None:
            self.mask_NS = torch.cat([self.mask_NS, self.mask_NS.new_ones(len(token_ids_N), 1)], dim=1)
            cached = {"use_cache": True, "past_key_values": self.cache, "attention_mask": self.mask_NS}
        logits_NV = branch_logits(self.policy, self.layout, token_ids_N, position_N, **cached)
        if self.cache is not None:
            self.cache.advance()
        return logits_NV

    def keep(self, rows_M: Tensor) -> None:
        self.layout.keep(rows_M)
        if self.cache is not None:
            self.cache.keep(rows_M)
            self.mask_NS = self.mask_NS[rows_M]
        self.position_N = self.position_N[rows_M]
        self.captured = None


class CapturedStep:
    """One decoding step recorded as a CUDA graph: replaying it costs one launch instead of one per operation."""

    def __init__(self, step: Step, token_ids_N: Tensor, position_N: Tensor) -> None:
        self.token_ids_N, self.position_N = token_ids_N.clone(), position_N.clone()
        warm_up = torch.cuda.Stream()
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):  # writes the same buffer positions as the replay that follows
            step(self.token_ids_N, self.position_N)
        torch.cuda.current_stream().wait_stream(warm_up)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.logits_NV = step(self.token_ids_N, self.position_N)

    def __call__(self, token_ids_N: Tensor, position_N: Tensor) -> Tensor:
        self.token_ids_N.copy_(token_ids_N)
        self.position_N.copy_(position_N)
        self.graph.replay()
        return self.logits_NV


def _device(keys_values: Mapping[int, KeysValues]) -> torch.device:
    return next(iter(keys_values.values()))[0].device
