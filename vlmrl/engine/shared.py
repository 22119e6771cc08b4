"""The shared-prompt engine: a group's prompt is computed once, exactly, on unmodified transformers models.

Two passes: the prompt pass leaves every layer's state, and the branches' pass continues from it, G rows per prompt.
With gradients on, autograd flows from the branches into the prompt, so log-probs and gradients equal those of the
naive G x (P + C) computation to float rounding (tests/engine/test_exactness.py). Full-attention layers attend to one
copy of the prompt (`engine.attention`); others continue from the prompt's state in a two-slot cache (`engine.cache`).

While the weights stay, the prompt pass that sampling used is also the update's (`KeptPasses`).

The method is known for text: PrefixGrouper (arXiv 2506.05433), flash-preference, Hydragen (arXiv 2402.05099).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from vlmrl.engine.attention import IMPLEMENTATION, BranchLayout, KeysValues, PromptLayout
from vlmrl.engine.base import Engine, PromptState
from vlmrl.engine.cache import TwoSlotCache, layer_kinds
from vlmrl.engine.decoding import BranchDecoder, DecodeLayout
from vlmrl.engine.distribution import Truncation
from vlmrl.engine.kernels import LeftPadding
from vlmrl.engine.media import FrozenTower, media_keys
from vlmrl.engine.recorded import RecordedSteps
from vlmrl.engine.sampling import Completion, SamplingSettings, sample_rows
from vlmrl.engine.scoring import TokenLogprobs, as_rows, pad_completions, score_hidden
from vlmrl.engine.thin import thin_linear_layers
from vlmrl.errors import UserError
from vlmrl.models.load import Policy
from vlmrl.models.overriding import on_last_tokens
from vlmrl.models.patches import patches_as_products
from vlmrl.types import Prompt

SHARED_KIND = "full_attention"


@dataclass(frozen=True)
class SharedState(PromptState):
    """What the prompt pass of B prompts leaves behind for their branches."""

    keys_values: Mapping[int, KeysValues]
    """Per full-attention layer, [B, K, P, d] each."""
    cache: TwoSlotCache | None
    """State of the other layers; None if there are none."""
    mask_BP: Tensor
    """1 on prompt tokens, 0 on left padding."""
    padding: LeftPadding | None
    next_position_B: Tensor
    """Position of the first completion token."""
    last_hidden_BH: Tensor
    """Hidden state that predicts the first completion token: the same for all members of a group."""

    def attended(self, rows: Sequence[int]) -> tuple[Mapping[int, KeysValues], LeftPadding | None]:
        """Keys, values and padding of some of the prompts."""
        if list(rows) == list(range(len(self.prompts))):
            return self.keys_values, self.padding
        index = torch.tensor(rows, device=self.mask_BP.device)
        chosen = {layer: (k[index], v[index]) for layer, (k, v) in self.keys_values.items()}
        return chosen, LeftPadding.of(self.mask_BP[index])


class SharedEngine(Engine):
    """Every prompt once per pass, whatever the group size."""

    def __init__(
        self,
        policy: Policy,
        max_tokens_per_pass: int,
        *,
        tower: FrozenTower | None = None,
        cuda_graphs: bool = False,
        fast_attention: bool = True,
        recorded_steps: bool = True,
    ) -> None:
        """`tower` may be shared with an engine of equal vision weights; `fast_attention=False` uses the cache only.
        `recorded_steps=False` decodes by calling the model's modules for every token, so that their hooks run."""
        super().__init__(policy, max_tokens_per_pass)
        self.tower = (tower or FrozenTower()) if FrozenTower.serves(policy) else None
        self.cuda_graphs = cuda_graphs and policy.device.type == "cuda"
        self.kinds = layer_kinds(policy.text_config)
        self.shared_layers = frozenset(
            layer for layer, kind in enumerate(self.kinds) if fast_attention and kind == SHARED_KIND
        )
        recorded = recorded_steps and len(self.shared_layers) == len(self.kinds) and RecordedSteps.serves(policy)
        self.recorded = RecordedSteps(policy) if recorded else None
        policy.require_replayable_layers()
        policy.require_plain_outputs()
        policy.use_attention(IMPLEMENTATION)

    def prompt_pass(self, prompts: Sequence[Prompt], again: bool = False) -> SharedState:
        """Encodes the pictures of B prompts and runs the language model over the prompts, each once."""
        policy = self.policy
        inputs = {key: value.to(policy.device) for key, value in policy.family.collate(prompts).items()}
        positions, next_position_B = policy.family.positions(policy.model, inputs)
        mask_BP = inputs.pop("attention_mask")
        media = media_keys(policy, inputs)
        features: dict[str, Any] = {}
        if self.tower is not None and media:
            inputs = {k: v for k, v in inputs.items() if not any(k in keys for keys in media.values())}
            features = {"mm_encoder_outputs": self.tower(policy, prompts, again)}
        last = self._last_layer_behind_attention()
        layout = PromptLayout(self.shared_layers, LeftPadding.of(mask_BP), len(self.kinds) - 1 if last else None)
        cache = self._other_layers_cache()
        with patches_as_products(policy.model), on_last_tokens(last):
            hidden_B1H = policy.hidden_states(
                **inputs,
                **features,
                **self._cached(cache, mask_BP),
                position_ids=positions,
                prompt_layout=layout,
                logits_to_keep=1,
            )
        missing = sorted(self.shared_layers - layout.keys_values.keys())
        if missing:
            raise UserError(
                f"layer {missing[0]} of {policy.source} does not use transformers' attention interface, so its prompt "
                "cannot be shared; use engine.kind=naive"
            )
        return SharedState(
            prompts, layout.keys_values, cache, mask_BP, layout.padding, next_position_B, hidden_B1H[:, -1]
        )

    def _last_layer_behind_attention(self) -> list[nn.Module]:
        """The modules of the last layer that a prompt needs for its last token only: of that layer, nothing but keys,
        values and the last output is read. Where they give one token, adding the residual repeats it for the others.

        None of them if the layer is not shared, or if gradient checkpointing will call its modules as they are.
        """
        layer = list(self.policy.decoder_layers())[-1]
        modules = [module for name, module in layer.named_modules() if name in ("self_attn.o_proj", "mlp")]
        shared = len(self.kinds) - 1 in self.shared_layers
        return modules if shared and len(modules) == 2 and not self.policy.checkpoints_activations else []

    def _other_layers_cache(self) -> TwoSlotCache | None:
        if len(self.shared_layers) == len(self.kinds):
            return None
        return TwoSlotCache.empty(self.policy.text_config, shared=self.shared_layers)

    @staticmethod
    def _cached(cache: TwoSlotCache | None, mask: Tensor) -> dict[str, Any]:
        """Inputs for layers that continue from a cache; shared layers know their padding from the layout."""
        if cache is None:
            return {"use_cache": False}
        return {"use_cache": True, "past_key_values": cache, "attention_mask": mask}

    @torch.inference_mode()
    def decode(
        self, state: PromptState, settings: SamplingSettings, seeds: Sequence[Sequence[int]]
    ) -> list[list[Completion]]:
        state, policy = cast(SharedState, state), self.policy
        group_size = len(seeds[0])
        prompt_of_row_N = torch.arange(len(seeds), device=policy.device).repeat_interleave(group_size)
        # the last token is never fed back, and recurrent layers grow no static buffers
        capture = self.cuda_graphs and state.cache is None
        layout = DecodeLayout(state.keys_values, state.padding, group_size, max(1, settings.max_tokens - 1), capture)
        with policy.precision(), policy.keeping_activations(), thin_linear_layers(policy.model):
            decoder = BranchDecoder(
                policy,
                layout,
                state.cache and state.cache.branch(prompt_of_row_N),
                state.mask_BP[prompt_of_row_N],
                state.next_position_B[prompt_of_row_N],
                policy.logits(state.last_hidden_BH)[prompt_of_row_N],
                capture,
                None if self.recorded is None else self.recorded.of(layout),
            )
            rows = sample_rows(
                decoder,
                settings,
                [seed for group in seeds for seed in group],
                policy.banned_V,
                policy.stop_ids,
                policy.family.tokenizer.decode,
            )
        return [rows[i : i + group_size] for i in range(0, len(rows), group_size)]

    def score(
        self,
        state: PromptState,
        rows: Sequence[int],
        completions: Sequence[Sequence[Sequence[int]]],
        temperature: float,
        truncation: Truncation,
        keep_logits: bool = False,
    ) -> TokenLogprobs:
        state = cast(SharedState, state)
        group_size = len(completions[0])
        ids_NT, mask_NT = pad_completions(completions, self.policy.device)
        prompt_of_row_N = torch.tensor(rows, device=self.policy.device).repeat_interleave(group_size)
        hidden_NTH = state.last_hidden_BH[prompt_of_row_N][:, None]  # the prompt pass predicts the first token
        if ids_NT.shape[1] > 1:
            branches_NTH = self._branches_pass(state, rows, prompt_of_row_N, ids_NT[:, :-1], mask_NT[:, :-1])
            hidden_NTH = torch.cat([hidden_NTH, branches_NTH], 1)
        scores = score_hidden(
            hidden_NTH[:, : ids_NT.shape[1]][mask_NT],
            ids_NT[mask_NT],
            self.policy.logits,
            self.distribution(temperature, truncation),
            keep_logits,
        )
        return as_rows(*scores, mask_NT)

    def _branches_pass(
        self, state: SharedState, rows: Sequence[int], prompt_of_row_N: Tensor, ids_NT: Tensor, mask_NT: Tensor
    ) -> Tensor:
        """Hidden states [N, T, H] of right-padded completions."""
        family = self.policy.family
        cache = state.cache and state.cache.branch(prompt_of_row_N)
        mask_NS = torch.cat([state.mask_BP[prompt_of_row_N], mask_NT.to(state.mask_BP.dtype)], dim=1)
        return self.policy.hidden_states(
            input_ids=ids_NT,
            **self._cached(cache, mask_NS),
            position_ids=family.next_positions(state.next_position_B[prompt_of_row_N], ids_NT.shape[1]),
            prompt_layout=BranchLayout(*state.attended(rows)),
        )
