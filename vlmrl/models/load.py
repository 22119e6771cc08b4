"""Loads a checkpoint: model, family adapter, what is trained; and writes one."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from huggingface_hub.errors import HFValidationError
from peft import LoraConfig, PeftModel, get_peft_model
from rich.box import SIMPLE_HEAD
from rich.table import Table
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from vlmrl.config import ModelConfig
from vlmrl.errors import UserError
from vlmrl.models.checkpoint_folders import newest_checkpoint
from vlmrl.models.families import FAMILIES, Family, Part
from vlmrl.models.overriding import overridden_forward
from vlmrl.paths import tiny_model_dir
from vlmrl.progress import tracked

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
ADAPTER_FILE = "adapter_config.json"


@dataclass
class Policy:
    """A model ready to sample and train, with everything that depends on its family."""

    model: PreTrainedModel
    """The transformers model, or a peft model around it, which answers to the same names."""
    family: Family
    stop_ids: list[int]
    banned_V: Tensor
    """bool over the model's output vocabulary: tokens that have probability zero, in sampling and in scoring."""
    source: str
    """Folder or hub id the base weights came from."""
    compute_dtype: torch.dtype
    """Precision of matrix products. Trained weights are kept in float32 either way: a bfloat16 weight is too coarse to
    take an update of 1e-6 of its size."""

    def adapters_off(self) -> AbstractContextManager[Any]:
        """While entered, a LoRA policy computes as its base model."""
        return cast(PeftModel, self.model).disable_adapter()

    def precision(self) -> AbstractContextManager[Any]:
        """While entered, matrix products run in the compute precision. Trained weights are cast once per entry."""
        reduced = self.compute_dtype is not torch.float32
        return torch.autocast(self.device.type, self.compute_dtype, enabled=reduced)

    def forward(self, **inputs: Any) -> Any:
        """The model's forward, in the compute precision."""
        with self.precision():
            return self.model(**inputs)

    def hidden_states(self, **inputs: Any) -> Tensor:
        """Last hidden states [B, S, H]: the model's forward with its output head left out.

        The call goes through the whole model, because wrappers that shard weights hook its forward.
        """
        with overridden_forward([self.model.get_output_embeddings()], lambda head, hidden: hidden):
            return self.forward(**inputs).logits

    def decoder_layers(self) -> Iterable[nn.Module]:
        """The language model's layers, in order."""
        core: Any = cast(PeftModel, self.model).get_base_model() if self.has_adapters else self.model
        layers: Iterable[nn.Module] = core.get_decoder().layers
        return layers

    def logits(self, hidden_NH: Tensor) -> Tensor:
        """The output head, in the compute precision."""
        with self.precision():
            return self.model.get_output_embeddings()(hidden_NH)

    @contextmanager
    def keeping_activations(self) -> Iterator[None]:
        """While entered, gradient checkpointing is off: without gradients it only costs time."""
        layers = [m for m in self.model.modules() if isinstance(m, GradientCheckpointingLayer)]
        before = [layer.gradient_checkpointing for layer in layers]
        for layer in layers:
            layer.gradient_checkpointing = False
        try:
            yield
        finally:
            for layer, enabled in zip(layers, before, strict=True):
                layer.gradient_checkpointing = enabled

    @property
    def text_config(self) -> PretrainedConfig:
        """Configuration of the language model."""
        return self.model.config.get_text_config(decoder=True)

    @property
    def checkpoints_activations(self) -> bool:
        layers = (m for m in self.model.modules() if isinstance(m, GradientCheckpointingLayer))
        return any(layer.gradient_checkpointing for layer in layers)

    def require_replayable_layers(self) -> None:
        """Raises UserError if gradient checkpointing is on in a form that would lose the prompt's gradient."""
        for name, module in self.model.named_modules():
            if isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing:
                options = getattr(module._gradient_checkpointing_func, "keywords", {})
                if options.get("use_reentrant", True):
                    raise UserError(
                        f"{name} uses reentrant gradient checkpointing, which cuts the gradient of the prompt; "
                        'enable it with gradient_checkpointing_kwargs={"use_reentrant": False}'
                    )

    def require_plain_outputs(self) -> None:
        """Raises UserError for outputs that are not the head's logits alone: a pass that leaves the head out, or runs
        it on completions only, cannot reproduce them."""
        text = self.text_config
        if cap := getattr(text, "final_logit_softcapping", None):
            raise UserError(
                f"{self.source} caps its logits softly (final_logit_softcapping={cap}), which a shared prompt does not "
                "reproduce; use engine.kind=naive"
            )
        if getattr(text, "output_router_logits", False):
            raise UserError(
                f"{self.source} adds its experts' router loss (output_router_logits), which would count a shared "
                "prompt once instead of once per completion; set output_router_logits to false in its config.json"
            )

    def use_attention(self, implementation: str) -> None:
        """Switches the language model's attention; the vision tower keeps its own."""
        text = self.text_config
        name = next(key for key in self.model.config.sub_configs if getattr(self.model.config, key) is text)
        self.model.set_attn_implementation({name: implementation})

    @property
    def device(self) -> torch.device:
        return self.banned_V.device

    @property
    def has_adapters(self) -> bool:
        return isinstance(self.model, PeftModel)


