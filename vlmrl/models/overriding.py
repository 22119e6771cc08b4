"""Giving modules another forward, or other parameters, for a while."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import Tensor, nn


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


@contextmanager
def on_last_tokens(modules: Sequence[nn.Module]) -> Iterator[None]:
    """While entered, modules given rows of tokens [B, S, H] compute the last token alone: their output is [B, 1, H]."""
    before = {module: module.forward for module in modules}
    with overridden_forward(modules, lambda module, x: before[module](x[:, -1:])):
        yield


@contextmanager
def overridden_parameters(model: nn.Module, tensors: Sequence[Tensor]) -> Iterator[None]:
    """While entered, the model computes with these tensors in the place of its `parameters()`, in their order."""
    given = dict(zip(map(id, model.parameters()), tensors, strict=True))
    tables: list[dict[str, Any]] = [module._parameters for module in model.modules()]
    places = [(table, name, own) for table in tables for name, own in table.items() if own is not None]
    for table, name, own in places:  # a tied weight has several places
        table[name] = given[id(own)]
    try:
        yield
    finally:
        for table, name, own in places:
            table[name] = own
