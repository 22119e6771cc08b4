"""Attention kernels that also return the log-sum-exp, so that partial results can be merged and differentiated exactly.

All take queries [B, H, S, d] and keys and values [B, K, T, d] with H a multiple of K (grouped-query attention; keys and
values are never repeated in memory). Prompts of different length are left-padded; the padding takes no part.

The backward of an attention over a part of the keys is exact if it is given the output and log-sum-exp over *all* keys:
the softmax weights of the part are exp(score - lse), and the only other term is the row sum of grad * output.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Gradients = tuple[Tensor, Tensor, Tensor]

FLASH_HEAD_LIMIT = 256
"""Largest head dimension of the CUDA flash kernels."""


@dataclass(frozen=True)
class LeftPadding:
    """Where the real tokens of B left-padded prompts are."""

    bias_B11P: Tensor
    """Added to scores: 0 on tokens, -inf on padding."""
    real_R: Tensor
    """Indices of the real tokens in the flattened [B * P]."""
    starts_B: Tensor
    """int32 [B + 1]: offsets of the prompts in `real_R`."""

    @classmethod
    def of(cls, mask_BP: Tensor) -> "LeftPadding | None":
        """None if nothing is padded."""
        real_BP = mask_BP.bool()
        if bool(real_BP.all()):
            return None
        bias_BP = torch.zeros(real_BP.shape, device=mask_BP.device).masked_fill(~real_BP, -torch.inf)
        ends_B = real_BP.sum(1).cumsum(0, dtype=torch.int32)
        return cls(bias_BP[:, None, None], real_BP.flatten().nonzero()[:, 0], torch.nn.functional.pad(ends_B, (1, 0)))


class Kernel(Protocol):
    """`causal` is square attention (S = T, padding applies to queries too); otherwise every query sees every key."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, padding: LeftPadding | None
    ) -> tuple[Tensor, Tensor]:
        """Output [B, H, S, d] and natural log-sum-exp of the scores [B, H, S]."""

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        scale: float,
        causal: bool,
        padding: LeftPadding | None,
    ) -> Gradients:
        """Gradients of q, k and v. `out` and `lse` may cover more keys than `k`."""


def kernel_for(q: Tensor, v: Tensor) -> Kernel:
    """The fastest exact kernel for these tensors."""
    same_width = q.shape[-1] == v.shape[-1]
    if q.device.type == "cpu" and same_width:
        return CpuFlash()
    half = q.dtype in (torch.float16, torch.bfloat16)
    if q.device.type == "cuda" and half and same_width and q.shape[-1] <= FLASH_HEAD_LIMIT and q.shape[-1] % 8 == 0:
        return CudaFlash()
    return Reference()


def _dense(x: Tensor) -> Tensor:
    """The flash kernels take any strides but that of the last axis, and the CPU's does not check it."""
    return x if x.stride(-1) == 1 else x.contiguous()


class Reference:
    """Plain torch, any device and precision: the whole score matrix in memory."""

    def _scores(
        self, q: Tensor, k: Tensor, scale: float, causal: bool, padding: LeftPadding | None
    ) -> tuple[Tensor, Tensor]:
        """Queries by key head [B, K, H / K, S, d] and their scores [B, K, H / K, S, T]."""
        q = q.unflatten(1, (k.shape[1], -1))
        scores = q @ k.unsqueeze(2).mT * scale
        if padding is not None:
            scores = scores + padding.bias_B11P.unsqueeze(1).to(scores.dtype)
        if causal:
            future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
            scores = scores.masked_fill(future, -torch.inf)
        return q, scores

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, padding: LeftPadding | None
    ) -> tuple[Tensor, Tensor]:
        _, scores = self._scores(q, k, scale, causal, padding)
        lse = scores.logsumexp(-1)
        lse = lse.masked_fill(lse == -torch.inf, 0.0)  # a padded query sees nothing: its output is zero
        return ((scores - lse.unsqueeze(-1)).exp() @ v.unsqueeze(2)).flatten(1, 2), lse.flatten(1, 2)

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        scale: float,
        causal: bool,
        padding: LeftPadding | None,
    ) -> Gradients:
        q, scores = self._scores(q, k, scale, causal, padding)
        grad, out, lse = (x.unflatten(1, q.shape[1:3]) for x in (grad, out, lse))
        weights = (scores - lse.unsqueeze(-1)).exp()
        row_sum = (grad * out).sum(-1, keepdim=True)
        grad_scores = weights * (grad @ v.unsqueeze(2).mT - row_sum) * scale
        grad_q = (grad_scores @ k.unsqueeze(2)).flatten(1, 2)
        return grad_q, (grad_scores.mT @ q).sum(2), (weights.mT @ grad).sum(2)


