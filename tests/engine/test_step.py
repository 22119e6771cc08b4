"""What a training step promises: one prompt pass, exact on every path, sampled and scored under one distribution."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.engine.groups import (
    TEMPERATURE,
    Completions,
    encode,
    gradients,
    picture,
    prompts_of_two_sizes,
    ragged_completions,
    sample,
)
from vlmrl.config import LoraConfig, ModelConfig
from vlmrl.engine import decoding, scoring
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.distribution import TokenDistribution, Truncation
from vlmrl.engine.media import FrozenTower
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.models.load import Policy, load_policy
from vlmrl.types import Finish, Prompt

CPU = torch.device("cpu")
SETTINGS = SamplingSettings(TEMPERATURE, 7)
SEEDS = [[1, 2, 3], [4, 5, 6]]
MODES = {
    "full": ModelConfig(),
    "checkpointing": ModelConfig(gradient_checkpointing=True),
    "frozen tower": ModelConfig(train_tower=False, train_merger=False),
    "lora": ModelConfig(lora=LoraConfig(rank=4), gradient_checkpointing=True),
}


def load(folder: Path, mode: str = "full", **changes: object) -> Policy:
    policy = load_policy(replace(MODES[mode], path=str(folder), **changes), CPU, trainable=True)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:  # adapters start at zero, which would hide half of them
            parameter.data.normal_(0, 0.1)
    return policy


def gradient_of(
    engine: Engine, prompts: list[Prompt], completions: Completions, kept: KeptPasses | None = None
) -> Tensor:
    model = engine.policy.model
    model.zero_grad()
    scored = engine.logprobs(prompts, completions, TEMPERATURE, kept=kept)
    weights = torch.linspace(-1, 2, scored.logprobs_NT.numel()).reshape(scored.logprobs_NT.shape)
    (scored.logprobs_NT * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def error(ours: Tensor, oracle: Tensor) -> float:
    return ((ours - oracle).norm() / oracle.norm()).item()


def token_ids(groups: list) -> Completions:
    return [[completion.token_ids_T for completion in group] for group in groups]


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5", "gemma3"])
@pytest.mark.parametrize("mode", MODES)
def test_the_prompt_pass_of_sampling_serves_the_update(checkpoints: dict[str, Path], family: str, mode: str) -> None:
    policy = load(checkpoints[family], mode)
    prompts = prompts_of_two_sizes(policy)
    engine, kept = SharedEngine(policy, 10_000), KeptPasses(10_000)
    completions = token_ids(engine.sample(prompts, SETTINGS, SEEDS, kept))
    fused = gradient_of(engine, prompts, completions, kept)
    assert not kept.states
    assert error(fused, gradient_of(NaiveEngine(policy, 10_000), prompts, completions)) < 1e-5


def test_some_groups_of_a_kept_pass(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen3_vl"])
    prompts = [*prompts_of_two_sizes(policy), encode(policy, sample([picture(100, 60, 7)], "where"))]
    engine, kept = SharedEngine(policy, 10_000), KeptPasses(10_000)
    completions = token_ids(engine.sample(prompts, SETTINGS, [*SEEDS, [7, 8, 9]], kept))
    live, of_live = [prompts[2], prompts[0]], [completions[2], completions[0]]
    assert list(engine.passes(live, 3, 7, kept)) == [[1, 0]]
    fused = gradient_of(engine, live, of_live, kept)
    assert not kept.states
    assert error(fused, gradient_of(NaiveEngine(policy, 10_000), live, of_live)) < 1e-5
    engine.sample(prompts, SETTINGS, [*SEEDS, [7, 8, 9]], kept)
    assert list(engine.passes(prompts[:1], 3, 7, kept)) == [[0]]
    assert kept.rows(prompts[:1]) == [[]]  # one of three is cheaper to compute again


def test_kept_passes_keep_the_budget(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    prompts = prompts_of_two_sizes(policy)
    largest = max(len(prompt.token_ids_P) for prompt in prompts) + 3 * SETTINGS.max_tokens
    engine, kept = SharedEngine(policy, largest), KeptPasses(largest)
    completions = token_ids(engine.sample(prompts, SETTINGS, SEEDS, kept))
    assert [len(state.prompts) for state in kept.states] == [1]
    parts = list(engine.passes(prompts, 3, SETTINGS.max_tokens, kept))
    assert parts == [[0], [1]]
    gradient = sum(gradient_of(engine, [prompts[i]], [completions[i]], kept) for (i,) in parts)
    naive = sum(gradient_of(NaiveEngine(policy, 1), [prompts[i]], [completions[i]]) for (i,) in parts)
    assert error(gradient, naive) < 1e-5


def count_work(policy: Policy) -> dict[str, int]:
    calls = {"patches": 0, "rows": 0}
    base = policy.model.get_base_model() if policy.has_adapters else policy.model
    base.model.visual.register_forward_pre_hook(lambda m, args: calls.update(patches=calls["patches"] + len(args[0])))
    base.model.language_model.register_forward_pre_hook(
        lambda m, args, kwargs: calls.update(rows=calls["rows"] + kwargs["inputs_embeds"].shape[:2].numel()),
        with_kwargs=True,
    )
    return calls


def test_a_fused_step_runs_the_prompt_once(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"], "lora")
    prompt = prompts_of_two_sizes(policy)[0]
    policy.stop_ids = []
    calls = count_work(policy)
    engine, kept = SharedEngine(policy, 10_000), KeptPasses(10_000)
    completions = token_ids(engine.sample([prompt], SETTINGS, SEEDS[:1], kept))
    gradient_of(engine, [prompt], completions, kept)
    patches, size, branches = len(prompt.vision["pixel_values"]), len(prompt.token_ids_P), 3 * (SETTINGS.max_tokens - 1)
    assert calls == {"patches": patches, "rows": size + 2 * branches}
    with torch.no_grad(), policy.adapters_off():
        engine.logprobs([prompt], completions, TEMPERATURE)
    assert calls == {"patches": patches, "rows": 2 * size + 3 * branches}


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava_onevision", "idefics3"])
def test_features_are_encoded_once_and_stay_exact(checkpoints: dict[str, Path], family: str) -> None:
    policy = load(checkpoints[family], "frozen tower")
    prompts, completions = prompts_of_two_sizes(policy), ragged_completions(policy)
    engine = SharedEngine(policy, 10_000)
    twice = [gradients(engine, prompts, completions)[0] for _ in range(2)]
    naive, _ = gradients(NaiveEngine(policy, 10_000), prompts, completions)
    assert torch.equal(*twice)
    assert (twice[0] - naive).abs().max() < 1e-5


def test_features_survive_an_epoch_in_a_bounded_cache(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen3_vl"], "lora")
    calls = count_work(policy)
    tower = FrozenTower(cache_bytes=2**20)
    engine = SharedEngine(policy, 10_000, tower=tower)
    settings = replace(SETTINGS, max_tokens=2)
    first = token_ids(engine.sample(prompts_of_two_sizes(policy), settings, SEEDS))
    seen = calls["patches"]
    assert token_ids(engine.sample(prompts_of_two_sizes(policy), settings, SEEDS)) == first
    assert calls["patches"] == seen
    small = SharedEngine(policy, 10_000, tower=FrozenTower(cache_bytes=1))
    for _ in range(2):
        small.sample(prompts_of_two_sizes(policy), settings, SEEDS)
    assert calls["patches"] == 3 * seen


@pytest.mark.parametrize("mode", MODES)
def test_both_ways_to_share_a_prompt_agree(checkpoints: dict[str, Path], mode: str) -> None:
    policy = load(checkpoints["qwen2_5_vl"], mode)
    prompts, completions = prompts_of_two_sizes(policy), ragged_completions(policy)
    fast = gradient_of(SharedEngine(policy, 10_000), prompts, completions)
    slow = gradient_of(SharedEngine(policy, 10_000, fast_attention=False), prompts, completions)
    assert error(fast, slow) < 1e-5


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_bfloat16_is_as_good_as_naive(checkpoints: dict[str, Path], family: str, mode: str) -> None:
    exact_policy = load(checkpoints[family], mode)
    policy = load(checkpoints[family], mode, dtype="bfloat16")
    for theirs, ours in zip(policy.model.parameters(), exact_policy.model.parameters(), strict=True):
        ours.data.copy_(theirs.data)
    prompts = [encode(policy, sample([picture(96, 160, i)], "click", name=f"row-{i}")) for i in range(4)]
    completions = 2 * ragged_completions(policy)
    naive = NaiveEngine(policy, 10_000)
    exact = gradient_of(NaiveEngine(exact_policy, 10_000), prompts, completions)
    ours = gradient_of(SharedEngine(policy, 10_000), prompts, completions)
    assert error(ours, exact) <= 1.3 * error(gradient_of(naive, prompts, completions), exact)


def ending_early(policy: Policy) -> Policy:
    """Every fifth token ends the turn, so that rows finish at different times."""
    policy.stop_ids = torch.nonzero(~policy.banned_V)[::5, 0].tolist()
    return policy


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_5", "gemma3"])
def test_finished_rows_leave_without_changing_the_others(checkpoints: dict[str, Path], family: str) -> None:
    policy = ending_early(load_policy(ModelConfig(path=str(checkpoints[family])), CPU, trainable=False))
    prompts, seeds = prompts_of_two_sizes(policy), [[1, 2, 3, 4], [5, 6, 7, 8]]
    settings = SamplingSettings(3.0, 12)
    shared = SharedEngine(policy, 10_000).sample(prompts, settings, seeds)
    naive = NaiveEngine(policy, 10_000).sample(prompts, settings, seeds)
    assert token_ids(shared) == token_ids(naive)
    assert len({len(c.token_ids_T) for group in shared for c in group}) > 2
    for ours, oracle in zip(chain(*shared), chain(*naive), strict=True):
        assert ours.finish == oracle.finish
        assert torch.tensor(ours.logprobs_T).allclose(torch.tensor(oracle.logprobs_T), atol=1e-5)
        assert ours.entropy == pytest.approx(oracle.entropy, abs=1e-4)


def test_static_decoding_as_captured_graphs_need_it(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = ending_early(load_policy(ModelConfig(path=str(checkpoints["qwen3_vl"])), CPU, trainable=False))
    prompts, settings = prompts_of_two_sizes(policy), SamplingSettings(3.0, 12)
    engine = SharedEngine(policy, 10_000)
    expected = token_ids(engine.sample(prompts, settings, SEEDS))
    captures = []

    def replay(step: Callable, *example: Tensor) -> Callable:
        captures.append(example[0].shape)
        step(*example)  # the warm-up must leave no trace
        return step

    monkeypatch.setattr(decoding, "CapturedStep", replay)
    engine.cuda_graphs = True
    assert token_ids(engine.sample(prompts, settings, SEEDS)) == expected
    assert len(set(captures)) == len(captures) > 1


@pytest.mark.parametrize("truncation", [Truncation(top_k=5), Truncation(top_p=0.7), Truncation(min_p=0.2)])
def test_truncated_sampling_is_scored_alike(checkpoints: dict[str, Path], truncation: Truncation) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    prompts, engine = prompts_of_two_sizes(policy), SharedEngine(policy, 10_000)
    groups = engine.sample(prompts, replace(SETTINGS, truncation=truncation), SEEDS)
    sampled = torch.tensor([lp for group in groups for c in group for lp in c.logprobs_T])
    for other in (engine, NaiveEngine(policy, 10_000)):
        scored = other.logprobs(prompts, token_ids(groups), TEMPERATURE, truncation)
        assert sampled.allclose(scored.logprobs_NT[scored.mask_NT].detach(), atol=1e-5)
    untruncated = engine.logprobs(prompts, token_ids(groups), TEMPERATURE)
    assert (untruncated.logprobs_NT.detach() <= scored.logprobs_NT.detach() + 1e-5).all()


def test_what_truncation_keeps() -> None:
    logits_NV = torch.tensor([[0.4, 0.3, 0.2, 0.06, 0.04]]).log()
    kept = {
        Truncation(top_k=2): 2, Truncation(top_p=0.5): 2, Truncation(top_p=0.69): 2, Truncation(top_p=0.71): 3,
        Truncation(min_p=0.45): 3, Truncation(top_k=1, min_p=0.1): 1, Truncation(top_p=0.01): 1, Truncation(): 5,
    }  # fmt: skip
    for truncation, count in kept.items():
        distribution = TokenDistribution(torch.zeros(5, dtype=torch.bool), 1.0, truncation)
        assert distribution.logits(logits_NV).isfinite().sum() == count, truncation


def test_stop_strings_end_a_row_where_they_are_complete(checkpoints: dict[str, Path]) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints["qwen3_vl"])), CPU, trainable=False)
    policy.stop_ids = []
    prompts, engine = prompts_of_two_sizes(policy), SharedEngine(policy, 10_000)
    settings, decode = SamplingSettings(3.0, 40), policy.family.tokenizer.decode
    free = engine.sample(prompts, settings, SEEDS)
    stop = decode(free[0][0].token_ids_T[5:7])
    stopped = engine.sample(prompts, replace(settings, stop_strings=(stop,)), SEEDS)
    first = stopped[0][0]
    assert first.finish is Finish.STOP
    assert first.token_ids_T == free[0][0].token_ids_T[: len(first.token_ids_T)]
    assert stop in decode(first.token_ids_T)
    assert stop not in decode(first.token_ids_T[:-1])
    for ours, other in zip(chain(*stopped), chain(*free), strict=True):
        assert ours.token_ids_T == other.token_ids_T[: len(ours.token_ids_T)]
        assert (ours.finish is Finish.STOP) == (stop in decode(other.token_ids_T))


def test_a_stop_string_counts_although_every_row_ended_before_it_was_searched_for(checkpoints: dict[str, Path]) -> None:
    policy = ending_early(load_policy(ModelConfig(path=str(checkpoints["qwen3_vl"])), CPU, trainable=False))
    prompts, engine = prompts_of_two_sizes(policy), SharedEngine(policy, 10_000)
    settings, decode = SamplingSettings(3.0, 12), policy.family.tokenizer.decode
    free = list(chain(*engine.sample(prompts, settings, SEEDS)))
    longest = max(free, key=lambda c: len(c.token_ids_T))
    assert 3 < len(longest.token_ids_T) < 12
    stop = decode(longest.token_ids_T[1:3])
    stopped = list(chain(*engine.sample(prompts, replace(settings, stop_strings=(stop,)), SEEDS)))
    cut = stopped[free.index(longest)]
    assert cut.token_ids_T == longest.token_ids_T[: len(cut.token_ids_T)]
    assert len(cut.token_ids_T) <= 3
    assert cut.finish is Finish.STOP


@pytest.mark.parametrize("lora", [0, 4])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm"])
def test_the_last_layer_computes_one_token_of_a_prompt(checkpoints: dict[str, Path], family: str, lora: int) -> None:
    config = ModelConfig(path=str(checkpoints[family]), lora=LoraConfig(rank=lora))
    policy = load_policy(config, CPU, trainable=True)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.1)
    prompts, completions = prompts_of_two_sizes(policy), ragged_completions(policy)
    rows: list[tuple[int, ...]] = []
    first, *_, last = policy.decoder_layers()
    hooks = [
        layer.mlp.down_proj.register_forward_hook(lambda module, args, out: rows.append(tuple(out.shape[:2])))
        for layer in (first, last)
    ]
    longest = max(len(prompt.token_ids_P) for prompt in prompts)
    shared = SharedEngine(policy, 10_000)
    shared.prompt_pass(prompts)
    assert rows == [(2, longest), (2, 1)]
    for hook in hooks:
        hook.remove()
    ours = gradient_of(shared, prompts, completions)
    assert error(ours, gradient_of(NaiveEngine(policy, 10_000), prompts, completions)) < 1e-5


def test_scoring_in_chunks(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    prompts, completions = prompts_of_two_sizes(policy), ragged_completions(policy)
    engine = SharedEngine(policy, 10_000)
    whole = gradient_of(engine, prompts, completions)
    monkeypatch.setattr(scoring, "CHUNK_ELEMENTS", 4 * len(policy.banned_V))
    assert error(gradient_of(engine, prompts, completions), whole) < 1e-6


def test_entropy_is_that_of_sampling(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    prompts, engine = prompts_of_two_sizes(policy), SharedEngine(policy, 10_000)
    groups = engine.sample(prompts, SETTINGS, SEEDS)
    scored = engine.logprobs(prompts, token_ids(groups), TEMPERATURE)
    means = scored.entropy_NT.sum(1) / scored.mask_NT.sum(1)
    assert means.tolist() == pytest.approx([c.entropy for group in groups for c in group], abs=1e-4)


@pytest.mark.parametrize("engine_type", [SharedEngine, NaiveEngine])
def test_an_empty_completion_scores_nothing(checkpoints: dict[str, Path], engine_type: type[Engine]) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    prompts, words = prompts_of_two_sizes(policy)[:1], ragged_completions(policy)[1][0]
    scored = engine_type(policy, 10_000).logprobs(prompts, [[[], words]], TEMPERATURE)
    assert scored.mask_NT.tolist() == [[False, False], [True, True]]
    assert engine_type(policy, 10_000).logprobs(prompts, [[[], []]], TEMPERATURE).logprobs_NT.shape == (2, 0)


def test_sampling_out_of_memory_goes_on_in_halves(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(checkpoints["qwen3_vl"])
    prompts, engine, kept = prompts_of_two_sizes(policy), SharedEngine(policy, 10_000), KeptPasses(10_000)
    expected = token_ids(engine.sample(prompts, SETTINGS, SEEDS))
    decode = SharedEngine.decode

    def decode_one(self: SharedEngine, state: object, *args: object) -> list:
        if len(state.prompts) > 1:
            raise torch.OutOfMemoryError
        return decode(self, state, *args)

    monkeypatch.setattr(SharedEngine, "decode", decode_one)
    assert token_ids(engine.sample(prompts, SETTINGS, SEEDS, kept)) == expected
    assert engine.split_passes == 1
    assert [len(state.prompts) for state in kept.states] == [1, 1]
    monkeypatch.setattr(SharedEngine, "decode", lambda *args: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(UserError, match=r"single group.*rollout\.group_size"):
        engine.sample(prompts[:1], SETTINGS, SEEDS[:1])


def test_what_cannot_be_exact_is_refused(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    engine, prompts = SharedEngine(policy, 10_000), prompts_of_two_sizes(policy)
    with pytest.raises(UserError, match=r"row row-0: a prompt of \d+ tokens.*model\.max_pixels"):
        engine.sample(prompts, replace(SETTINGS, max_tokens=5000), SEEDS)
    layer = policy.model.model.language_model.layers[0].self_attn
    layer.attention_dropout = 0.1
    with pytest.raises(UserError, match=r"attention dropout is 0\.1"):
        engine.sample(prompts, SETTINGS, SEEDS)
    layer.attention_dropout = 0.0
    layer.forward = lambda hidden_states, **kwargs: (hidden_states, None)
    with pytest.raises(UserError, match=r"layer 0.*attention interface.*engine\.kind=naive"):
        engine.sample(prompts, SETTINGS, SEEDS)
    policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    with pytest.raises(UserError, match=r"reentrant.*use_reentrant.*False"):
        SharedEngine(policy, 10_000)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [("final_logit_softcapping", 30.0, r"softly.*naive"), ("output_router_logits", True, r"router loss.*false")],
)
def test_outputs_that_are_not_the_head_alone_are_refused(
    checkpoints: dict[str, Path], setting: str, value: object, message: str
) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    setattr(policy.text_config, setting, value)
    with pytest.raises(UserError, match=message):
        SharedEngine(policy, 10_000)
