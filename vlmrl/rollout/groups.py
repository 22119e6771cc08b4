"""From samples to scored groups: encode, sample, parse, score. Training and evaluation share this path."""

from collections.abc import Sequence

from vlmrl.config import RolloutConfig
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.distribution import Truncation
from vlmrl.engine.sampling import Completion, SamplingSettings
from vlmrl.models.load import Policy
from vlmrl.task import Task, score_group
from vlmrl.task_mix import TaskMix
from vlmrl.types import Group, Prompt, Rollout, Sample


def truncation(rollout: RolloutConfig) -> Truncation:
    return Truncation(rollout.top_k, rollout.top_p, rollout.min_p)


def sampling_settings(rollout: RolloutConfig) -> SamplingSettings:
    """How training draws completions."""
    return SamplingSettings(
        rollout.temperature, rollout.max_completion_tokens, truncation(rollout), rollout.stop_strings
    )


def encode(policy: Policy, mix: TaskMix, samples: Sequence[Sample]) -> list[Prompt]:
    """One processor call per sample."""
    convention = policy.family.convention
    return [policy.family.encode(sample, mix.of(sample).task.request(sample, convention)) for sample in samples]


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
    mix: TaskMix,
    samples: Sequence[Sample],
    settings: SamplingSettings,
    seeds: Sequence[Sequence[int]],
    ids: Sequence[str],
    kept: KeptPasses | None = None,
) -> list[Group]:
    """One group per sample, scored by its own task; `seeds[i]` holds one seed per member and `ids[i]` names the group.

    `kept` collects the prompt passes for an update on the same weights.
    """
    prompts = encode(engine.policy, mix, samples)
    completions_PG = engine.sample(prompts, settings, seeds, kept)
    groups = []
    for id_, prompt, completions in zip(ids, prompts, completions_PG, strict=True):
        part = mix.of(prompt.sample)
        rollouts = [make_rollout(engine.policy, part.task, prompt, completion) for completion in completions]
        groups.append(Group(id_, prompt, rollouts))
        score_group(part.task, groups[-1], part.weights)
    return groups
