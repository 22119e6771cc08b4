"""`vlmrl bench step`: whole GRPO steps of vlmrl and its peers, alternating in one process."""

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import transformers

from vlmrl.bench.gradient_check import GradientError, gradient_error
from vlmrl.bench.limit_model import ModelShape, StepShape, step_costs
from vlmrl.bench.loops import Loop, LoopOnce
from vlmrl.bench.meter import Meter
from vlmrl.bench.peak_memory import peak_memory
from vlmrl.bench.sides import Ours, Side
from vlmrl.bench.trl_peer import Trl
from vlmrl.bench.workload import ModelChoice, Setting, Workload, bench_policy, make_workload
from vlmrl.errors import UserError
from vlmrl.models.load import Policy

SIDES: Mapping[str, type[Side]] = {side.name: side for side in (Ours, Trl, Loop, LoopOnce)}
PEERS = tuple(name for name in SIDES if name != Ours.name)

Say = Callable[[str], None]
"""Shows the progress of a benchmark."""


@dataclass(frozen=True)
class Spread:
    """Median and extremes over the repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        median, low, high = (f"{x:.1f}" if x >= 10 else f"{x:.2f}" for x in (self.median, self.low, self.high))
        return f"{median} [{low}..{high}]"


@dataclass
class SideResult:
    """What one side did at one setting."""

    name: str
    counts: dict[str, Any]
    """Exact; the same in every repetition."""
    phases: dict[str, float]
    """Median seconds by phase."""
    seconds: list[float]
    """Process CPU time on a CPU, CUDA events on a GPU; one per repetition."""
    wall_seconds: list[float]
    operations: float
    """By the limit model."""
    peak_memory: int | None = None
    """Bytes above the idle model with gradients allocated."""


@dataclass
class SettingResult:
    """All sides at one setting."""

    setting: Setting
    gradient: GradientError
    ideal_operations: float
    ours: SideResult
    peers: list[SideResult] = field(default_factory=list)

    def ratio(self, peer: SideResult) -> Spread:
        """How many times vlmrl's time the peer needs, repetition by repetition."""
        return Spread.of([theirs / ours for theirs, ours in zip(peer.seconds, self.ours.seconds, strict=True)])

    def wall_ratio(self, peer: SideResult) -> Spread:
        pairs = zip(peer.wall_seconds, self.ours.wall_seconds, strict=True)
        return Spread.of([theirs / ours for theirs, ours in pairs])

    def limit(self, peer: SideResult) -> float:
        """The ratio an engine would reach that computes nothing but the ideal step, as efficiently as the peer."""
        return peer.operations / self.ideal_operations

    def record(self) -> list[dict[str, Any]]:
        """One object per peer, for the JSON file."""
        return [
            {
                "peer": peer.name,
                "setting": asdict(self.setting),
                "no_gain_expected": self.setting.gains_nothing,
                "ratio_median": self.ratio(peer).median,
                "ratio_min": self.ratio(peer).low,
                "ratio_max": self.ratio(peer).high,
                "wall_ratio_median": self.wall_ratio(peer).median,
                "limit_ratio": self.limit(peer),
                "share_of_limit": self.ratio(peer).median / self.limit(peer),
                "gradient_error": self.gradient.error,
                "gradient_tolerance": self.gradient.tolerance,
                "seconds": {side.name: side.seconds for side in (self.ours, peer)},
                "wall_seconds": {side.name: side.wall_seconds for side in (self.ours, peer)},
                "counts": {side.name: side.counts for side in (self.ours, peer)},
                "phases": {side.name: side.phases for side in (self.ours, peer)},
                "peak_memory": {side.name: side.peak_memory for side in (self.ours, peer)},
            }
            for peer in self.peers
        ]


