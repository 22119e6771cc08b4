"""Attention to a shared prompt, registered with transformers as the attention implementation `vlmrl`.

In the prompt pass it is ordinary causal attention that also hands out every layer's keys and values. In a branches'
pass the G rows of a group attend to one copy of their prompt's keys and values and, causally, to their own tokens; the
two results are merged by log-sum-exp. The merge is the softmax over both, so nothing is approximated, and the backward
runs the kernels' own backward with the merged output and log-sum-exp.

A layout object says which pass it is. It travels through the model's forward as the keyword `prompt_layout`. Layers
that are not full attention (sliding windows, recurrences) are left to transformers and to the cache of `engine.cache`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from vlmrl.engine.kernels import Kernel, LeftPadding, kernel_for
from vlmrl.errors import UserError

IMPLEMENTATION = "vlmrl"
UNSHARED_TERMS = {"softcap": "soft-capped scores", "s_aux": "attention sinks", "position_bias": "a position bias"}
"""Keyword arguments of attention functions that change the softmax, and what they stand for."""

KeysValues = tuple[Tensor, Tensor]


def merge(out_a: Tensor, lse_a: Tensor, out_b: Tensor, lse_b: Tensor) -> Tensor:
    """Attention over two sets of keys from the attention over each: outputs [..., d], log-sum-exps [...]."""
    share_of_a = torch.sigmoid(lse_a - lse_b).unsqueeze(-1).to(out_a.dtype)
    return torch.lerp(out_b, out_a, share_of_a)


def by_prompt(x: Tensor, prompts: int) -> Tensor:
    """Rows [B * G, H, C, ...] of B groups as the queries of B prompts [B, H, G * C, ...]."""
    return x.unflatten(0, (prompts, -1)).transpose(1, 2).flatten(2, 3)


def by_row(x: Tensor, length: int) -> Tensor:
    """The inverse of `by_prompt` for rows of `length` tokens."""
    return x.unflatten(2, (-1, length)).transpose(1, 2).flatten(0, 1)


class PromptAttention(torch.autograd.Function):
    """Attention of left-padded prompts: causal, or of queries that see every token."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        scale: float,
        causal: bool,
        padding: LeftPadding | None,
        kernel: Kernel,
    ) -> Tensor:
        out, lse = kernel.forward(q, k, v, scale, causal, padding)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.settings = scale, causal, padding, kernel
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        scale, causal, padding, kernel = ctx.settings
        return *kernel.backward(grads[0], q, k, v, out, lse, scale, causal, padding), None, None, None, None


class BranchAttention(torch.autograd.Function):
    """Attention of B groups of rows [B * G, H, C, d] to their prompts' keys [B, K, P, d] and causally to their own."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        prompt_k: Tensor,
        prompt_v: Tensor,
        scale: float,
        padding: LeftPadding | None,
        kernel: Kernel,
    ) -> Tensor:
        out_p, lse_p = kernel.forward(by_prompt(q, len(prompt_k)), prompt_k, prompt_v, scale, False, padding)
        out_p, lse_p = by_row(out_p, q.shape[2]), by_row(lse_p, q.shape[2])
        out_s, lse_s = kernel.forward(q, k, v, scale, True, None)
        out = merge(out_p, lse_p, out_s, lse_s)
        ctx.save_for_backward(q, k, v, prompt_k, prompt_v, out, torch.logaddexp(lse_p, lse_s))
        ctx.settings = scale, padding, kernel
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, prompt_k, prompt_v, out, lse = ctx.saved_tensors
        scale, padding, kernel = ctx.settings
        folded = [by_prompt(x, len(prompt_k)) for x in (grads[0], q, out, lse)]
        grad, q_p, out_p, lse_p = folded
        grad_q_p, grad_pk, grad_pv = kernel.backward(grad, q_p, prompt_k, prompt_v, out_p, lse_p, scale, False, padding)
        grad_q, grad_k, grad_v = kernel.backward(grads[0], q, k, v, out, lse, scale, True, None)
        return grad_q + by_row(grad_q_p, q.shape[2]), grad_k, grad_v, grad_pk, grad_pv, None, None, None


class Layout(Protocol):
    """What a pass does with the queries, keys and values of a full-attention layer."""

    def attend(
        self, module: nn.Module, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        """Output [rows, H, tokens, d]."""

    def shares(self, layer: int) -> bool:
        """False for the layers that are left to transformers' own attention."""


@dataclass
class PromptLayout:
    """The prompt pass: collects the keys and values [B, K, P, d] of every full-attention layer."""

    layers: frozenset[int]
    padding: LeftPadding | None
    last_token_layer: int | None = None
    """A layer of which the last token's output is all that is read: other tokens' is a copy of it."""
    keys_values: dict[int, KeysValues] = field(default_factory=dict)

    def shares(self, layer: int) -> bool:
        return layer in self.layers

    def attend(
        self, module: nn.Module, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        # gradient checkpointing replays the layer; the branches belong to its first run
        self.keys_values.setdefault(layer, (k, v))
        length, causal = q.shape[2], True
        if layer == self.last_token_layer:
            q, mask, causal = q[:, :, -1:], mask if mask is None else mask[:, :, -1:], False
        if mask is not None:  # not plainly causal, e.g. image tokens that see each other
            out = sdpa_attention_forward(module, q, k, v, mask, scaling=scale)[0].transpose(1, 2)
        else:
            out = PromptAttention.apply(q, k, v, scale, causal, self.padding, kernel_for(q, v))
        return out.expand(-1, -1, length, -1)


@dataclass(frozen=True)
class BranchLayout:
    """The branches' pass: rows [B * G], groups whole and in the order of the prompts."""

    keys_values: Mapping[int, KeysValues]
    padding: LeftPadding | None

    def shares(self, layer: int) -> bool:
        return layer in self.keys_values

    def attend(
        self, module: nn.Module, layer: int, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float
    ) -> Tensor:
        return BranchAttention.apply(q, k, v, *self.keys_values[layer], scale, self.padding, kernel_for(q, v))


def shared_prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    prompt_layout: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention function of transformers' interface; without a layout it is transformers' own."""
    layer: Any = getattr(module, "layer_idx", None)
    if prompt_layout is None or not prompt_layout.shares(layer):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    for name, meaning in UNSHARED_TERMS.items():
        if kwargs.get(name) is not None:
            raise UserError(
                f"this model's attention has {meaning} ({name}), which a shared prompt cannot reproduce; "
                "use engine.kind=naive"
            )
    if dropout:
        raise UserError(f"attention dropout is {dropout}; set it to 0, or sampling and update see different models")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    # autocast leaves normalised queries and keys in float32
    query, key = query.to(value.dtype), key.to(value.dtype)
    out = prompt_layout.attend(module, layer, query, key, value, attention_mask, scale)
    return out.transpose(1, 2), None


AttentionInterface.register(IMPLEMENTATION, shared_prompt_attention)
AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)  # none at all for plain causal attention without padding
