"""Decoding on a CPU without Python: a decoding step is recorded once and replayed.

With few rows a CPU needs longer to walk through a model's modules than for their arithmetic. A step is the same
operations for every token, so it is recorded with `torch.jit.trace` and replayed by torch's interpreter: 1.6 times as
fast at 4 rows of the benchmark's small model (docs/bench.md). PyTorch calls tracing deprecated in favour of compilers;
those need a C++ compiler on the user's machine and longer than short trainings take. Where tracing fails, steps run as
they are.

Weights, keys and values are inputs of the recording, so it holds for every prompt and stays right when the weights
move. What it cannot hold is a choice made in Python. So a step that reads a tensor's values there is never recorded,
and a recording is believed only after its logits were equal, bit for bit, to those of the plain step: in its first
steps, and again for every new number of rows or prompts and every new prompt length.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vlmrl.engine.decoding import DecodeLayout, Step, branch_logits
from vlmrl.engine.thin import THIN_ROWS
from vlmrl.models.load import Policy
from vlmrl.models.overriding import overridden_parameters

PLAIN_STEPS = 48
"""Steps before one is recorded: recording and comparing cost about as much as replaying 100 steps saves."""
COMPARED_STEPS = 16
"""Steps of a recording that are computed both ways before it is believed."""
MOVING_ROTATIONS = ("dynamic", "longrope")
"""Rotary embeddings whose frequencies transformers changes, in Python, as sequences grow."""

Kind = tuple[bool, ...]
"""Whether prompts are padded, groups of unequal size, and rows few enough for `engine.thin`: what a step's Python looks
at, and so what a recording has fixed."""


@dataclass
class Recording:
    """One recorded step."""

    replay: Callable[..., Tensor] | None
    """None if the step cannot be recorded or its recording was unequal once."""
    compared: int = 0
    """Steps whose logits were equal to the plain step's."""
    sizes: set[tuple[str, int]] = field(default_factory=set)
    """Numbers of rows and prompts and prompt lengths for which they were."""


class RecordedSteps:
    """The recordings of one policy's decoding step."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.plain_steps = 0
        self.recordings: dict[Kind, Recording] = {}

    @staticmethod
    def serves(policy: Policy) -> bool:
        """Whether this policy's steps are worth recording and can be."""
        rotation = str(getattr(policy.text_config, "rope_parameters", None))
        return (
            policy.device.type == "cpu"
            and policy.compute_dtype is torch.float32
            and not any(name in rotation for name in MOVING_ROTATIONS)
        )

    @property
    def settled(self) -> bool:
        """Whether steps like those seen so far are no longer recorded or compared."""
        return bool(self.recordings) and all(
            r.replay is None or r.compared >= COMPARED_STEPS for r in self.recordings.values()
        )

    def of(self, layout: DecodeLayout) -> Step:
        """The steps of one decoding."""
        weights = tuple(self.policy.model.parameters())

        def step(token_ids_N: Tensor, position_N: Tensor) -> Tensor:
            inputs = (token_ids_N, position_N, *layout.tensors(), *weights)
            recording = self._recording(layout, inputs)
            if recording is None or recording.replay is None:
                return branch_logits(self.policy, layout, token_ids_N, position_N)
            prompts, length = layout.prompts_shape
            sizes = {("rows", len(token_ids_N)), ("prompts", prompts), ("length", length)}
            if recording.compared >= COMPARED_STEPS and sizes <= recording.sizes:
                return recording.replay(*inputs)
            replayed_NV = None
            with suppress(RuntimeError):  # of a recording that holds for other sizes only
                replayed_NV = recording.replay(*inputs)
            plain_NV = branch_logits(self.policy, layout, token_ids_N, position_N)  # the later keys and values stay
            if replayed_NV is not None and torch.equal(replayed_NV, plain_NV):
                recording.compared += 1
                recording.sizes |= sizes
            else:
                recording.replay = None
            return plain_NV

        return step

    def _recording(self, layout: DecodeLayout, inputs: tuple[Tensor, ...]) -> Recording | None:
        """The recording of steps like this one; None while too few were plain."""
        kind = (layout.padding is not None, layout.seats is not None, len(inputs[0]) <= THIN_ROWS)
        if kind not in self.recordings:
            if self.plain_steps < PLAIN_STEPS:
                self.plain_steps += 1
                return None
            self.recordings[kind] = self._record(layout, inputs)
        return self.recordings[kind]

    def _record(self, layout: DecodeLayout, inputs: tuple[Tensor, ...]) -> Recording:
        held = len(layout.tensors())

        def run(token_ids_N: Tensor, position_N: Tensor, *tensors: Tensor) -> Tensor:
            with overridden_parameters(self.policy.model, tensors[held:]):
                return branch_logits(self.policy, layout.of_tensors(tensors[:held]), token_ids_N, position_N)

        with _ReadValues() as read:
            branch_logits(self.policy, layout, *inputs[:2])
        if read.any:
            return Recording(None)
        with warnings.catch_warnings(), suppress(Exception):  # models may raise whatever they like when traced
            warnings.simplefilter("ignore")  # on the deprecation, and on every shape that Python looks at
            recorded: Any = torch.jit.trace(run, inputs, check_trace=False)  # compared above, step by step
            return Recording(recorded)
        return Recording(None)


class _ReadValues(TorchDispatchMode):
    """While entered, notices whether Python learns a tensor's values, on which its further course may depend."""

    OPERATIONS = (
        torch.ops.aten.item.default,
        torch.ops.aten.is_nonzero.default,
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.aten.equal.default,
    )

    def __init__(self) -> None:
        super().__init__()
        self.any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.any |= func in self.OPERATIONS
        return func(*args, **(kwargs or {}))
