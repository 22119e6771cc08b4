"""Giving modules another forward for a while."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import nn


@contextmanager
def overridden_forward(modules: Sequence[nn.Module], forward: Callable[..., Any]) -> Iterator[None]:
    """While entered, `module(x)` computes `forward(module, x)`. Overrides may be nested."""
    before = [vars(module).get("forward") for module in modules]
    for module in modules:
        module.forward = MethodType(forward, module)
    try:
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            if own is None:
                del module.forward
            else:
                module.forward = own
