"""Every setting of a run: one dataclass per room, one docstring per field.

The docstring under a field is its documentation: ``vlmrl train --help-config`` prints it. Values come from these
defaults, then a YAML file, then ``key=value`` words, then flags; `vlmrl.resolve` does that and names the source of a
bad value. This module imports nothing heavy, so a misspelt setting is reported before torch is loaded.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class OneOfSeveralConfig:
    """What is set for one task of a run that trains several."""

    ratio: float = 1.0
    """This task's share of the prompts, relative to the other tasks' ratios."""
    train: str | None = None
    """The task's training rows, as data.train is for a run of one task; null draws them."""
    held_out: str | None = None
    """The task's held-out rows, as data.held_out is for a run of one task."""
    options: dict[str, Any] = field(default_factory=dict)
    """As task.options is for a run of one task."""
    weights: dict[str, float] = field(default_factory=dict)
    """As task.weights is for a run of one task."""
    scale: Literal["group", "batch", "beta", "none"] | None = None
    """What this task's centred rewards are divided by; null takes algorithm.advantage.scale."""


@dataclass
class TaskConfig:
    name: str = "gui_grounding"
    """Name of the task folder (see `vlmrl tasks`), or several with commas: grounding,video_temporal trains them all."""
    options: dict[str, Any] = field(default_factory=dict)
    """The task's own settings, e.g. task.options.answer=box; each task documents its own."""
    weights: dict[str, float] = field(default_factory=dict)
    """Reward weights that replace the ones the task declares, e.g. task.weights.format=0. Names must exist."""
    each: dict[str, OneOfSeveralConfig] = field(default_factory=dict)
    """Several tasks: what is set for each of them instead of task.options, task.weights, data.train and data.held_out.
    data.held_out_rows and data.max_rows hold for each task."""


@dataclass
class LoraConfig:
    rank: int = 0
    """Rank of the LoRA adapters on the language model's linear layers; 0 trains the weights themselves."""
    alpha: int = 32
    """LoRA scaling numerator: adapters are scaled by alpha / rank."""


@dataclass
class ModelConfig:
    path: str = "tiny"
    """`tiny` (the embedded model), a checkpoint folder, a run folder (its newest checkpoint), or a hub id."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Weights' precision while training: auto is bfloat16 on a GPU and float32 on a CPU."""
    train_tower: bool | None = None
    """Train the vision tower; null trains it, unless LoRA is on, which adapts the language model only."""
    train_merger: bool | None = None
    """Train the projector between the vision tower and the language model; null as for train_tower."""
    train_language: bool | None = None
    """Train the language model (or, with LoRA, its adapters); null trains it."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more compute."""
    min_pixels: int | None = None
    """Smallest image area the processor resizes to; null keeps the checkpoint's own value."""
    max_pixels: int | None = None
    """Largest image area the processor resizes to; null keeps the checkpoint's own value."""
    image_backend: Literal["pil", "torchvision"] = "pil"
    """Which resize implementation the image processor uses; sampling, update and evaluation share it."""


@dataclass
class DataConfig:
    train: str | None = None
    """Training rows: a file or folder the task can read, or a hub id (org/name, org/name/file); null draws them with
    the task's synthetic generator."""
    held_out: str | None = None
    """Held-out rows for evaluation during training; null holds out a part of the training rows, picture by picture."""
    held_out_rows: int = 256
    """How many held-out rows are evaluated (0: no evaluation during training)."""
    download: bool = False
    """Fetch a hub data set that is not in the local hub cache; without it nothing is downloaded."""
    max_rows: int | None = None
    """Use only the first rows of the training file; null uses all."""


@dataclass
class RolloutConfig:
    prompts_per_step: int = 8
    """Prompts sampled in each step."""
    group_size: int = 8
    """Completions sampled for each prompt (G)."""
    temperature: float = 1.0
    """Sampling temperature; log-probs are those of the tempered distribution."""
    top_k: int = 0
    """Sample from the k most likely tokens; 0 samples from all. Log-probs are those of the truncated distribution,
    whose kept tokens move with the weights: with top_k, top_p or min_p, optim.inner_epochs must be 1, and nothing may
    compare the policy with other weights, as a KL term does."""
    top_p: float = 1.0
    """Sample from the smallest set of most likely tokens whose probabilities reach this sum; 1 samples from all."""
    min_p: float = 0.0
    """Sample from tokens at least this likely relative to the most likely one; 0 samples from all."""
    stop_strings: tuple[str, ...] = ()
    """A completion ends where its text contains one of these."""
    max_completion_tokens: int = 64
    """Longest completion; one that reaches it without ending is marked truncated."""


class Piece(dict[str, Any]):
    """A piece of the algorithm: its `name` and its options. A plain value is the name; `none` takes it out."""


class Pieces(dict[str, Any]):
    """Pieces of the algorithm by label: true or options for one with the label's name (or their own `name`), false for
    none."""


