"""`vlmrl bench rollout`: sampled tokens per second of one prompt's group, by vlmrl, HF generate and vLLM."""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vlmrl.bench.loops import hf_generate
from vlmrl.bench.meter import Meter
from vlmrl.bench.sides import Completions, Ours
from vlmrl.bench.step import Say, Spread, quiet_libraries
from vlmrl.bench.workload import ModelChoice, Setting, Workload, bench_policy, make_workload
from vlmrl.models.load import Policy

Sampler = Callable[[], Completions]
VLLM_MISSING = "vllm is not installed: its rollout is left out (pip install vllm, on a machine with a GPU)"
VLLM_MEMORY_SHARE = 0.4
"""Of the GPU's memory, beside the model that the other sides use."""


@dataclass
class SamplerResult:
    """What one sampler did at one setting."""

    name: str
    counts: dict[str, Any] | None
    """Exact; None for vLLM, which runs its own model."""
    seconds: list[float]
    decode_seconds: list[float]
    """The loop over new tokens alone, without processor, vision tower and prompt; empty for vLLM."""


@dataclass
class RolloutResult:
    """All samplers at one setting."""

    setting: Setting
    samplers: list[SamplerResult]

    @property
    def tokens(self) -> int:
        return self.setting.C * self.setting.G

    def tokens_per_second(self, sampler: SamplerResult) -> float:
        return self.tokens / statistics.median(sampler.seconds)

    def decoded_per_second(self, sampler: SamplerResult) -> float:
        """The prompt's forward gives every completion its first token; the others are decoded."""
        return (self.tokens - self.setting.G) / statistics.median(sampler.decode_seconds)

    def ratio(self, sampler: SamplerResult) -> Spread:
        return _ratios(sampler.seconds, self.samplers[0].seconds)

    def decode_ratio(self, sampler: SamplerResult) -> Spread:
        return _ratios(sampler.decode_seconds, self.samplers[0].decode_seconds)

    def record(self) -> list[dict[str, Any]]:
        """One object per sampler, for the JSON file."""
        return [
            {
                "peer": sampler.name,
                "setting": asdict(self.setting),
                "tokens_per_second": self.tokens_per_second(sampler),
                "ratio_median": self.ratio(sampler).median,
                "ratio_min": self.ratio(sampler).low,
                "ratio_max": self.ratio(sampler).high,
                "decode_ratio_median": self.decode_ratio(sampler).median if sampler.decode_seconds else None,
                "counts": sampler.counts,
                "seconds": sampler.seconds,
                "decode_seconds": sampler.decode_seconds,
            }
            for sampler in self.samplers
        ]


def run_rollouts(
    model: ModelChoice, settings: Sequence[Setting], repetitions: int, say: Say
) -> Iterator[RolloutResult]:
    """Measures the settings one after the other; samplers alternate within each repetition."""
    quiet_libraries()
    say(f"model: {model.name}")
    policy = bench_policy(model)
    policy.model.eval()
    if policy.device.type == "cpu":
        torch.set_num_threads(1)
    meter = Meter(policy)
    vllm = None
    if not importlib.util.find_spec("vllm"):
        say(VLLM_MISSING)
    elif policy.device.type == "cuda":
        vllm = VllmSampler(policy)
    else:
        say("vllm samples on a GPU only: its rollout is left out")
    for setting in settings:
        workload = make_workload(policy, setting)
        samplers = _samplers(policy, workload, meter)
        if vllm is not None:
            samplers["vllm"] = vllm.sampler(workload)
        results = {name: SamplerResult(name, None, [], []) for name in samplers}
        for repetition in range(-1, repetitions):
            for name, sample in samplers.items():
                say(f"{setting}: {name}, {f'repetition {repetition + 1}' if repetition >= 0 else 'warm-up'}")
                _time(name, sample, results[name], meter, workload, warm_up=repetition < 0)
        yield RolloutResult(setting, list(results.values()))


def _time(name: str, sample: Sampler, result: SamplerResult, meter: Meter, workload: Workload, warm_up: bool) -> None:
    setting = workload.setting
    # vLLM runs its own processes: only the wall sees them
    outside = name == "vllm"
    start, wall = meter.clock.mark(), time.perf_counter()
    meter.start(setting.P)
    with meter.counted_step() if warm_up else nullcontext():
        completions = sample()
    phases = meter.phases()
    seconds = time.perf_counter() - wall if outside else meter.clock.seconds(start, meter.clock.mark())
    lengths = [len(row) for row in completions]
    if lengths != [setting.C] * setting.G:
        raise RuntimeError(f"{name} drew completions of {lengths} tokens at {setting}: samplers are not comparable")
    if warm_up:
        result.counts = None if outside else meter.counts()
        return
    result.seconds.append(seconds)
    if not outside:
        result.decode_seconds.append(phases["decode"])


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(theirs, ours, strict=True)])


def _samplers(policy: Policy, workload: Workload, meter: Meter) -> dict[str, Sampler]:
    side = Ours(policy, workload, meter)
    side.warm_up()

    def ours() -> Completions:
        side.prepare()
        return side.rollout()

    def generate() -> Completions:
        with meter.section("process"):
            prompt = workload.encode(policy)
            inputs = {key: value.to(policy.device) for key, value in policy.family.collate([prompt]).items()}
        with meter.section("decode"):
            rows = hf_generate(side, inputs, num_return_sequences=workload.setting.G)
        policy.model.eval()
        return rows.tolist()

    return {"vlmrl": ours, "hf generate": generate}


class VllmSampler:
    """vLLM on the same weights, written to a temporary checkpoint folder."""

    def __init__(self, policy: Policy) -> None:
        from vllm import LLM

        self.policy = policy
        self.folder = tempfile.TemporaryDirectory(prefix="vlmrl-bench-")
        model: Any = policy.model
        model.save_pretrained(self.folder.name)
        policy.family.processor.save_pretrained(self.folder.name)
        self.llm = LLM(
            self.folder.name,
            dtype=str(policy.compute_dtype).removeprefix("torch."),
            gpu_memory_utilization=VLLM_MEMORY_SHARE,
            # its caches would keep the measured prompt from one repetition to the next
            enable_prefix_caching=False,
            mm_processor_cache_gb=0,
        )

    def sampler(self, workload: Workload) -> Sampler:
        from vllm import SamplingParams

        banned = torch.nonzero(self.policy.banned_V)[:, 0].tolist()
        settings = SamplingParams(
            n=workload.setting.G,
            temperature=1.0,
            max_tokens=workload.setting.C,
            ignore_eos=True,
            logit_bias=dict.fromkeys(banned, -100.0),
        )
        text = workload.encode(self.policy).text
        request: Mapping[str, Any] = {"prompt": text, "multi_modal_data": {"image": workload.sample.images[0]}}

        def sample() -> Completions:
            output = self.llm.generate([request], settings, use_tqdm=False)[0]
            return [list(completion.token_ids) for completion in output.outputs]

        return sample
