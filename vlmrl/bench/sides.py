"""The sides of a comparison: each does one whole step, from a decoded picture and its text to gradients."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from vlmrl.bench.meter import Meter
from vlmrl.bench.workload import Workload
from vlmrl.engine.attention import IMPLEMENTATION
from vlmrl.engine.base import KeptPasses
from vlmrl.engine.sampling import SamplingSettings
from vlmrl.engine.shared import SharedEngine
from vlmrl.models.load import Policy
from vlmrl.types import Prompt

Completions = list[list[int]]
PLAIN_ATTENTION = "sdpa"
"""Peers run transformers' own attention on the model that the engine switches to shared prompts."""
MAX_TOKENS_PER_PASS = 1 << 30
"""A step of the benchmark is one prompt and is never split."""


def policy_loss(logprobs_GT: Tensor, advantages_G: Tensor) -> Tensor:
    """The GRPO loss of the step in which the policy is the one that sampled: the ratio is 1 and has a gradient."""
    ratio_GT = (logprobs_GT - logprobs_GT.detach()).exp()
    return -(advantages_G[:, None].to(ratio_GT) * ratio_GT).mean()


class Side(ABC):
    """One way to compute a step on a policy that all sides share."""

    name: ClassVar[str]

    def __init__(self, policy: Policy, workload: Workload, meter: Meter) -> None:
        self.policy, self.workload, self.meter = policy, workload, meter
        self.advantages_G = workload.advantages.to(policy.device)

    def prepare(self) -> None:
        """What a training run does once and not in every step; called before each step, outside its time."""
        self.policy.model.train()
        self.policy.use_attention(PLAIN_ATTENTION)

    @abstractmethod
    def step(self) -> Completions:
        """Samples G completions of C tokens and accumulates the loss's gradient; returns the completions."""


class Ours(Side):
    """vlmrl's engine, as training runs it."""

    name = "vlmrl"

    def __init__(self, policy: Policy, workload: Workload, meter: Meter) -> None:
        super().__init__(policy, workload, meter)
        self.seed = 0
        self.running = SharedEngine(policy, MAX_TOKENS_PER_PASS, cuda_graphs=True)
        # replays of captured and recorded steps run no hooks
        self.counted = SharedEngine(policy, MAX_TOKENS_PER_PASS, recorded_steps=False)

    @property
    def engine(self) -> SharedEngine:
        return self.counted if self.meter.counting else self.running

    def prepare(self) -> None:
        super().prepare()
        self.policy.use_attention(IMPLEMENTATION)

    def warm_up(self) -> None:
        """Rollouts until no decoding step is recorded any more, as in a run after its first moments."""
        recorded = self.running.recorded
        decodes = self.workload.setting.C > 1  # the prompt pass gives the first token
        while decodes and recorded is not None and not recorded.settled:
            self.prepare()
            self.rollout()

    def step(self) -> Completions:
        with self.meter.section("process"):
            prompt = self.workload.encode(self.policy)
        with self.meter.section("decode"):
            kept = KeptPasses(MAX_TOKENS_PER_PASS)
            completions = self._sample(prompt, kept)
        with self.meter.section("score"):
            scored = self.engine.logprobs([prompt], [completions], temperature=1.0, kept=kept)
            loss = policy_loss(scored.logprobs_NT, self.advantages_G)
        loss.backward()
        return completions

    def rollout(self) -> Completions:
        """The rollout alone."""
        with self.meter.section("process"):
            prompt = self.workload.encode(self.policy)
        with self.meter.section("decode"):
            return self._sample(prompt)

    def _sample(self, prompt: Prompt, kept: KeptPasses | None = None) -> Completions:
        setting = self.workload.setting
        settings = SamplingSettings(temperature=1.0, max_tokens=setting.C)
        seeds = [self.seed + member for member in range(setting.G)]
        self.seed += setting.G
        return [row.token_ids_T for row in self.engine.sample([prompt], settings, [seeds], kept)[0]]
