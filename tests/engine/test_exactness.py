"""The shared-prompt engine equals the naive computation: log-probs and every parameter's gradient."""

from pathlib import Path

import pytest
import torch

from tests.engine.groups import TEMPERATURE, assert_engines_agree, prompts_of_two_sizes, ragged_completions
from tests.random_models import FAMILIES
from vlmrl.config import LoraConfig, ModelConfig
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.engine.self_check import require_agreement
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.models.load import load_policy

CPU = torch.device("cpu")
SETTINGS = SamplingSettings(temperature=TEMPERATURE, max_tokens=7)


TRAINED = {
    "full": {},
    "frozen-tower": {"train_tower": False},
    "language-only": {"train_tower": False, "train_merger": False},
    "lora": {"lora": LoraConfig(rank=4)},
}
"""Which parts of the model are trained."""


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointing"])
@pytest.mark.parametrize("trained", TRAINED)
@pytest.mark.parametrize("family", FAMILIES)
def test_shared_equals_naive(checkpoints: dict[str, Path], family: str, trained: str, checkpointing: bool) -> None:
    config = ModelConfig(path=str(checkpoints[family]), gradient_checkpointing=checkpointing, **TRAINED[trained])
    torch.manual_seed(0)
    policy = load_policy(config, CPU, trainable=True)
    with torch.no_grad():  # adapters start at zero, which would hide half of them from the comparison
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    assert_engines_agree(policy, prompts_of_two_sizes(policy), ragged_completions(policy))


@pytest.mark.parametrize("family", FAMILIES)
def test_sampled_logprobs_are_those_of_the_training_forward(checkpoints: dict[str, Path], family: str) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints[family])), CPU, trainable=True)
    prompts = prompts_of_two_sizes(policy)
    engine = SharedEngine(policy, 10_000)
    groups = engine.sample(prompts, SETTINGS, [[1, 2, 3], [4, 5, 6]])
    scored = engine.logprobs(prompts, [[c.token_ids_T for c in g] for g in groups], TEMPERATURE)
    sampled = [lp for group in groups for completion in group for lp in completion.logprobs_T]
    assert torch.allclose(torch.tensor(sampled), scored.logprobs_NT[scored.mask_NT].detach(), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_engines_sample_the_same_tokens(checkpoints: dict[str, Path], family: str) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints[family])), CPU, trainable=False)
    prompts, seeds = prompts_of_two_sizes(policy), [[1, 2], [3, 4]]
    shared = SharedEngine(policy, 10_000).sample(prompts, SETTINGS, seeds)
    naive = NaiveEngine(policy, 10_000).sample(prompts, SETTINGS, seeds)
    assert [[c.token_ids_T for c in g] for g in shared] == [[c.token_ids_T for c in g] for g in naive]


def test_a_rows_tokens_do_not_depend_on_how_the_batch_is_split(checkpoints: dict[str, Path]) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints["qwen3_vl"])), CPU, trainable=False)
    prompts, seeds = prompts_of_two_sizes(policy), [[1, 2], [3, 4]]
    together = SharedEngine(policy, 10_000).sample(prompts, SETTINGS, seeds)
    apart = SharedEngine(policy, 1).sample(prompts, SETTINGS, seeds)
    assert [[c.token_ids_T for c in g] for g in together] == [[c.token_ids_T for c in g] for g in apart]


def test_prompt_and_tower_are_computed_once(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints["qwen2_5_vl"])), CPU, trainable=True)
    calls = {"processor": 0, "patches": 0, "rows": 0}
    processor_call = type(policy.family.processor).__call__

    def counted(self: object, *args: object, **kwargs: object) -> object:
        calls["processor"] += 1
        return processor_call(self, *args, **kwargs)

    monkeypatch.setattr(type(policy.family.processor), "__call__", counted)
    core = policy.model.model
    core.visual.register_forward_pre_hook(lambda m, args: calls.update(patches=calls["patches"] + len(args[0])))
    core.language_model.register_forward_pre_hook(
        lambda m, args, kwargs: calls.update(rows=calls["rows"] + kwargs["inputs_embeds"].shape[:2].numel()),
        with_kwargs=True,
    )
    prompts, completions = prompts_of_two_sizes(policy), ragged_completions(policy)
    patches = sum(len(prompt.vision["pixel_values"]) for prompt in prompts)
    longest = max(len(prompt.token_ids_P) for prompt in prompts)
    SharedEngine(policy, 10_000).logprobs(prompts, completions, TEMPERATURE)
    assert calls == {"processor": 2, "patches": patches, "rows": 2 * longest + 6 * 5}


def test_banned_tokens_are_never_sampled(checkpoints: dict[str, Path]) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints["qwen2_vl"])), CPU, trainable=False)
    tokenizer = policy.family.tokenizer
    banned = {"<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>", "<|im_start|>"}
    assert banned <= set(tokenizer.convert_ids_to_tokens(torch.nonzero(policy.banned_V)[:, 0].tolist()))
    assert not policy.banned_V[tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|box_start|>"])].any()
    assert policy.banned_V[len(tokenizer) :].all()
    groups = SharedEngine(policy, 10_000).sample(
        prompts_of_two_sizes(policy), SamplingSettings(50.0, 40), [list(range(20)), list(range(20))]
    )
    tokens = torch.tensor([t for group in groups for c in group for t in c.token_ids_T])
    assert len(tokens) > 500
    assert not policy.banned_V[tokens].any()


def test_self_check_refuses_a_wrong_engine(checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    policy = load_policy(ModelConfig(path=str(checkpoints["qwen3_vl"])), CPU, trainable=True)
    prompt, completions = prompts_of_two_sizes(policy)[0], ragged_completions(policy)[0]
    assert require_agreement(policy, prompt, completions, TEMPERATURE).logprob < 1e-5
    right = policy.family.next_positions
    monkeypatch.setattr(policy.family, "next_positions", lambda start, length: right(start + 1, length))
    with pytest.raises(UserError, match=r"engine\.kind=naive"):
        require_agreement(policy, prompt, completions, TEMPERATURE)