def run_steps(
    model: ModelChoice, settings: Sequence[Setting], peers: Sequence[str], repetitions: int, say: Say
) -> Iterator[SettingResult]:
    """Measures the settings one after the other, on one model.

    Raises UserError for a model or setting that cannot be measured, and for a step whose gradient is wrong.
    """
    quiet_libraries()
    say(f"model: {model.name}")
    policy = bench_policy(model)
    if policy.device.type == "cpu":
        torch.set_num_threads(1)
    meter = Meter(policy)
    for setting in settings:
        workload = make_workload(policy, setting)
        ours = Ours(policy, workload, meter)
        say(f"{setting}: warm-up")
        ours.warm_up()
        say(f"{setting}: gradient against the naive computation")
        gradient = gradient_error(ours)
        say(f"{setting}: {gradient}")
        gradient.require(setting)
        sides = [ours, *(SIDES[name](policy, workload, meter) for name in peers)]
        results = _measure(sides, meter, repetitions, say)
        ideal = _add_operations(results, policy, workload, model)
        for result in results:
            say(f"{setting}: peak memory of {result.name}, in a process of its own")
            result.peak_memory = peak_memory(result.name, model, setting)
        yield SettingResult(setting, gradient, ideal, results[0], results[1:])


def _measure(sides: Sequence[Side], meter: Meter, repetitions: int, say: Say) -> list[SideResult]:
    """Sides alternate within each repetition, so that whatever slows the machine down slows all of them."""
    setting = sides[0].workload.setting
    results = [SideResult(side.name, {}, {}, [], [], 0.0) for side in sides]
    phases: list[list[dict[str, float]]] = [[] for _ in sides]
    for repetition in range(-1, repetitions):
        for side, result, split in zip(sides, results, phases, strict=True):
            label = f"repetition {repetition + 1}/{repetitions}" if repetition >= 0 else "warm-up and counts"
            say(f"{setting}: {label}, {side.name}")
            side.policy.model.zero_grad(set_to_none=True)  # as training begins a step
            if repetition < 0:
                result.counts = _counted_step(side, meter)
                continue
            side.prepare()
            wall = time.perf_counter()
            start = meter.clock.mark()
            meter.start(setting.P)
            side.step()
            split.append(meter.phases())
            result.seconds.append(meter.clock.seconds(start, meter.clock.mark()))
            result.wall_seconds.append(time.perf_counter() - wall)
    for result, split in zip(results, phases, strict=True):
        result.phases = {phase: statistics.median(step[phase] for step in split) for phase in split[0]}
    return results


def _counted_step(side: Side, meter: Meter) -> dict[str, Any]:
    """Runs one step and returns what it computed. Raises RuntimeError if it drew other than G x C tokens."""
    setting = side.workload.setting
    meter.start(setting.P)
    with meter.counted_step():
        side.prepare()
        completions = side.step()
    lengths = [len(row) for row in completions]
    if lengths != [setting.C] * setting.G:
        raise RuntimeError(f"{side.name} drew completions of {lengths} tokens at {setting}: sides are not comparable")
    return meter.counts()


def _add_operations(results: Sequence[SideResult], policy: Policy, workload: Workload, model: ModelChoice) -> float:
    """Fills in every side's operations; returns those of the ideal step."""
    costs = step_costs(ModelShape.of(policy.model, policy.family), step_shape(policy, workload, model))
    for result in results:
        result.operations = costs["ideal" if result.name == Ours.name else result.name].total
    return costs["ideal"].total


def step_shape(policy: Policy, workload: Workload, model: ModelChoice) -> StepShape:
    setting, prompt = workload.setting, workload.encode(policy)
    return StepShape(
        P=setting.P,
        C=setting.C,
        G=setting.G,
        patches=len(prompt.vision["pixel_values"]),
        image_tokens=int(prompt.vision["mm_token_type_ids"].count_nonzero()),
        lora=model.lora,
        checkpointing=model.checkpointing,
        trl_scores_prompt=policy.device.type == "cpu",
    )


def quiet_libraries() -> None:
    """Deprecation notes of the peers' own code would drown the table."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers|trl|peft")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def check_peers(names: Sequence[str], known: Sequence[str]) -> None:
    """Raises UserError for a peer there is none of."""
    for name in names:
        if name not in known:
            raise UserError(f"--peers {name}: no such peer; there are {', '.join(known)}")