def resolve_device(name: str) -> torch.device:
    """The torch device of a --device value. Raises UserError if this machine has no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not available here ({reason}); try --device cpu") from None
    return device


def model_folder(path: str) -> str:
    """`tiny` as the embedded model's folder, a run folder as its newest checkpoint, anything else unchanged."""
    if path == "tiny":
        return str(tiny_model_dir())
    return str(newest_checkpoint(Path(path)) or path)


def load_policy(config: ModelConfig, device: torch.device, *, trainable: bool, adapter: Path | None = None) -> Policy:
    """Loads a checkpoint folder or hub id in training or evaluation form.

    `adapter` names a LoRA checkpoint to continue from. A folder that itself is a LoRA checkpoint is loaded onto its
    base model. Raises UserError if the folder is incomplete, the family has no adapter file here, or what ends up
    trainable is not what the configuration asks for.
    """
    source, adapter = _base_and_adapter(config, adapter)
    family, model_config = _load_family(source, config)
    _require_no_dropout(model_config, source)
    _require_no_router_loss(model_config, source)
    full_training = trainable and adapter is None and config.lora.rank == 0
    model = _load_weights(source, torch.float32 if full_training else compute_dtype(config, device))
    return prepare_policy(model, family, source, config, device, trainable=trainable, adapter=adapter)


def compute_dtype(config: ModelConfig, device: torch.device) -> torch.dtype:
    """The precision of matrix products that `model.dtype` asks for on this device."""
    automatic = torch.bfloat16 if device.type == "cuda" else torch.float32
    return {"auto": automatic, "float32": torch.float32, "bfloat16": torch.bfloat16}[config.dtype]


def prepare_policy(
    model: PreTrainedModel,
    family: Family,
    source: str,
    config: ModelConfig,
    device: torch.device,
    *,
    trainable: bool,
    adapter: Path | None = None,
) -> Policy:
    """A policy around a model that is in memory: moved to its device, adapters added, the right parts trainable."""
    precision = compute_dtype(config, device)
    cast(nn.Module, model).to(device)  # transformers wraps .to() so that type checkers cannot follow it
    policy = Policy(model, family, family.stop_ids(model), _banned_mask(family, model), source, precision)
    if trainable or adapter:
        _add_adapters(policy, config, adapter, trainable)
    if trainable:
        _require_no_dropout_layers(policy.model, source)
        _set_trainable(policy, config)
        for parameter in policy.model.parameters():
            parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else precision)
        if config.gradient_checkpointing:
            _enable_checkpointing(policy.model)
    else:
        policy.model.requires_grad_(False)
    policy.model.train(trainable)
    return policy


def load_family(config: ModelConfig) -> Family:
    """The family adapter and processor of a checkpoint, without its weights. Raises UserError as load_policy."""
    source, _ = _base_and_adapter(config, None)
    return _load_family(source, config)[0]


def context_tokens(config: ModelConfig) -> int | None:
    """Longest sequence of a checkpoint's language model, if its configuration states one."""
    source, _ = _base_and_adapter(config, None)
    text: Any = _load_family(source, config)[1].get_text_config(decoder=True)
    return getattr(text, "max_position_embeddings", None)


