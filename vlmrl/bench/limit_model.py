"""Floating-point operations of one GRPO step, counted from layer shapes: what sharing a prompt can gain at most.

    ideal   tower + (P + GC)-forward's backward and forward, the prompt's forward shared by rollout and update, of its
            last layer the keys and values alone
    loop    G times tower and prompt in the rollout, G times tower and P + C in the update

Matrix products, attention and output head are counted; norms, activations and sampling are not. Published layer
shapes and P, C, G are all it needs, so it holds for models that are never loaded.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from vlmrl.models.families import Family, Part

BACKWARD_FULL, BACKWARD_LORA = 2.0, 1.0
"""Backward in units of the forward: with LoRA the frozen weights need no gradient."""


@dataclass(frozen=True)
class ModelShape:
    """What the cost of a model depends on."""

    layers: int
    hidden: int
    query: int
    """Width of all query heads together."""
    key_value: int
    """Width of all key heads together."""
    intermediate: int
    layer_weights: int
    """Matrix entries of all decoder layers."""
    head_weights: int
    """Matrix entries of the output head: hidden x vocabulary."""
    vocabulary: int
    tower_weights: int
    """Matrix entries a patch passes through."""
    merger_weights: int
    """Matrix entries between tower and language model; each merged token passes through them."""
    tower_layers: int
    tower_full_layers: int
    """Tower layers whose patches attend to the whole picture."""
    tower_window: int
    """Patches in a window of the other tower layers."""
    tower_hidden: int

    @classmethod
    def of(cls, model: nn.Module, family: Family) -> "ModelShape":
        """Reads names and sizes of a model's parameters; the model may be on the meta device."""
        config: Any = model.config
        text, vision = config.get_text_config(decoder=True), config.vision_config
        matrices = [(n, p) for n, p in model.named_parameters() if p.dim() > 1 and "lora_" not in n]
        parts = {part: [(n, p.numel()) for n, p in matrices if family.part_of(n) is part] for part in Part}
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        tower_layers = getattr(vision, "depth", None) or vision.num_hidden_layers
        full = getattr(vision, "fullatt_block_indexes", None)
        patch = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
        return cls(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            query=text.num_attention_heads * head_dim,
            key_value=text.num_key_value_heads * head_dim,
            intermediate=text.intermediate_size,
            layer_weights=sum(count for name, count in parts[Part.LANGUAGE] if ".layers." in name),
            head_weights=text.hidden_size * text.vocab_size,
            vocabulary=text.vocab_size,
            # tables of positions are looked up, not multiplied
            tower_weights=sum(count for name, count in parts[Part.TOWER] if "pos_embed" not in name),
            merger_weights=sum(count for _, count in parts[Part.MERGER]),
            tower_layers=tower_layers,
            tower_full_layers=tower_layers if full is None else len(full),
            tower_window=(getattr(vision, "window_size", patch) // patch) ** 2,
            tower_hidden=getattr(vision, "embed_dim", None) or vision.hidden_size,
        )

    def layers_forward(self, tokens: float, context: float) -> float:
        """Operations of the decoder layers over `tokens` tokens that attend to `context` pairs in total."""
        return 2 * self.layer_weights * tokens + 4 * self.layers * self.query * context

    def prompt_forward(self, tokens: float) -> float:
        """Operations over a prompt of which every layer's keys and values are needed, and no more."""
        above = (self.layers - 1) / self.layers
        return above * self.layers_forward(tokens, tokens * tokens / 2) + 4 * self.hidden * self.key_value * tokens

    def head_forward(self, tokens: float) -> float:
        return 2 * self.head_weights * tokens

    def tower_forward(self, patches: int, image_tokens: int) -> float:
        """Operations of tower and merger over one picture."""
        windowed = (self.tower_layers - self.tower_full_layers) * self.tower_window
        attended = patches * (self.tower_full_layers * patches + windowed)
        weights = 2 * self.tower_weights * patches + 2 * self.merger_weights * image_tokens
        return weights + 4 * self.tower_hidden * attended


@dataclass(frozen=True)
class StepShape:
    """Sizes of one step and how it is trained."""

    P: int
    C: int
    G: int
    patches: int
    """Tower patches of the prompt's picture."""
    image_tokens: int
    lora: bool
    checkpointing: bool
    train_tower: bool = False
    trl_scores_prompt: bool = False
    """GRPOTrainer's fused head leaves prompt positions out on a GPU with Triton only."""


@dataclass(frozen=True)
class StepCost:
    """Operations of one step of one prompt by phase."""

    encode: float
    prompt: float
    decode: float
    update: float

    @property
    def total(self) -> float:
        return self.encode + self.prompt + self.decode + self.update


def step_costs(model: ModelShape, step: StepShape) -> dict[str, StepCost]:
    """Cost of the ideal step and of the peers, by name."""
    P, C, G = step.P, step.C, step.G
    tower = model.tower_forward(step.patches, step.image_tokens)
    prompt, shared_prompt = model.layers_forward(P, P * P / 2), model.prompt_forward(P)
    completions = model.layers_forward(G * C, G * (C * P + C * C / 2))
    head = model.head_forward(G * C)
    backward = (BACKWARD_LORA if step.lora else BACKWARD_FULL) + step.checkpointing
    tower_backward = (2 + step.checkpointing) * step.train_tower
    full_rows = G * prompt + completions
    head_update = 3 * head
    trl_tower_backward = float(tower_backward)
    if step.lora and step.checkpointing and not step.train_tower:
        # GRPOTrainer's enable_input_require_grads hooks the tower's embedding too: recomputed and back-propagated
        trl_tower_backward = 2.0
    trl_head = 3 * model.head_forward(G * (P + C)) if step.trl_scores_prompt else head_update
    return {
        "ideal": StepCost(
            tower,
            shared_prompt,
            completions + head,
            completions + backward * (shared_prompt + completions) + head_update + tower_backward * tower,
        ),
        "loop-once": StepCost(
            2 * tower, G * prompt, completions + head, (1 + backward) * full_rows + head_update + tower_backward * tower
        ),
        "loop": StepCost(
            2 * G * tower,
            G * prompt,
            completions + head,
            (1 + backward) * full_rows + head_update + G * tower_backward * tower,
        ),
        "trl": StepCost(
            2 * G * tower,
            G * prompt,
            completions + head,
            (1 + backward) * full_rows + trl_head + G * trl_tower_backward * tower,
        ),
    }