_cpu_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_cpu_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class CpuFlash:
    """PyTorch's CPU flash attention. It knows no grouped queries, so query heads are moved to another axis.

    Without causality the H / K query heads of a key head are just more queries: [B, K, H / K * S, d]. With it they
    stay heads, and key heads join the batch: [B * K, H / K, S, d] against keys expanded without a copy.
    """

    @staticmethod
    def _rows(x: Tensor, key_heads: int, causal: bool) -> Tensor:
        """Queries [B, H, S, ...] in the kernel's arrangement."""
        grouped = x.unflatten(1, (key_heads, -1))
        return _dense(grouped.flatten(0, 1) if causal else grouped.flatten(2, 3))

    @staticmethod
    def _keys(x: Tensor, repeats: int, causal: bool) -> Tensor:
        x = _dense(x)
        return x.flatten(0, 1).unsqueeze(1).expand(-1, repeats, -1, -1) if causal else x

    @staticmethod
    def _bias(padding: LeftPadding | None, like: Tensor, key_heads: int, causal: bool) -> Tensor | None:
        if padding is None:
            return None
        bias = padding.bias_B11P.to(like.dtype)
        return bias.repeat_interleave(key_heads, 0) if causal else bias

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, padding: LeftPadding | None
    ) -> tuple[Tensor, Tensor]:
        heads, repeats = q.shape[1], q.shape[1] // k.shape[1]
        out, lse = _cpu_forward(
            self._rows(q, k.shape[1], causal),
            self._keys(k, repeats, causal),
            self._keys(v, repeats, causal),
            0.0,
            causal,
            attn_mask=self._bias(padding, q, k.shape[1], causal),
            scale=scale,
        )
        shape = (q.shape[0], heads, q.shape[2])
        return out.reshape(*shape, -1), lse.reshape(shape)

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        scale: float,
        causal: bool,
        padding: LeftPadding | None,
    ) -> Gradients:
        key_heads, repeats = k.shape[1], q.shape[1] // k.shape[1]
        grad_q, grad_k, grad_v = _cpu_backward(
            self._rows(grad, key_heads, causal),
            self._rows(q, key_heads, causal),
            self._keys(k, repeats, causal),
            self._keys(v, repeats, causal),
            self._rows(out, key_heads, causal),
            self._rows(lse, key_heads, causal),
            0.0,
            causal,
            attn_mask=self._bias(padding, q, key_heads, causal),
            scale=scale,
        )
        if causal:
            grad_k, grad_v = (x.sum(1).unflatten(0, k.shape[:2]) for x in (grad_k, grad_v))
        return grad_q.reshape(q.shape), grad_k, grad_v


_cuda_forward = torch.ops.aten._flash_attention_forward
_cuda_backward = torch.ops.aten._flash_attention_backward


class CudaFlash:
    """PyTorch's own flash attention with variable lengths (float16 and bfloat16): padding is packed away.

    Packed tensors are [tokens, heads, d] and the log-sum-exp [heads, tokens], with int32 offsets per prompt.
    """

    @staticmethod
    def _pack(x: Tensor, padding: LeftPadding | None) -> Tensor:
        """[B, H, S, d] as [tokens, H, d]."""
        flat = x.transpose(1, 2).flatten(0, 1)
        return _dense(flat) if padding is None else flat[padding.real_R]

    @staticmethod
    def _unpack(x: Tensor, batch: int, padding: LeftPadding | None, length: int) -> Tensor:
        """[tokens, H, ...] as [B, H, S, ...], zero on padding."""
        if padding is not None:
            x = x.new_zeros(batch * length, *x.shape[1:]).index_copy(0, padding.real_R, x)
        return x.unflatten(0, (batch, length)).transpose(1, 2)

    @staticmethod
    def _starts(x: Tensor, padding: LeftPadding | None) -> Tensor:
        if padding is not None:
            return padding.starts_B
        batch, length = x.shape[0], x.shape[2]
        return torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=x.device)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool, padding: LeftPadding | None
    ) -> tuple[Tensor, Tensor]:
        of_queries = padding if causal else None
        out, lse, *_ = _cuda_forward(
            self._pack(q, of_queries),
            self._pack(k, padding),
            self._pack(v, padding),
            self._starts(q, of_queries),
            self._starts(k, padding),
            q.shape[2],
            k.shape[2],
            0.0,
            causal,
            False,
            scale=scale,
        )
        unpacked = (self._unpack(x, q.shape[0], of_queries, q.shape[2]) for x in (out, lse.mT))
        return next(unpacked), next(unpacked)

    def backward(
        self,
        grad: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        out: Tensor,
        lse: Tensor,
        scale: float,
        causal: bool,
        padding: LeftPadding | None,
    ) -> Gradients:
        of_queries = padding if causal else None
        batch = q.shape[0]
        no_dropout = torch.zeros(2, dtype=torch.uint64, device=q.device)
        grad_q, grad_k, grad_v = _cuda_backward(
            self._pack(grad, of_queries),
            self._pack(q, of_queries),
            self._pack(k, padding),
            self._pack(v, padding),
            self._pack(out, of_queries),
            self._pack(lse.unsqueeze(-1), of_queries)[..., 0].mT.contiguous(),
            self._starts(q, of_queries),
            self._starts(k, padding),
            q.shape[2],
            k.shape[2],
            0.0,
            causal,
            no_dropout,
            no_dropout[0],
            scale=scale,
        )
        return (
            self._unpack(grad_q, batch, of_queries, q.shape[2]),
            self._unpack(grad_k, batch, padding, k.shape[2]),
            self._unpack(grad_v, batch, padding, k.shape[2]),
        )
