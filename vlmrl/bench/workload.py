"""What every side of a benchmark computes: one model, one prompt of exactly P tokens, fixed advantages."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlmrl.bench.random_models import SHAPES, build_config, build_model, build_processor
from vlmrl.config import LoraConfig, ModelConfig
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Point, Size, Unit
from vlmrl.models.families import FAMILIES, Family
from vlmrl.models.load import Policy, compute_dtype, load_policy, prepare_policy
from vlmrl.types import Prompt, Sample

REQUEST = "Where?"
GRID = "image_grid_thw"
FILLERS = ("a", " a", " the", ".")
"""Pieces of which a tokenizer makes one token each, however many follow one another."""
TEXT_TOKENS = 30
"""Roughly how much of a prompt is padding text; the rest of what the template leaves is image."""


@dataclass(frozen=True)
class Setting:
    """Sizes of one step of one prompt."""

    P: int
    """Prompt tokens, image placeholders included."""
    C: int
    """Tokens of every completion."""
    G: int
    """Completions of the prompt."""

    def __str__(self) -> str:
        return f"({self.P}, {self.C}, {self.G})"

    @property
    def gains_nothing(self) -> bool:
        """Whether the completions outweigh the prompt so far that sharing it cannot pay: G(P+C) / (P+GC) below 1.6."""
        return self.G * (self.P + self.C) < 1.6 * (self.P + self.G * self.C)


DEFAULT_SETTINGS = (
    Setting(256, 16, 4),
    Setting(1000, 32, 8),
    Setting(2000, 64, 8),
    Setting(1000, 256, 8),
    Setting(64, 256, 4),
)
"""From short answers about large images to a long answer about a small one, where nothing is to be gained."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model is measured, and how it is trained."""

    name: str
    """A name of SHAPES, `tiny`, a checkpoint folder or a hub id."""
    device: str
    """A torch device."""
    dtype: str
    """float32 or bfloat16: precision of matrix products; trained weights are float32 either way."""
    lora: bool
    """Train LoRA adapters of rank 16 instead of the language model's weights."""
    checkpointing: bool
    """Recompute activations in the backward pass."""


def bench_policy(choice: ModelChoice) -> Policy:
    """The policy with a frozen tower, from which no side can draw a token that would end a completion early."""
    if choice.dtype not in ("float32", "bfloat16"):
        raise UserError(f"--dtype {choice.dtype}: float32 or bfloat16")
    device = torch.device(choice.device)
    frozen = None if choice.lora else False
    config = ModelConfig(
        path=choice.name,
        dtype="float32" if choice.dtype == "float32" else "bfloat16",
        train_tower=frozen,
        train_merger=frozen,
        lora=LoraConfig(rank=16 if choice.lora else 0),
        gradient_checkpointing=choice.checkpointing,
    )
    if choice.name in SHAPES:
        processor = build_processor(SHAPES[choice.name])
        model_config = build_config(SHAPES[choice.name], processor.tokenizer)
        weights = compute_dtype(config, device) if choice.lora else torch.float32
        model = build_model(model_config, device, weights)
        family = FAMILIES[model_config.model_type](processor)
        policy = prepare_policy(model, family, choice.name, config, device, trainable=True)
    elif choice.name.startswith(("random:", "tiny-")):
        raise UserError(f"--model {choice.name}: no such size; there are {', '.join(SHAPES)}")
    else:
        policy = load_policy(config, device, trainable=True)
    require_grids(policy.family)
    policy.banned_V[policy.stop_ids] = True
    return policy


def require_grids(family: Family) -> None:
    """Raises UserError for a family whose tower's work cannot be told from the grid of patches of each picture."""
    if GRID not in family.vision_inputs:
        raise UserError(
            f"models of type {family.model_types[0]} cannot be measured or planned for yet: only those whose processor "
            "gives a grid of patches for each picture (the Qwen-VL families)"
        )


@dataclass(frozen=True)
class Workload:
    """One prompt before the processor has seen it, and what the loss needs."""

    setting: Setting
    sample: Sample
    request: str

    @property
    def rewards(self) -> list[float]:
        """Fixed rewards, half of them above the mean."""
        return [float(2 * member >= self.setting.G) for member in range(self.setting.G)]

    @property
    def advantages(self) -> Tensor:
        """The rewards centred and divided by their standard deviation, as GRPOTrainer does it."""
        rewards_G = torch.tensor(self.rewards)
        return (rewards_G - rewards_G.mean()) / (rewards_G.std() + 1e-4)

    def encode(self, policy: Policy) -> Prompt:
        """One call of the processor."""
        return policy.family.encode(self.sample, self.request)


def make_workload(policy: Policy, setting: Setting, seed: int = 0) -> Workload:
    """A noise picture and a text that come to exactly P tokens. Raises UserError if the model cannot have that."""
    context = getattr(policy.model.config.get_text_config(decoder=True), "max_position_embeddings", math.inf)
    if setting.P + setting.C > context:
        raise UserError(f"setting {setting}: the model's context is {context} tokens; lower P or C")
    template = _tokens(policy, _workload(setting, 1, REQUEST, seed, policy))
    workload = _workload(setting, max(1, setting.P - template - TEXT_TOKENS), REQUEST, seed, policy)
    missing = setting.P - _tokens(policy, workload)
    if missing < 0:
        raise UserError(
            f"setting {setting}: the shortest prompt of this model is {setting.P - missing} tokens; raise P"
        )
    for filler in FILLERS:
        filled = Workload(setting, workload.sample, REQUEST + filler * missing)
        if _tokens(policy, filled) == setting.P:
            return filled
    raise UserError(f"setting {setting}: no text makes this tokenizer's prompt exactly {setting.P} tokens; change P")


def _tokens(policy: Policy, workload: Workload) -> int:
    return len(workload.encode(policy).token_ids_P)


def _workload(setting: Setting, image_tokens: int, request: str, seed: int, policy: Policy) -> Workload:
    processor = policy.family.processor.image_processor
    side = processor.patch_size * processor.merge_size
    columns = max(1, math.isqrt(image_tokens))
    size = Size(columns * side, max(1, image_tokens // columns) * side)
    noise = np.random.default_rng(seed).integers(0, 255, (size.height, size.width, 3), dtype=np.uint8)
    record = ImageRecord(0, size)
    gold = Point(0.5, 0.5, record.frame(Unit.NORM1))
    return Workload(setting, Sample("bench", (Image.fromarray(noise),), (record,), request, gold), request)
