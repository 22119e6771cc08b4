"""Decoding on a CPU: linear layers on a handful of rows.

BLAS libraries are slow where a product has few rows and a large transposed factor, as `x @ weight.T` has while
decoding. `weight @ x.T` is the same product and faster if the layer has at least as many outputs as inputs: 1.6 times
at 4 rows, 1.3 times at 8, as fast at 16 (float32, PyTorch 2.13, one core of an AMD EPYC). On Intel's own processors
their library has the better routine: there `weight @ x.T` takes 1.2 times as long at 4 rows and as long at 8.
"""

from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlmrl.models.overriding import overridden_forward

THIN_ROWS = 12
CPU_FACTS = Path("/proc/cpuinfo")


@cache
def _blas_knows_few_rows() -> bool:
    """Whether this is a processor of Intel's, as far as the system tells: never a matter of timing, so that a run
    computes the same when it is repeated."""
    return CPU_FACTS.is_file() and "GenuineIntel" in CPU_FACTS.read_text()


def thin_linear_layers(model: nn.Module) -> AbstractContextManager[None]:
    """While entered, the float32 linear layers of a model on a CPU run fast on few rows."""
    layers = [
        module
        for module in model.modules()
        if not _blas_knows_few_rows()
        and type(module) is nn.Linear
        and module.out_features >= module.in_features
        and module.weight.device.type == "cpu"
        and module.weight.dtype is torch.float32
    ]
    return overridden_forward(layers, _forward)


def _forward(self: nn.Linear, x: Tensor) -> Tensor:
    rows = x.numel() // self.in_features
    if rows > THIN_ROWS or x.dtype is not torch.float32 or torch.is_autocast_enabled("cpu"):
        return functional.linear(x, self.weight, self.bias)
    product_OR = self.weight @ x.reshape(rows, -1).mT
    if self.bias is not None:
        product_OR = product_OR + self.bias[:, None]
    return product_OR.mT.contiguous().view(*x.shape[:-1], -1)
