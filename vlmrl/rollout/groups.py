"""From samples to scored groups: encode, sample, parse, score. Training and evaluation share this path."""

from collections.abc import Mapping, Sequence

from vlmrl.config import RolloutConfig
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.distribution import Truncation
from vlmrl.engine.sampling import Completion, SamplingSettings
from vlmrl.models.load import Policy
from vlmrl.task import Task, score_group
from vlmrl.types import Group, Prompt, Rollout, Sample


def truncation(rollout: RolloutConfig) -> Truncation:
    return Truncation(rollout.top_k, rollout.top_p, rollout.min_p)


def sampling_settings(rollout: RolloutConfig) -> SamplingSettings:
    """How training draws completions."""
    return SamplingSettings(
        rollout.temperature, rollout.max_completion_tokens, truncation(rollout), rollout.stop_strings
    )


def encode(policy: Policy, task: Task, samples: Sequence[Sample]) -> list[Prompt]:
    """One processor call per sample."""
    convention = policy.family.convention
    return [policy.family.encode(sample, task.request(sample, convention)) for sample in samples]


def make_rollout(policy: Policy, task: Task, prompt: Prompt, completion: Completion) -> Rollout:
    """Decodes and parses a completion."""
    ids = completion.token_ids_T
    spoken = ids[:-1] if ids and ids[-1] in policy.stop_ids else ids
    # special tokens stay: some families write their answers with them
    text = policy.family.tokenizer.decode(spoken, skip_special_tokens=False)
    return Rollout(
        token_ids_T=ids,
        logprobs_T=completion.logprobs_T,
        entropy=completion.entropy,
        text=text,
        finish=completion.finish,
        answer=task.parse(text, completion.finish, prompt.sample, policy.family.convention),
    )


def sample_groups(
    engine: Engine,
    task: Task,
    samples: Sequence[Sample],
    settings: SamplingSettings,
    seeds: Sequence[Sequence[int]],
    weights: Mapping[str, float],
    ids: Sequence[str],
    kept: KeptPasses | None = None,
) -> list[Group]:
    """One scored group per sample; `seeds[i]` holds one seed per member and `ids[i]` names the group.

    `kept` collects the prompt passes for an update on the same weights.
    """
    prompts = encode(engine.policy, task, samples)
    completions_PG = engine.sample(prompts, settings, seeds, kept)
    groups = [
        Group(id_, prompt, [make_rollout(engine.policy, task, prompt, completion) for completion in completions])
        for id_, prompt, completions in zip(ids, prompts, completions_PG, strict=True)
    ]
    for group in groups:
        score_group(task, group, weights)
    return groups
