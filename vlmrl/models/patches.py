"""Patch embeddings as matrix products.

Vision towers of the Qwen-VL kind embed each patch by a convolution whose kernel covers it whole. That is one matrix
product, which convolution routines compute six times slower (float32, PyTorch 2.13, one core of an Intel Xeon).
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor, nn
from torch.nn import functional

from vlmrl.models.overriding import overridden_forward


def patches_as_products(model: nn.Module) -> AbstractContextManager[None]:
    """While entered, convolutions that are given inputs of their kernel's size run as matrix products."""
    convolutions = [module for module in model.modules() if type(module) in (nn.Conv2d, nn.Conv3d)]
    return overridden_forward(convolutions, _forward)


def _forward(self: nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    whole = x.shape[2:] == self.kernel_size and self.groups == 1 and not any(self.padding) and set(self.dilation) == {1}
    if not whole:
        plain: Callable[..., Tensor] = type(self).forward
        return plain(self, x)
    product_ND = functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)
    return product_ND.view(*product_ND.shape, *[1] * len(self.kernel_size))