@dataclass
class AlgorithmConfig:
    """What is not set here is the preset's. docs/algorithms.md lists the pieces of each place and their options."""

    preset: str = "grpo"
    """A published algorithm: `vlmrl algorithms` lists them."""
    curriculum: Piece = field(default_factory=Piece)
    """Which rows come next."""
    plan: Piece = field(default_factory=Piece)
    """What is sampled for a prompt besides its group."""
    judge: Piece = field(default_factory=Piece)
    """A judge of yours, for pieces that ask for one."""
    teacher: str | None = None
    """A second model with the same tokenizer, for pieces that ask for one: as model.path."""
    repairs: Pieces = field(default_factory=Pieces)
    """What is done about a group that taught nothing: hints, experts."""
    filter: Piece = field(default_factory=Piece)
    """Which groups are trained on, and how often free places are filled with new rows."""
    buffers: Pieces = field(default_factory=Pieces)
    """What earlier steps lend to later ones."""
    reward_transforms: Pieces = field(default_factory=Pieces)
    """Changes of rewards before advantages are taken."""
    advantage: Piece = field(default_factory=Piece)
    """What a rollout earned, compared with its group and scaled."""
    advantage_transforms: Pieces = field(default_factory=Pieces)
    """Weights of whole groups."""
    credit: Piece = field(default_factory=Piece)
    """From one advantage per rollout to one per token."""
    auxiliary: Pieces = field(default_factory=Pieces)
    """Optimiser steps besides the one on the fresh batch."""
    token_weights: Pieces = field(default_factory=Pieces)
    """Weights and masks of single tokens."""
    surrogate: Piece = field(default_factory=Piece)
    """The per-token policy loss."""
    expert_surrogate: Piece = field(default_factory=Piece)
    """The per-token loss of rows the policy did not write."""
    objective: Piece = field(default_factory=Piece)
    """A loss over whole groups, in place of advantages and surrogate."""
    regularisers: Pieces = field(default_factory=Pieces)
    """Terms that hold the policy near another one, or shape its entropy."""
    reducer: Piece = field(default_factory=Piece)
    """From per-token losses to the scalar that is minimised."""
    controllers: Pieces = field(default_factory=Pieces)
    """Factors of regularisers or rewards that follow what the run does."""


@dataclass
class OptimConfig:
    lr: float = 1e-6
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or down to zero at the last step."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moment decays."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    inner_epochs: int = 1
    """Optimiser steps taken on each batch of rollouts."""


@dataclass
class WarmupConfig:
    """Only `vlmrl warmup` reads these; it takes its schedule, AdamW settings and clipping from optim."""

    steps: int = 200
    """Optimiser steps."""
    epochs: float | None = None
    """Passes over the training rows; where given, it decides the number of steps."""
    lr: float = 1e-5
    """Peak learning rate. LoRA usually takes ten times as much as the weights themselves."""
    batch_rows: int = 16
    """Rows of an optimiser step; the loss is the mean over the tokens of their answers."""
    rows_per_pass: int = 1
    """Rows of one forward-backward pass; batch_rows is a multiple of it. More is faster and takes more memory."""
    max_tokens: int | None = None
    """Longest prompt with its answer; nothing is cut, so a longer row ends the run with a message that names it. null
    takes the model's context."""


@dataclass
class EngineConfig:
    kind: Literal["shared", "naive"] = "shared"
    """shared computes a group's prompt once; naive computes it for each completion (slow, the reference)."""
    max_tokens_per_pass: int | None = None
    """Token rows (prompt + G completions) of one forward-backward pass; a step is split to stay under it. The prompt
    passes kept from sampling for the update stay under it too. null takes what suits the device: 16384 on a CPU, and
    on a GPU what its free memory allows."""
    feature_cache_mb: int = 0
    """Host memory for the features a frozen vision tower made of pictures, for when they come again in a later epoch;
    0 keeps them for one step only."""
    cuda_graphs: bool = False
    """Decode with one captured CUDA graph per shape. Not yet tried on a GPU."""
    self_check: bool = True
    """Compare one real group with the naive computation before training and refuse a mismatch."""


@dataclass
class EvalConfig:
    every: int = 50
    """Evaluate the held-out rows every so many steps, besides the start and the end; 0: only then."""
    benchmark: str | None = None
    """Published benchmark (see `vlmrl benchmarks`) that the rows of data.held_out belong to, in `vlmrl eval` and during
    training; null reads them as the task's own rows."""
    split: str | None = None
    """Which of the benchmark's splits is scored; null scores all rows that the data holds."""
    temperature: float = 0.0
    """Sampling temperature of evaluation; 0 takes the most likely token."""
    id_field: str = "id"
    """Field of a file given as --predictions that holds a row's id, or its place counted from 0."""
    text_field: str = "text"
    """Field of a file given as --predictions that holds the model's completion."""


@dataclass
class RunConfig:
    dir: str | None = None
    """Run folder; null makes runs/<task>-<model>-<date>."""
    steps: int = 100
    """Training steps."""
    seed: int = 0
    """Seed of everything random: row order, sampling, initialisation."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    save_every: int = 50
    """Write a resumable checkpoint every so many steps, besides the last one."""
    logged_groups: int = 4
    """Groups per step whose pictures are kept for the report."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """What else `vlmrl train` logs to besides the run folder, with pictures of the answers: [tensorboard, wandb,
    trackio] or some of them. Each needs its package, and nothing of a run leaves the machine unless the tracker sends
    it."""
    max_error_rate: float = 0.05
    """Stop when more than this share of a step's rewards raised an error."""


@dataclass
class SafetyConfig:
    """Tripwires: a step beyond one is said, and so is the end of it. null switches one off."""

    max_kl: float | None = 1.0
    """Largest mean KL per token (nats), where the algorithm measures one."""
    min_entropy: float | None = 0.005
    """Least mean entropy of the sampling distributions (nats per token): below it all samples are alike."""
    max_truncated: float | None = 0.9
    """Largest share of completions cut at the token limit."""
    max_unparsed: float | None = 0.95
    """Largest share of completions without an answer."""
    stop_after: int = 0
    """Stop the run, with everything saved, after so many steps beyond a tripwire in a row; 0 never stops."""


@dataclass
class Config:
    task: TaskConfig = field(default_factory=TaskConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    safety: SafetyConfig = field(default_factory=SafetyConfig)
    run: RunConfig = field(default_factory=RunConfig)
