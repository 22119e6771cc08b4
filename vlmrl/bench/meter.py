"""Counts what a step computes, exactly, and splits its time by phase: forward hooks on tower and language model."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from vlmrl.models.load import Policy

PHASES = ("process", "encode", "prompt", "decode", "score", "update")
"""Processor; vision tower; language model over the prompt; over one more token of every completion; over whole
completions; backward. A side that does not share its prompts has no prompt phase in the update: its score phase runs
over prompt and completion together."""

Mark = float | torch.cuda.Event


class Clock:
    """Process CPU time on a CPU, CUDA events on a GPU: neither counts what other programs do to the processor."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"

    def mark(self) -> Mark:
        if not self.on_gpu:
            return time.process_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, start: Mark, end: Mark) -> float:
        """Time between two marks. Waits for the GPU to have reached the second."""
        if isinstance(start, torch.cuda.Event):
            assert isinstance(end, torch.cuda.Event)
            end.synchronize()
            return start.elapsed_time(end) / 1000
        assert not isinstance(end, torch.cuda.Event)
        return end - start


class Meter:
    """Watches one policy. A side says in which section of the step it is; the hooks see the rest."""

    def __init__(self, policy: Policy) -> None:
        self.clock = Clock(policy.device)
        self._section = "update"
        self.counting = False
        """Whether this step is run to be counted, not timed."""
        self._prompt_tokens = 0
        self._marks: list[tuple[str, Mark]] = []
        self.clear()
        core: Any = cast(Any, policy.model).get_base_model() if policy.has_adapters else policy.model
        decoder = core.get_decoder()
        tower = _tower(core, policy)
        self._handles = [
            tower.register_forward_pre_hook(self._enter_tower, with_kwargs=True),
            tower.register_forward_hook(self._leave),
            decoder.register_forward_pre_hook(self._enter_decoder, with_kwargs=True),
            decoder.register_forward_hook(self._leave),
        ]
        self._image_processor = policy.family.processor.image_processor

    def clear(self) -> None:
        """Forgets what it has counted."""
        self.images_processed = 0
        self.images_encoded = 0
        self.token_rows: Counter[str] = Counter()
        self._marks = []

    def start(self, prompt_tokens: int) -> None:
        """Begins a step. A forward over one row of this many tokens is one over the prompt alone."""
        self.clear()
        self._prompt_tokens = prompt_tokens
        self._switch("update")

    def phases(self) -> dict[str, float]:
        """Ends the step; seconds spent in each phase."""
        self._switch("end")
        seconds: defaultdict[str, float] = defaultdict(float)
        for (phase, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            seconds[phase] += self.clock.seconds(start, end)
        return {phase: seconds[phase] for phase in PHASES}

    def counts(self) -> dict[str, Any]:
        """Pictures through the processor and through the tower, and token rows through the language model by phase."""
        return {
            "images_processed": self.images_processed,
            "images_encoded": self.images_encoded,
            "token_rows": {phase: self.token_rows[phase] for phase in ("prompt", "decode", "score")},
        }

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """What is not tower or language model meanwhile belongs to phase `name`."""
        before, self._section = self._section, name
        self._switch(name)
        try:
            yield
        finally:
            self._section = before
            self._switch(before)

    @contextmanager
    def counted_step(self) -> Iterator[None]:
        """While entered, `counting` is true and pictures given to the image processor are counted too."""
        cls = type(self._image_processor)
        original = cls.preprocess

        def counted(processor: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
            self.images_processed += _picture_count(images)
            return original(processor, images, *args, **kwargs)

        cls.preprocess, self.counting = counted, True
        try:
            yield
        finally:
            cls.preprocess, self.counting = original, False

    def _switch(self, phase: str) -> None:
        if self.clock.on_gpu and torch.cuda.is_current_stream_capturing():
            return  # a timing event cannot be recorded into a graph
        self._marks.append((phase, self.clock.mark()))

    def _enter_tower(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        grids = kwargs.get("grid_thw", args[1] if len(args) > 1 else None)
        pixels = kwargs.get("pixel_values", args[0] if args else None)
        images: Any = pixels if grids is None else grids
        self.images_encoded += len(images)
        self._switch("encode")

    def _enter_decoder(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rows, tokens = kwargs["inputs_embeds"].shape[:2]
        if self._section == "decode":
            # what is longer than a token while sampling is the prompt, shared or repeated
            phase = "decode" if tokens == 1 else "prompt"
        else:
            phase = "prompt" if (rows, tokens) == (1, self._prompt_tokens) else "score"
        self.token_rows[phase] += rows * tokens
        self._switch(phase)

    def _leave(self, *_: Any) -> None:
        self._switch(self._section)


def _tower(core: nn.Module, policy: Policy) -> nn.Module:
    pattern = policy.family.tower_pattern
    return next(module for name, module in core.named_modules() if pattern.search(f"{name}."))


def _picture_count(images: Any) -> int:
    return sum(map(_picture_count, images)) if isinstance(images, list | tuple) else 1
