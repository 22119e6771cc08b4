"""Recorded decoding steps: the same numbers as the model's modules, or not used."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.engine.groups import encode, picture, prompts_of_two_sizes, sample
from vlmrl.config import LoraConfig, ModelConfig
from vlmrl.engine import recorded
from vlmrl.engine.recorded import RecordedSteps
from vlmrl.engine.sampling import Completion, SamplingSettings
from vlmrl.engine.shared import SharedEngine
from vlmrl.models.load import Policy, load_policy
from vlmrl.types import Prompt

CPU = torch.device("cpu")
SEEDS = [[1, 2, 3, 4], [5, 6, 7, 8]]
SETTINGS = SamplingSettings(3.0, 12)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "PLAIN_STEPS", 2)
    monkeypatch.setattr(recorded, "COMPARED_STEPS", 2)


def load(folder: Path, trainable: bool = False, **changes: object) -> Policy:
    """A policy of which every fifth token ends the turn, so that rows finish at different times."""
    policy = load_policy(ModelConfig(path=str(folder), **changes), CPU, trainable=trainable)
    policy.stop_ids = torch.nonzero(~policy.banned_V)[::5, 0].tolist()
    return policy


def replays(engine: SharedEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every replay from now on."""
    assert engine.recorded is not None
    rows: list[int] = []

    def counted(replay: Callable) -> Callable:
        return lambda *inputs: (rows.append(len(inputs[0])), replay(*inputs))[1]

    for recording in engine.recorded.recordings.values():
        assert recording.replay is not None
        monkeypatch.setattr(recording, "replay", counted(recording.replay))
    return rows


def drawn(engine: SharedEngine, prompts: list[Prompt], seeds: list[list[int]] = SEEDS) -> list[Completion]:
    return list(chain(*engine.sample(prompts, SETTINGS, seeds)))


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm", "llava_onevision"])
def test_a_replayed_step_is_the_plain_step(
    checkpoints: dict[str, Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(checkpoints[family])
    plain, engine = SharedEngine(policy, 10_000, recorded_steps=False), SharedEngine(policy, 10_000)
    padded, whole, early = prompts_of_two_sizes(policy), prompts_of_two_sizes(policy)[:1], policy.stop_ids
    for prompts, seeds in ((padded, SEEDS), (whole, SEEDS[:1])) * 2:
        for policy.stop_ids in ([], early):
            assert drawn(engine, prompts, seeds) == drawn(plain, prompts, seeds)
    assert engine.recorded is not None
    kinds = engine.recorded.recordings
    assert len({(padded, seated) for padded, seated, _ in kinds}) == 4
    assert all(recording.replay for recording in kinds.values())
    assert engine.recorded.settled
    rows = replays(engine, monkeypatch)
    assert drawn(engine, padded) == drawn(plain, padded)
    assert len(set(rows)) > 2  # full groups and what remains of them


def test_a_recording_holds_for_other_prompts_and_moved_weights(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load(checkpoints["qwen2_5_vl"], trainable=True, lora=LoraConfig(rank=4))
    engine = SharedEngine(policy, 10_000)
    for _ in range(3):
        drawn(engine, prompts_of_two_sizes(policy))
    for name, parameter in policy.model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(0, 0.2)
    other = [encode(policy, sample([picture(160, 160, i)], "and now?", name=f"other-{i}")) for i in range(2)]
    rows = replays(engine, monkeypatch)
    plain = SharedEngine(policy, 10_000, recorded_steps=False)
    for prompts in (other, prompts_of_two_sizes(policy)):
        assert drawn(engine, prompts) == drawn(plain, prompts)
    assert rows
    assert engine.recorded is not None
    assert all(recording.replay for recording in engine.recorded.recordings.values())


def refuse_tracing(x: Tensor) -> float:
    if torch.jit.is_tracing():
        raise ValueError("not here")
    return 1.0


@pytest.mark.parametrize("factor", [lambda x: 2.0 if float(x.sum()) > 0 else 1.0, refuse_tracing])
def test_a_step_that_cannot_be_recorded_runs_plainly(
    checkpoints: dict[str, Path], factor: Callable[[Tensor], float]
) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    mlp = next(iter(policy.decoder_layers())).mlp
    before = mlp.forward
    mlp.forward = lambda x: before(x) * factor(x)
    plain, engine = SharedEngine(policy, 10_000, recorded_steps=False), SharedEngine(policy, 10_000)
    for _ in range(3):
        assert drawn(engine, prompts_of_two_sizes(policy)) == drawn(plain, prompts_of_two_sizes(policy))
    assert engine.recorded is not None
    assert {recording.replay for recording in engine.recorded.recordings.values()} == {None}


def test_a_recording_that_differs_is_not_used(checkpoints: dict[str, Path]) -> None:
    policy = load(checkpoints["qwen2_5_vl"])
    mlp = next(iter(policy.decoder_layers())).mlp
    before, factors = mlp.forward, [1.0]
    mlp.forward = lambda x: before(x) * factors[0]
    plain, engine = SharedEngine(policy, 10_000, recorded_steps=False), SharedEngine(policy, 10_000)
    prompts = prompts_of_two_sizes(policy)
    for _ in range(3):
        assert drawn(engine, prompts) == drawn(plain, prompts)
    factors[0] = 2.0
    other = [encode(policy, sample([picture(200, 100 + 60 * i)], "now?", name=f"other-{i}")) for i in range(2)]
    assert max(len(p.token_ids_P) for p in other) != max(len(p.token_ids_P) for p in prompts)
    assert drawn(engine, other) == drawn(plain, other)
    assert engine.recorded is not None
    assert any(recording.replay is None for recording in engine.recorded.recordings.values())


def test_what_is_not_recorded(checkpoints: dict[str, Path]) -> None:
    assert SharedEngine(load(checkpoints["gemma3"]), 10_000).recorded is None  # sliding windows use a growing cache
    assert SharedEngine(load(checkpoints["qwen3_5"]), 10_000).recorded is None
    assert SharedEngine(load(checkpoints["qwen2_5_vl"], dtype="bfloat16"), 10_000).recorded is None
    policy = load(checkpoints["qwen2_5_vl"])
    assert RecordedSteps.serves(policy)
    policy.text_config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e6}
    assert not RecordedSteps.serves(policy)