def load_shape(config: ModelConfig) -> tuple[PreTrainedModel, Family]:
    """The model without weights (its parameters have sizes but no values) and its family. Raises as load_policy."""
    source, _ = _base_and_adapter(config, None)
    family, model_config = _load_family(source, config)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(model_config), family


def _base_and_adapter(config: ModelConfig, adapter: Path | None) -> tuple[str, Path | None]:
    base, found = base_and_adapter(model_folder(config.path))
    return base, found or adapter


def base_and_adapter(source: str) -> tuple[str, Path | None]:
    """Where a checkpoint's base weights are, and the folder of its LoRA adapters if it consists of those."""
    settings = Path(source) / ADAPTER_FILE
    if settings.is_file():
        return json.loads(settings.read_text())["base_model_name_or_path"], Path(source)
    return source, None


def _load_family(source: str, config: ModelConfig) -> tuple[Family, Any]:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model_config = _read_config(source)
    if model_config.model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UserError(f"model {source}: no adapter for model type {model_config.model_type!r}; known types: {known}")
    family = FAMILIES[model_config.model_type]
    return family(_load_processor(source, config, family)), model_config


def _read_config(source: str) -> Any:
    folder = Path(source)
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(f"model folder {source} has no config.json; point --model at a checkpoint folder")
    try:
        return AutoConfig.from_pretrained(source)
    except (OSError, ValueError, HFValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model {source!r} cannot be loaded: {reason} (give a folder, a hub id, or tiny)") from error


def _require_no_dropout(model_config: Any, source: str) -> None:
    parts = {"": model_config, "vision_config.": model_config.vision_config}
    parts["text_config."] = model_config.get_text_config(decoder=True)
    for part, settings in parts.items():
        for name, value in vars(settings).items():
            if "dropout" in name and value:
                raise UserError(
                    f"model {source}: {part}{name} is {value}; set it to 0 in config.json, or sampling and update see "
                    "different models"
                )


def _require_no_router_loss(model_config: Any, source: str) -> None:
    if getattr(model_config.get_text_config(decoder=True), "output_router_logits", False):
        raise UserError(
            f"model {source}: text_config.output_router_logits is true; set it to false in config.json, because the "
            "router's balancing loss would count a shared prompt's tokens once and not once per completion"
        )


def _require_no_dropout_layers(model: nn.Module, source: str) -> None:
    """For what no configuration of the model names, a LoRA checkpoint's own dropout above all."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            raise UserError(
                f"model {source}: {name} drops activations with probability {module.p}; set it to 0 (lora_dropout in "
                "adapter_config.json), or sampling and update see different models"
            )


def _load_processor(source: str, config: ModelConfig, family: type[Family]) -> Any:
    folder = Path(source)
    if folder.is_dir() and not any((folder / name).is_file() for name in PROCESSOR_FILES):
        raise UserError(
            f"model folder {source} has no processor ({' or '.join(PROCESSOR_FILES)}); copy the processor files of the "
            "checkpoint it was made from, or save them there with processor.save_pretrained"
        )
    limits = {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    limits = {name: value for name, value in limits.items() if value is not None}
    if limits and not family.has_pixel_limits:
        raise UserError(
            f"model {source}: models of type {family.model_types[0]} resize to fixed tiles; unset "
            + " and ".join(f"model.{name}" for name in limits)
        )
    try:
        processor = AutoProcessor.from_pretrained(source)
        # the processor itself cannot be loaded with the pil backend, because its video part has none
        processor.image_processor = AutoImageProcessor.from_pretrained(source, backend=config.image_backend, **limits)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"model {source}: its processor cannot be loaded: {str(error).splitlines()[0]}") from error
    size = processor.image_processor.size
    if family.has_pixel_limits and size["shortest_edge"] > size["longest_edge"]:
        raise UserError(
            f"model.min_pixels={size['shortest_edge']} is above model.max_pixels={size['longest_edge']}; set both"
        )
    return processor


def _load_weights(source: str, dtype: torch.dtype) -> PreTrainedModel:
    before = transformers.logging.set_tqdm_hook(_our_bar)
    try:
        return AutoModelForImageTextToText.from_pretrained(source, dtype=dtype, attn_implementation="sdpa")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"model {source}: its weights cannot be loaded: {str(error).splitlines()[0]}") from error
    finally:
        transformers.logging.set_tqdm_hook(before)


def _our_bar(factory: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """transformers' bar over a checkpoint's weights as one of ours; its others stay as they are."""
    if keywords.get("desc") == "Loading weights":
        return tracked(args[0], "loading weights", len(args[0]))
    return factory(*args, **keywords)


def _banned_mask(family: Family, model: PreTrainedModel) -> Tensor:
    weight = model.get_output_embeddings().weight
    banned_V = torch.zeros(weight.shape[0], dtype=torch.bool, device=weight.device)
    banned_V[family.banned_ids(model)] = True
    return banned_V


def _add_adapters(policy: Policy, config: ModelConfig, adapter: Path | None, trainable: bool) -> None:
    if adapter is not None:
        loaded = PeftModel.from_pretrained(policy.model, str(adapter), is_trainable=trainable)
        policy.model = cast(PreTrainedModel, loaded)
    elif config.lora.rank > 0:
        lora = LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=0.0,  # dropout would make sampling and update see different models
            target_modules=policy.family.lora_targets,
            task_type="CAUSAL_LM",
        )
        policy.model = cast(PreTrainedModel, get_peft_model(policy.model, lora))


def _set_trainable(policy: Policy, config: ModelConfig) -> None:
    wanted = {Part.TOWER: config.train_tower, Part.MERGER: config.train_merger, Part.LANGUAGE: config.train_language}
    if policy.has_adapters:
        if wanted[Part.TOWER] or wanted[Part.MERGER] or wanted[Part.LANGUAGE] is False:
            raise UserError("LoRA trains adapters on the language model only; leave model.train_* unset with it")
    else:
        for name, parameter in policy.model.named_parameters():
            parameter.requires_grad_(wanted[policy.family.part_of(name)] is not False)
    counts = part_counts(policy)
    for part, (trained, total) in counts.items():
        if policy.has_adapters:
            right = (trained > 0) == (part is Part.LANGUAGE)
        else:
            right = trained == (total if wanted[part] is not False else 0)
        if not right:
            raise UserError(f"{part.value}: {trained:,} of {total:,} parameters are trainable, which nobody asked for")
    if not any(trained for trained, _ in counts.values()):
        raise UserError("nothing is trainable: set one of model.train_tower, train_merger, train_language to true")


def part_counts(policy: Policy) -> dict[Part, tuple[int, int]]:
    """Trainable and total number of parameters of each part."""
    counts = {part: [0, 0] for part in Part}
    for name, parameter in policy.model.named_parameters():
        count = counts[policy.family.part_of(name)]
        count[0] += parameter.numel() if parameter.requires_grad else 0
        count[1] += parameter.numel()
    return {part: (trained, total) for part, (trained, total) in counts.items()}


def parameter_table(policy: Policy) -> Table:
    """The table of trainable parameters that training prints."""
    table = Table("part", "parameters", "trained", box=SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for part, (trained, total) in part_counts(policy).items():
        table.add_row(part.value, f"{total:,}", f"{trained:,}" if trained else "frozen")
    return table


def _enable_checkpointing(model: PreTrainedModel) -> None:
    # reentrant checkpointing cuts the gradient of keyword tensors, the prompt's keys and values among them
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            # otherwise the layer silently drops the cache in training; the two-slot cache bears the replay
            module._can_checkpoint_with_cache = True


def merge_adapters(policy: Policy) -> None:
    """Adds LoRA adapters to the weights they adapt, in those weights' precision; does nothing where there are none."""
    if policy.has_adapters:
        policy.model = cast(PeftModel, policy.model).merge_and_unload()


def save_policy(policy: Policy, folder: Path) -> None:
    """Writes what `from_pretrained` needs: weights (or LoRA adapters), configuration and processor."""
    policy.model.save_pretrained(folder)
    policy.family.processor.save_pretrained(folder)
    if not policy.has_adapters:
        policy.model.generation_config.save_pretrained(folder)
