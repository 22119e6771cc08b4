"""Decoding the branches of a prompt state: one token per row and pass, the prompt's keys and values never copied."""

from collections.abc import Callable, Mapping

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
        self.max_tokens = max_tokens
        self.static = static
        self.buffers: dict[int, KeysValues] = {}
        self.length = 0
        """Own tokens of each row that precede the current one."""
        prompts, device = _batch_size(keys_values), _device(keys_values)
        self.prompt_of_row_N = torch.arange(prompts, device=device).repeat_interleave(group_size)
        self.seats: tuple[Tensor, Tensor] | None = None
        """Set once groups differ in size. Queries of a group sit side by side, groups padded to one size: the row in
        each seat [B * G], and the seat of each row [N]."""
        self.position_1 = torch.zeros(1, dtype=torch.long, device=device)
        self.unwritten_T = torch.full((max_tokens,), -torch.inf, device=device)
        self.unwritten_T[0] = 0

    def shares(self, layer: int) -> bool:
        return layer in self.keys_values

    def attend(
        self, module: nn.Module, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        if layer not in self.buffers:
            shape = (len(k), k.shape[1], self.max_tokens)
            self.buffers[layer] = (k.new_zeros(*shape, k.shape[3]), v.new_zeros(*shape, v.shape[3]))
        own_k, own_v = self.buffers[layer]
        out_p, lse_p = self._attend_to_prompts(layer, q, scale)
        if self.static:
            own_k.index_copy_(2, self.position_1, k)
            own_v.index_copy_(2, self.position_1, v)
            scores = q.unflatten(1, (k.shape[1], -1)) @ own_k.unsqueeze(2).mT * scale + self.unwritten_T
            lse = scores.float().logsumexp(-1)
            out = (scores - lse.unsqueeze(-1)).exp().to(q.dtype) @ own_v.unsqueeze(2)
            return merge(out_p, lse_p, out.flatten(1, 2), lse.flatten(1, 2))
        end = self.length + 1
        own_k[:, :, self.length : end], own_v[:, :, self.length : end] = k, v
        out_s, lse_s = kernel_for(q, v).forward(q, own_k[:, :, :end], own_v[:, :, :end], scale, False, None)
        return merge(out_p, lse_p, out_s, lse_s)

    def _attend_to_prompts(self, layer: int, q: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        prompt_k, prompt_v = self.keys_values[layer]
        seated = q if self.seats is None else q[self.seats[0]]
        kernel = kernel_for(q, prompt_v)
        out, lse = kernel.forward(by_prompt(seated, len(prompt_k)), prompt_k, prompt_v, scale, False, self.padding)
        out, lse = by_row(out, 1), by_row(lse, 1)
        return (out, lse) if self.seats is None else (out[self.seats[1]], lse[self.seats[1]])

    def advance(self) -> None:
        """Moves on to the next token."""
        self.length += 1
        if self.static:
            self.position_1.fill_(self.length)
            self.unwritten_T[self.length : self.length + 1] = 0

    def keep(self, rows_M: Tensor) -> None:
        """Drops all rows but these."""
        self.buffers = {layer: (k[rows_M], v[rows_M]) for layer, (k, v) in self.buffers.items()}
        self.prompt_of_row_N = self.prompt_of_row_N[rows_M]
        prompts = _batch_size(self.keys_values)
        of_row_N, rows = self.prompt_of_row_N, torch.arange(len(rows_M), device=rows_M.device)
        sizes_B = torch.bincount(of_row_N, minlength=prompts)
        widest = int(sizes_B.max())
        first_B = sizes_B.cumsum(0) - sizes_B
        seat_of_row_N = of_row_N * widest + rows - first_B[of_row_N]
        row_in_seat = rows.new_zeros(prompts * widest).index_copy(0, seat_of_row_N, rows)
        self.seats = row_in_seat, seat_of_row_N


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
    ) -> None:
        """`cache` is the branches' state of layers that are not shared; `capture` replays one CUDA graph per shape."""
        self.policy = policy
        self.layout = layout
        self.cache = cache
        self.mask_NS = mask_NP
        self.position_N = next_position_N
        self.logits_NV = logits_NV
        self.capture = capture
        self.captured: CapturedStep | None = None

    def advance(self, token_ids_N: Tensor) -> None:
        if self.capture:
            if self.captured is None:
                self.captured = CapturedStep(self._step, token_ids_N, self.position_N)
            self.logits_NV = self.captured(token_ids_N, self.position_N)
        else:
            self.logits_NV = self._step(token_ids_N, self.position_N)
        self.position_N = self.position_N + 1
        self.layout.advance()

    def _step(self, token_ids_N: Tensor, position_N: Tensor) -> Tensor:
        cached = {}
        if self.cache is not None:
            self.mask_NS = torch.cat([self.mask_NS, self.mask_NS.new_ones(len(token_ids_N), 1)], dim=1)
            cached = {"past_key_values": self.cache, "attention_mask": self.mask_NS}
        hidden_N1H = self.policy.hidden_states(
            input_ids=token_ids_N[:, None],
            position_ids=self.policy.family.next_positions(position_N, 1),
            use_cache=self.cache is not None,
            prompt_layout=self.layout,
            **cached,
        )
        if self.cache is not None:
            self.cache.advance()
        return self.policy.logits(hidden_N1H[:, 0])

    def keep(self, rows_M: Tensor) -> None:
        self.layout.keep(rows_M)
        if self.cache is not None:
            self.cache.keep(rows_M)
            self.mask_NS = self.mask_NS[rows_M]
        self.position_N = self.position_N[rows_M]
        self.captured = None


class CapturedStep:
    """One decoding step recorded as a CUDA graph: replaying it costs one launch instead of one per operation."""

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor], token_ids_N: Tensor, position_N: Tensor) -> None:
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


def _batch_size(keys_values: Mapping[int, KeysValues]) -> int:
    return len(next(iter(keys_values.values()))[0])


def _device(keys_values: Mapping[int, KeysValues]) -> torch.device:
    return next(iter(keys_values.values()))[0].device
