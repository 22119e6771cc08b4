"""Vision features of prompts: encoded once per prompt and step, and used by every pass of the step.

Only a frozen tower's features can be used again: those of a trained one carry the gradient of one pass.
"""

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers.utils.generic import ModelOutput

from vlmrl.models.families import Part
from vlmrl.models.load import Policy
from vlmrl.models.patches import patches_as_products
from vlmrl.types import Prompt

MODALITIES = ("image", "video")
Features = dict[str, ModelOutput]
"""Output of transformers' `get_image_features` / `get_video_features` per modality."""


class FrozenTower:
    """Features of a policy's frozen tower. Those of a prompt live as long as the prompt."""

    def __init__(self, cache_bytes: int = 0) -> None:
        """`cache_bytes` bounds what is kept, in host memory, of prompts that are gone, for when a picture returns."""
        self._of_prompt: WeakKeyDictionary[Prompt, Features] = WeakKeyDictionary()
        self._cache: OrderedDict[bytes, Features] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached_bytes = 0

    @staticmethod
    def serves(policy: Policy) -> bool:
        """True if nothing between the pixels and the language model is trained."""
        return not any(
            parameter.requires_grad and policy.family.part_of(name) is not Part.LANGUAGE
            for name, parameter in policy.model.named_parameters()
        )

    @torch.no_grad()
    def __call__(self, policy: Policy, prompts: Sequence[Prompt], again: bool) -> Features:
        """Features of all pictures, in the order of the prompts; `again` keeps them for further passes."""
        return _concatenated([self._features(policy, prompt, again) for prompt in prompts])

    def _features(self, policy: Policy, prompt: Prompt, again: bool) -> Features:
        if prompt in self._of_prompt:
            return self._of_prompt[prompt]
        features = self._cached(policy, prompt) if self._cache_bytes else _encode(policy, prompt)
        if again:
            self._of_prompt[prompt] = features
        return features

    def _cached(self, policy: Policy, prompt: Prompt) -> Features:
        key = _fingerprint(prompt.vision)
        if key not in self._cache:
            features = _encode(policy, prompt)
            self._cache[key] = _moved(features, torch.device("cpu"))
            self._cached_bytes += _bytes(features)
            while self._cached_bytes > self._cache_bytes:
                self._cached_bytes -= _bytes(self._cache.popitem(last=False)[1])
            return features
        self._cache.move_to_end(key)
        return _moved(self._cache[key], policy.device)


def media_keys(policy: Policy, inputs: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Per modality, the model inputs that its encoder takes, if its pixels are among them."""
    keys = {}
    for modality in MODALITIES:
        encoder = getattr(policy.model, f"get_{modality}_features", None)
        if encoder is None:
            continue
        taken = [key for key in inspect.signature(encoder).parameters if key in inputs]
        if any("pixel_values" in key for key in taken):
            keys[modality] = taken
    return keys


def _encode(policy: Policy, prompt: Prompt) -> Features:
    inputs = {key: value.to(policy.device) for key, value in policy.family.collate([prompt]).items()}
    with policy.precision(), patches_as_products(policy.model):
        return {
            modality: getattr(policy.model, f"get_{modality}_features")(
                **{key: inputs[key] for key in keys}, return_dict=True
            )
            for modality, keys in media_keys(policy, inputs).items()
        }


def _concatenated(parts: Sequence[Features]) -> Features:
    """Features of several prompts as those of one batch, without what the language model does not read."""
    merged: Features = {}
    for modality in MODALITIES:
        outputs = [part[modality] for part in parts if modality in part]
        if outputs:
            fields = {"pooler_output": _joined([output["pooler_output"] for output in outputs])}
            if outputs[0].get("deepstack_features") is not None:
                layers = zip(*(output["deepstack_features"] for output in outputs), strict=True)
                fields["deepstack_features"] = [_joined(layer) for layer in layers]
            merged[modality] = type(outputs[0])(**fields)
    return merged


def _joined(values: Sequence[Any]) -> Any:
    """Pictures one after the other: rows of a tensor, or the items of a tuple or list."""
    if isinstance(values[0], Tensor):
        return torch.cat(list(values))
    return type(values[0])(item for value in values for item in value)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _bytes(features: Features) -> int:
    return sum(tensor.nbytes for tensor in _tensors(features))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, ModelOutput):
        return type(value)(**{key: _moved(item, device) for key, item in value.items()})
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    return type(value)(_moved(item, device) for item in value)


def _fingerprint(vision: Mapping[str, Tensor]) -> bytes:
    digest = blake2b(digest_size=16)
    for key in sorted(vision):
        digest.update(key.encode())
        digest.update(vision[key].contiguous().view(torch.uint8).numpy().data)
    return digest.digest()
