"""What settings there are, in words: names, types, docstrings, and what a misspelt name may have meant."""

import ast
import difflib
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vlmrl.config import Piece, Pieces
from vlmrl.yaml_dialect import dump

ALIASES = {
    "batch_size": "rollout.prompts_per_step",
    "beta": "algorithm.regularisers.kl.coefficient",
    "clip_eps": "algorithm.surrogate.clip_low",
    "dataset": "data.train",
    "dataset_name": "data.train",
    "epsilon": "algorithm.surrogate.clip_low",
    "clip_high": "algorithm.surrogate.clip_high",
    "clip_low": "algorithm.surrogate.clip_low",
    "epsilon_high": "algorithm.surrogate.clip_high",
    "eval_steps": "eval.every",
    "g": "rollout.group_size",
    "grad_clip": "optim.max_grad_norm",
    "kl_coef": "algorithm.regularisers.kl.coefficient",
    "kl_coefficient": "algorithm.regularisers.kl.coefficient",
    "learning_rate": "optim.lr",
    "lora_alpha": "model.lora.alpha",
    "lora_r": "model.lora.rank",
    "lora_rank": "model.lora.rank",
    "loss_type": "algorithm.preset",
    "lr": "optim.lr",
    "lr_scheduler_type": "optim.schedule",
    "max_completion_length": "rollout.max_completion_tokens",
    "max_new_tokens": "rollout.max_completion_tokens",
    "max_steps": "run.steps",
    "model_name_or_path": "model.path",
    "num_generations": "rollout.group_size",
    "num_iterations": "optim.inner_epochs",
    "num_steps": "run.steps",
    "output_dir": "run.dir",
    "per_device_train_batch_size": "rollout.prompts_per_step",
    "reward_weights": "task.weights",
    "save_steps": "run.save_every",
    "scale_rewards": "algorithm.advantage.scale",
    "torch_dtype": "model.dtype",
    "train_batch_size": "rollout.prompts_per_step",
    "warmup": "optim.warmup_steps",
}
"""What other trainers call a setting -> its name here; used only for suggestions, so old habits get an answer."""


def field_types(config_type: type) -> dict[str, Any]:
    """The type of each setting; a class that is no dataclass has none."""
    if not is_dataclass(config_type):
        return {}
    hints = get_type_hints(config_type)
    return {field.name: hints[field.name] for field in fields(config_type) if field.init}


def section_of(kind: Any) -> type | None:
    """The section that each entry of a dictionary of sections is; None for any other type of setting."""
    entry = get_args(kind)[1] if get_origin(kind) is dict else None
    return entry if isinstance(entry, type) and is_dataclass(entry) else None


def nearest_settings(written: str, names: Sequence[str]) -> list[str]:
    """What somebody who wrote a name that does not exist may have meant, from an alias or a similar spelling."""
    plain = written.lower().replace("-", "_")
    last = plain.rpartition(".")[2]
    # options of a piece stand below the names of settings
    if (alias := ALIASES.get(last)) and any(f"{alias}.".startswith(f"{name}.") for name in names):
        return [alias]
    same_ending = [name for name in names if name.rpartition(".")[2] == last]
    return same_ending[:3] or difflib.get_close_matches(plain, names, n=1)


def setting_names(config_type: type) -> list[str]:
    """Dotted names of all settings, in the order they are declared."""
    return [name for name, *_ in _settings(config_type)]


def _settings(config_type: type, above: str = "") -> Iterator[tuple[str, type, Any, Any]]:
    """Dotted name, owning dataclass, type and default of each setting."""
    for name, kind in field_types(config_type).items():
        if is_dataclass(kind):
            yield from _settings(kind, f"{above}{name}.")  # type: ignore[arg-type]
        else:
            yield above + name, config_type, kind, getattr(config_type(), name)


@functools.cache
def docstrings(config_type: type) -> dict[str, str]:
    """The string literal under each field; it is not kept at run time, so it is read from the class's source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(config_type))).body
    assert isinstance(tree, ast.ClassDef)
    documented = {}
    for statement, below in itertools.pairwise(tree.body):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                documented[name] = " ".join(text.split())
    return documented


def describe(kind: Any) -> str:
    """What a setting of this type takes, in words."""
    args = get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        given = " or ".join(describe(arg) for arg in args if arg is not NoneType)
        return f"{given}, null" if given.startswith("one of") else f"{given} or null"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(args)}"
    if get_origin(kind) is tuple:
        count = "" if args[-1] is Ellipsis else f"{len(args)} "
        return f"a list of {count}{describe(args[0]).removeprefix('a ')}s"
    if get_origin(kind) is dict or kind is Pieces:
        return "a mapping"
    if kind is Piece:
        return "a name, or a mapping with it"
    return {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]


def describe_settings(config_type: type, above: str = "") -> Iterator[str]:
    """One line per setting with its default and type, e.g. ``optim.lr = 1.0e-06  (number)``."""
    for dotted, _, kind, default in _settings(config_type, above):
        plain = list(default) if isinstance(default, tuple) else dict(default) if isinstance(default, dict) else default
        shown = dump(plain).removesuffix("...\n").strip()
        yield f"{dotted} = {shown}  ({describe(kind).removeprefix('a ')})"


def help_text(config_type: type, above: str = "") -> str:
    """Every setting with its default, type and docstring; what ``--help-config`` prints."""
    text = ""
    settings = zip(describe_settings(config_type, above), _settings(config_type, above), strict=True)
    for line, (dotted, owner, kind, _) in settings:
        documented = docstrings(owner).get(dotted.rpartition(".")[2], "")
        wrapped = textwrap.wrap(documented, 110, initial_indent="    ", subsequent_indent="    ")
        text += "\n".join([line, *wrapped]) + "\n"
        if section := section_of(kind):
            text += help_text(section, f"{dotted}.NAME.")
    return text
