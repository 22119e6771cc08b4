"""`vlmrl plan`: what training on a user's own pictures will need, before anything is loaded or trained."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from vlmrl.bench.devices import DeviceLimits, device_limits
from vlmrl.bench.limit_model import ModelShape, StepCost, StepShape, step_costs
from vlmrl.bench.memory_model import TrainingMemory, training_memory
from vlmrl.bench.prompt_sizes import PromptSize, prompt_sizes
from vlmrl.bench.random_models import SHAPES, build_config, build_processor
from vlmrl.bench.workload import require_grids
from vlmrl.config import Config, ModelConfig
from vlmrl.models.families import FAMILIES, Family
from vlmrl.models.load import load_shape
from vlmrl.task import Task
from vlmrl.task_mix import only_task
from vlmrl.training.data import load_rows
from vlmrl.types import Sample

SYNTHETIC_ROWS = 256
USABLE_MEMORY = 0.85
"""Share of a device's memory that is planned with; the rest is workspaces and fragmentation."""
USED_OPERATIONS = 0.4
"""Share of the data sheet's operations that large matrix products reach in practice: an assumption."""
USED_BANDWIDTH = 0.7
BUDGET_STEP = 1024
BINS = 8
GB = 10**9


@dataclass(frozen=True)
class StepTime:
    """Seconds of one training step on a device with a data sheet, by phase: a limit, not a measurement."""

    encode: float
    prompt: float
    decode: float
    update: float

    @property
    def total(self) -> float:
        return self.encode + self.prompt + self.decode + self.update


@dataclass(frozen=True)
class Plan:
    """Everything the plan found out."""

    config: Config
    device: DeviceLimits
    shape: ModelShape
    sizes: list[PromptSize]
    memory: TrainingMemory
    step_operations: float
    trl_ratio: float
    step_time: StepTime | None
    max_pixels: int | None
    """Proposed pixel limit per picture; None if the largest prompt fits as it is."""
    max_tokens_per_pass: int | None
    """Proposed token budget; None if the model with its optimiser does not fit at all."""

    @property
    def tokens(self) -> list[int]:
        return sorted(size.tokens for size in self.sizes)

    @property
    def completion_tokens(self) -> int:
        return self.config.rollout.group_size * self.config.rollout.max_completion_tokens

    @property
    def largest(self) -> PromptSize:
        return max(self.sizes, key=lambda size: size.tokens)

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "model": self.config.model.path,
            "device": asdict(self.device),
            "rows": len(self.sizes),
            "prompt_tokens": {
                "min": self.tokens[0],
                "median": statistics.median(self.tokens),
                "p95": percentile(self.tokens, 0.95),
                "max": self.tokens[-1],
            },
            "histogram": [{"from": low, "to": high, "rows": rows} for low, high, rows in histogram(self.tokens)],
            "memory": asdict(self.memory),
            "largest_group_memory": self.memory.of_pass(self.tokens[-1], self.completion_tokens),
            "step_operations": self.step_operations,
            "trl_ratio": self.trl_ratio,
            "step_seconds": asdict(self.step_time) if self.step_time else None,
            "max_pixels": self.max_pixels,
            "max_tokens_per_pass": self.max_tokens_per_pass,
        }


def make_plan(config: Config, device_name: str) -> Plan:
    """Looks at the rows' picture headers and the model's configuration. Raises UserError for what cannot be read."""
    device = device_limits(device_name)
    model, family = _shape_of(config.model)
    require_grids(family)
    task = only_task(config, "plan").task
    samples = _samples(config, task)
    shape = ModelShape.of(model, family)
    sizes = prompt_sizes(family, task, samples)
    on_gpu = device.operations is not None
    reduced = config.model.dtype == "bfloat16" or (config.model.dtype == "auto" and on_gpu)
    compute_bytes = 2 if reduced else 4
    memory = training_memory(model, shape, family, config.model, compute_bytes)
    text = model.config.get_text_config(decoder=True)
    context = getattr(text, "max_position_embeddings", None) or 1 << 30
    budget = _token_budget(config, memory, device, sizes)
    costs = _typical_costs(config, shape, sizes)
    return Plan(
        config=config,
        device=device,
        shape=shape,
        sizes=sizes,
        memory=memory,
        step_operations=costs["ideal"].total * config.rollout.prompts_per_step,
        trl_ratio=costs["trl"].total / costs["ideal"].total,
        step_time=_step_time(config, shape, device, costs["ideal"], sizes, compute_bytes),
        max_pixels=_pixel_limit(config, family, sizes, budget, context),
        max_tokens_per_pass=budget,
    )


def with_pixel_limit(plan: Plan) -> list[PromptSize]:
    """Sizes of the same rows under the proposed pixel limit."""
    limited = replace(plan.config.model, max_pixels=plan.max_pixels)
    task = only_task(plan.config, "plan").task
    _, family = _shape_of(limited)
    return prompt_sizes(family, task, _samples(plan.config, task))


