"""Attention to a shared prompt equals attention over the concatenated keys, outputs and gradients."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vlmrl.engine import kernels
from vlmrl.engine.attention import BranchAttention, PromptAttention, merge
from vlmrl.engine.kernels import CpuFlash, CudaFlash, Kernel, LeftPadding, Reference


def masked_softmax_attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float) -> Tensor:
    """The textbook formula; key heads repeated, `visible` [B, 1, S, T]."""
    repeats = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(repeats, 1).mT * scale
    return scores.masked_fill(~visible, -1e30).softmax(-1) @ v.repeat_interleave(repeats, 1)


def prompt_mask(lengths: list[int]) -> Tensor:
    longest = max(lengths)
    return torch.tensor([[0] * (longest - n) + [1] * n for n in lengths])


def tensors(*shapes: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def assert_same(
    ours: Callable[..., Tensor], oracle: Callable[..., Tensor], inputs: list[Tensor], tolerance: float
) -> None:
    results = []
    for function in (ours, oracle):
        out = function(*inputs)
        weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        results.append([out, *torch.autograd.grad((out * weights.to(out.dtype)).sum(), inputs)])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, atol=tolerance, rtol=tolerance), (a - b).abs().max()


def packed_attention(q: Tensor, k: Tensor, starts_q: Tensor, starts_k: Tensor, scale: float, causal: bool) -> Tensor:
    """Scores [H, tokens, tokens] of packed sequences, -inf between sequences."""
    of = [torch.bucketize(torch.arange(len(x)), s[1:], right=True) for x, s in ((q, starts_q), (k, starts_k))]
    at = [torch.arange(len(x)) - s[i] for x, s, i in zip((q, k), (starts_q, starts_k), of, strict=True)]
    visible = of[0][:, None] == of[1]
    if causal:
        visible = visible & (at[0][:, None] >= at[1])
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    return (torch.einsum("shd,thd->hst", q, keys) * scale).masked_fill(~visible, -torch.inf)


@pytest.fixture
def emulated_cuda(monkeypatch: pytest.MonkeyPatch) -> CudaFlash:
    """The CUDA kernel with PyTorch's variable-length operators replaced by their definition."""

    def forward(q, k, v, starts_q, starts_k, max_q, max_k, dropout, causal, debug, *, scale):
        assert starts_q.dtype == starts_k.dtype == torch.int32
        assert max_q >= starts_q.diff().max()
        scores = packed_attention(q, k, starts_q, starts_k, scale, causal)
        values = v.repeat_interleave(q.shape[1] // v.shape[1], 1)
        return torch.einsum("hst,thd->shd", scores.softmax(-1), values), scores.logsumexp(-1), None, None, None

    def backward(grad, q, k, v, out, lse, starts_q, starts_k, max_q, max_k, dropout, causal, seed, offset, *, scale):
        assert lse.shape == (q.shape[1], len(q))
        repeats = q.shape[1] // k.shape[1]
        keys, values = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        weights = (packed_attention(q, k, starts_q, starts_k, scale, causal) - lse[..., None]).exp()
        change = torch.einsum("shd,thd->hst", grad, values) - (grad * out).sum(-1).mT[..., None]
        scores = weights * change * scale
        grads = [torch.einsum("hst,shd->thd", x, y) for x, y in ((scores, q), (weights, grad))]
        grad_k, grad_v = (x.unflatten(1, (-1, repeats)).sum(2) for x in grads)
        return torch.einsum("hst,thd->shd", scores, keys), grad_k, grad_v

    monkeypatch.setattr(kernels, "_cuda_forward", forward)
    monkeypatch.setattr(kernels, "_cuda_backward", backward)
    return CudaFlash()


def check_causal(kernel: Kernel, lengths: list[int], key_heads: int, repeats: int, width: int, seed: int) -> None:
    mask_BP = prompt_mask(lengths)
    size, longest = mask_BP.shape
    q, k, v = tensors(
        (size, key_heads * repeats, longest, width), *[(size, key_heads, longest, width)] * 2, seed=seed
    )  # fmt: skip
    real_B1P1 = mask_BP.bool()[:, None, :, None]
    visible = torch.ones(longest, longest, dtype=torch.bool).tril() & mask_BP.bool()[:, None, None]
    ours = lambda q, k, v: PromptAttention.apply(q, k, v, 0.3, True, LeftPadding.of(mask_BP), kernel) * real_B1P1  # noqa: E731
    oracle = lambda q, k, v: masked_softmax_attention(q, k, v, visible, 0.3) * real_B1P1  # noqa: E731
    assert_same(ours, oracle, [q, k, v], 2e-5)


def check_branches(
    kernel: Kernel, lengths: list[int], group: int, tokens: int, key_heads: int, repeats: int, width: int, seed: int
) -> None:
    mask_BP = prompt_mask(lengths)
    size, longest = mask_BP.shape
    rows, heads = size * group, key_heads * repeats
    inputs = tensors(
        (rows, heads, tokens, width),
        *[(rows, key_heads, tokens, width)] * 2,
        *[(size, key_heads, longest, width)] * 2,
        seed=seed,
    )
    visible_prompt = mask_BP.bool().repeat_interleave(group, 0)[:, None, None].expand(-1, -1, tokens, -1)
    visible_own = torch.ones(tokens, tokens, dtype=torch.bool).tril().expand(rows, 1, -1, -1)

    def oracle(q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor) -> Tensor:
        keys = torch.cat([prompt_k.repeat_interleave(group, 0), k], 2)
        values = torch.cat([prompt_v.repeat_interleave(group, 0), v], 2)
        return masked_softmax_attention(q, keys, values, torch.cat([visible_prompt, visible_own], -1), 0.3)

    assert_same(lambda *x: BranchAttention.apply(*x, 0.3, LeftPadding.of(mask_BP), kernel), oracle, inputs, 2e-5)


SIZES = {
    "lengths": st.lists(st.integers(1, 40), min_size=1, max_size=3),
    "key_heads": st.integers(1, 3),
    "repeats": st.integers(1, 3),
    "width": st.sampled_from([4, 8, 20]),
    "seed": st.integers(0, 99),
}


@settings(max_examples=40, deadline=None)
@given(kernel=st.sampled_from([CpuFlash(), Reference()]), **SIZES)
def test_prompt_attention(kernel: Kernel, **sizes: int) -> None:
    check_causal(kernel, **sizes)


@settings(max_examples=60, deadline=None)
@given(kernel=st.sampled_from([CpuFlash(), Reference()]), group=st.integers(1, 4), tokens=st.integers(1, 9), **SIZES)
def test_branches_attend_to_prompt_and_own_tokens(kernel: Kernel, **sizes: int) -> None:
    check_branches(kernel, **sizes)


@pytest.mark.parametrize("lengths", [[7, 7], [5, 9, 2]])
def test_packing_for_cuda(emulated_cuda: CudaFlash, lengths: list[int]) -> None:
    check_causal(emulated_cuda, lengths, key_heads=2, repeats=3, width=8, seed=0)
    check_branches(emulated_cuda, lengths, group=3, tokens=4, key_heads=2, repeats=3, width=8, seed=0)


@settings(max_examples=40, deadline=None)
@given(
    left=st.integers(1, 20), right=st.integers(1, 20), shift=st.floats(-60, 60), seed=st.integers(0, 99),
)  # fmt: skip
def test_merging_is_softmax_over_both(left: int, right: int, shift: float, seed: int) -> None:
    scores, values = tensors((3, left + right), (left + right, 5), seed=seed, dtype=torch.float64)
    scores = torch.cat([scores[:, :left] + shift, scores[:, left:]], 1)
    parts = (slice(0, left), slice(left, None))
    outs = [scores[:, part].softmax(-1) @ values[part] for part in parts]
    lses = [scores[:, part].logsumexp(-1) for part in parts]
    assert torch.allclose(merge(outs[0], lses[0], outs[1], lses[1]), scores.softmax(-1) @ values, atol=1e-12)


@pytest.mark.parametrize("kernel", [Reference(), CpuFlash()], ids=["reference", "flash"])
@pytest.mark.parametrize("lengths", [[4], [3, 5]])
def test_gradients_in_double_precision(kernel: Kernel, lengths: list[int]) -> None:
    mask_BP = prompt_mask(lengths)
    size, longest = mask_BP.shape
    padding = LeftPadding.of(mask_BP)
    q, k, v, prompt_k, prompt_v = tensors(
        (2 * size, 4, 3, 4), *[(2 * size, 2, 3, 4)] * 2, *[(size, 2, longest, 4)] * 2, seed=1, dtype=torch.float64
    )
    branches = lambda *x: BranchAttention.apply(*x, 0.5, padding, kernel)  # noqa: E731
    assert torch.autograd.gradcheck(branches, (q, k, v, prompt_k, prompt_v))
    q, k, v = tensors((size, 4, longest, 4), *[(size, 2, longest, 4)] * 2, seed=2, dtype=torch.float64)
    real = mask_BP.bool()[:, None, :, None]
    causal = lambda *x: PromptAttention.apply(*x, 0.5, True, padding, kernel) * real  # noqa: E731
    assert torch.autograd.gradcheck(causal, (q, k, v))


def test_any_memory_layout_is_read_right() -> None:
    q, k, v, prompt_k, prompt_v = tensors((4, 4, 3, 8), *[(4, 2, 3, 8)] * 2, *[(2, 2, 5, 8)] * 2, seed=3)
    transposed = [x.detach().mT.contiguous().mT.requires_grad_() for x in (q, k, v, prompt_k, prompt_v)]
    results = []
    for kernel, inputs in ((Reference(), (q, k, v, prompt_k, prompt_v)), (CpuFlash(), transposed)):
        out = BranchAttention.apply(*inputs, 0.3, None, kernel)
        results.append([out, *torch.autograd.grad(out.sum(), inputs)])  # the gradient of a sum has no strides at all
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
