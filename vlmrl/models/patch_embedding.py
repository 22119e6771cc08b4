"""The patch embedding of a Qwen-VL tower as one matrix product: same weights, same result, much faster on CPU.

transformers computes it as a 3-d convolution whose kernel is as large as its stride, so every patch is multiplied once
with the whole kernel. PyTorch's CPU convolution does not use that.
"""

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


def use_matrix_product(model: nn.Module) -> None:
    """Replaces the forward of every patch embedding in `model`; names and values of parameters stay as they are."""
    for name, module in model.named_modules():
        if name.endswith("visual.patch_embed"):
            module.forward = MethodType(_matrix_product, module)


def _matrix_product(self: Any, patches_ND: Tensor) -> Tensor:
    kernel = self.proj.weight
    return functional.linear(patches_ND.to(kernel.dtype), kernel.flatten(1), self.proj.bias)
