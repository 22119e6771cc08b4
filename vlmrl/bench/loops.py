"""Hand-written GRPO steps on plain transformers: what a careful person writes without sharing prompts."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from vlmrl.bench.sides import Completions, Side, policy_loss


class Loop(Side):
    """HF generate on the prompt repeated G times, then one forward over G full rows.

    The processor runs once, and logits are computed on completion positions only.
    """

    name = "loop"

    def step(self) -> Completions:
        with self.meter.section("process"):
            prompt = self.workload.encode(self.policy)
            once = {key: value.to(self.policy.device) for key, value in self.policy.family.collate([prompt]).items()}
        with self.meter.section("decode"):
            ids_NT = self.generate(once)
        with self.meter.section("score"):
            loss = policy_loss(self.logprobs(once, ids_NT), self.advantages_G)
        loss.backward()
        return ids_NT.tolist()

    def generate(self, once: Mapping[str, Tensor]) -> Tensor:
        """Completions [G, C] of the prompt."""
        return hf_generate(self, self._repeated(once))

    def logprobs(self, once: Mapping[str, Tensor], ids_NT: Tensor) -> Tensor:
        """Log-probabilities [G, C] with gradient."""
        return self._score(self._full_rows(self._repeated(once), ids_NT), ids_NT)

    def _repeated(self, once: Mapping[str, Tensor]) -> dict[str, Tensor]:
        copies = self.workload.setting.G
        return {key: value.repeat(copies, *[1] * (value.dim() - 1)) for key, value in once.items()}

    def _full_rows(self, repeated: Mapping[str, Tensor], ids_NT: Tensor) -> dict[str, Tensor]:
        ends = {"input_ids": ids_NT, "attention_mask": torch.ones_like(ids_NT)}
        if "mm_token_type_ids" in repeated:
            ends["mm_token_type_ids"] = torch.zeros_like(ids_NT)
        return {**repeated, **{key: torch.cat([repeated[key], end.to(repeated[key])], 1) for key, end in ends.items()}}

    def _score(self, inputs: Mapping[str, Any], ids_NT: Tensor) -> Tensor:
        output = self.policy.forward(**inputs, use_cache=False, logits_to_keep=ids_NT.shape[1] + 1)
        logits_NTV = output.logits[:, :-1].float().masked_fill(self.policy.banned_V, -torch.inf)
        return logits_NTV.log_softmax(-1).gather(-1, ids_NT[..., None])[..., 0]


class LoopOnce(Loop):
    """The same with the image encoded once for the rollout and once for the update: the strong baseline."""

    name = "loop-once"

    def generate(self, once: Mapping[str, Tensor]) -> Tensor:
        return hf_generate(self, once, num_return_sequences=self.workload.setting.G)

    def logprobs(self, once: Mapping[str, Tensor], ids_NT: Tensor) -> Tensor:
        policy = self.policy
        tower = (p for name, p in policy.model.named_parameters() if policy.family.tower_pattern.search(name))
        core: Any = cast(Any, policy.model).get_base_model() if policy.has_adapters else policy.model
        reduced = policy.compute_dtype is not torch.float32
        with (
            torch.set_grad_enabled(any(p.requires_grad for p in tower)),
            torch.autocast(policy.device.type, policy.compute_dtype, enabled=reduced),
        ):
            features = core.model.get_image_features(once["pixel_values"], once["image_grid_thw"], return_dict=True)
        copies = self.workload.setting.G
        features.pooler_output = tuple(features.pooler_output) * copies
        if "deepstack_features" in features:
            features.deepstack_features = [layer.repeat(copies, 1) for layer in features.deepstack_features]
        inputs = self._full_rows(self._repeated(once), ids_NT)
        del inputs["pixel_values"]
        return self._score({**inputs, "mm_encoder_outputs": {"image": features}}, ids_NT)


def hf_generate(side: Side, inputs: Mapping[str, Tensor], **options: Any) -> Tensor:
    """transformers' sampling of exactly C tokens per row from the same distribution as every other side: [N, C]."""
    policy, length = side.policy, side.workload.setting.C
    model: Any = policy.model
    model.eval()  # gradient checkpointing would refuse the cache
    reduced = policy.compute_dtype is not torch.float32
    with torch.no_grad(), torch.autocast(policy.device.type, policy.compute_dtype, enabled=reduced):
        rows = model.generate(
            **inputs,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=length,
            suppress_tokens=torch.nonzero(policy.banned_V)[:, 0].tolist(),
            **options,
        )
    model.train()
    return rows[:, -length:]