def percentile(ordered: Sequence[int], share: float) -> int:
    """The smallest value with at least `share` of the values at or below it."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def histogram(ordered: Sequence[int]) -> list[tuple[int, int, int]]:
    """(from, to, rows) of equal bins over the values; the last bin includes its end."""
    low, high = ordered[0], ordered[-1]
    width = max(1, -(-(high - low + 1) // BINS))
    edges = range(low, high + 1, width)
    return [(edge, edge + width - 1, sum(edge <= value < edge + width for value in ordered)) for edge in edges]


def _shape_of(config: ModelConfig) -> tuple[Any, Family]:
    if config.path not in SHAPES:
        return load_shape(config)
    processor = build_processor(SHAPES[config.path])
    for side, pixels in (("shortest_edge", config.min_pixels), ("longest_edge", config.max_pixels)):
        if pixels is not None:
            processor.image_processor.size[side] = pixels
    model_config = build_config(SHAPES[config.path], processor.tokenizer)
    with torch.device("meta"):
        return Qwen2_5_VLForConditionalGeneration(model_config), FAMILIES[model_config.model_type](processor)


def _samples(config: Config, task: Task) -> Sequence[Sample]:
    if config.data.train is None:
        return task.synthetic("train", SYNTHETIC_ROWS, config.run.seed)
    rows = load_rows(task, config.data.train, config.data.download)
    return rows[: config.data.max_rows] if config.data.max_rows else rows


def _token_budget(
    config: Config, memory: TrainingMemory, device: DeviceLimits, sizes: Sequence[PromptSize]
) -> int | None:
    """Token rows of one pass that fit the device, but no more than the whole step has."""
    rollout = config.rollout
    longest = max(size.tokens for size in sizes)
    completions = rollout.group_size * rollout.max_completion_tokens
    free = USABLE_MEMORY * device.memory - memory.held
    # rows of a pass in the proportion of the longest prompt and its completions
    share = completions / (longest + completions)
    rows = free / (memory.per_token_row + share * memory.per_completion_token)
    whole_step = rollout.prompts_per_step * (longest + completions)
    budget = int(min(rows, -(-whole_step // BUDGET_STEP) * BUDGET_STEP)) // BUDGET_STEP * BUDGET_STEP
    return budget if budget > 0 else None


def _pixel_limit(
    config: Config, family: Family, sizes: Sequence[PromptSize], budget: int | None, context: int
) -> int | None:
    """The largest limit under which every prompt fits context and budget with its group.

    None if all do already, or if nothing fits.
    """
    image = family.processor.image_processor
    if budget is None:
        return None
    rollout = config.rollout
    room = min(context - rollout.max_completion_tokens, budget - rollout.group_size * rollout.max_completion_tokens)
    over = [size for size in sizes if size.tokens > room and size.pictures]
    if not over:
        return None
    per_picture = min((room - size.text_tokens) // len(size.pictures) for size in over)
    return max(0, per_picture) * (image.patch_size * image.merge_size) ** 2 or None


def _typical_costs(config: Config, shape: ModelShape, sizes: Sequence[PromptSize]) -> dict[str, StepCost]:
    return step_costs(
        shape,
        StepShape(
            P=round(statistics.mean(size.tokens for size in sizes)),
            C=config.rollout.max_completion_tokens,
            G=config.rollout.group_size,
            patches=round(statistics.mean(size.patches for size in sizes)),
            image_tokens=round(statistics.mean(size.image_tokens for size in sizes)),
            lora=config.model.lora.rank > 0,
            checkpointing=config.model.gradient_checkpointing,
            train_tower=config.model.lora.rank == 0 and config.model.train_tower is not False,
        ),
    )


def _step_time(
    config: Config,
    shape: ModelShape,
    device: DeviceLimits,
    cost: StepCost,
    sizes: Sequence[PromptSize],
    compute_bytes: int,
) -> StepTime | None:
    if device.operations is None or device.bandwidth is None:
        return None
    rollout = config.rollout
    speed, bandwidth = USED_OPERATIONS * device.operations, USED_BANDWIDTH * device.bandwidth
    prompts, tokens = rollout.prompts_per_step, statistics.mean(size.tokens for size in sizes)
    # every decoding turn reads the weights once and the keys and values of all prompts and their completions so far
    held = prompts * (tokens + rollout.group_size * rollout.max_completion_tokens / 2)
    key_values = compute_bytes * 2 * shape.layers * shape.key_value * held
    weights = compute_bytes * (shape.layer_weights + shape.head_weights)
    reading = rollout.max_completion_tokens * (weights + key_values) / bandwidth
    return StepTime(
        encode=prompts * cost.encode / speed,
        prompt=prompts * cost.prompt / speed,
        decode=max(reading, prompts * cost.decode / speed),
        update=prompts * cost.update / speed,
    )
