"""Patch embeddings computed as matrix products: the same numbers and gradients as the convolution's."""

import pytest
import torch
from torch import Tensor, nn

from vlmrl.models.patches import patches_as_products


def outcome(convolution: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    convolution.zero_grad()
    x = x.detach().requires_grad_()
    y = convolution(x)
    (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
    assert x.grad is not None
    return y, [x.grad, *(p.grad for p in convolution.parameters() if p.grad is not None)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (lambda bias: nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4), bias=bias), (5, 3, 2, 4, 4)),
        (lambda bias: nn.Conv2d(3, 8, 4, stride=4, bias=bias), (5, 3, 4, 4)),
        (lambda bias: nn.Conv2d(3, 8, 4, stride=4, bias=bias), (2, 3, 12, 8)),  # whole pictures stay a convolution
    ],
)
def test_products_equal_convolutions(convolution, shape, bias: bool) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    module, x = convolution(bias).double(), torch.randn(shape, dtype=torch.float64)
    plain, plain_gradients = outcome(module, x)
    with patches_as_products(module):
        product, gradients = outcome(module, x)
    torch.testing.assert_close(product, plain)
    for ours, theirs in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert "forward" not in vars(module)


def test_other_convolutions_are_left_alone() -> None:
    padded, grouped = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, groups=2)
    x = torch.randn(1, 4, 3, 3)
    before = padded(x), grouped(x)
    with patches_as_products(nn.ModuleList([padded, grouped])):
        after = padded(x), grouped(x)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b)
