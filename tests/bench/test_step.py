"""The step benchmark: what every side computes, the gate, and what is written. Nothing here is timed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import vlmrl.bench.sides
from vlmrl.bench import gradient_check, step
from vlmrl.bench.gradient_check import clear_gradients, gradient_error, naive_gradients
from vlmrl.bench.meter import Meter
from vlmrl.bench.peak_memory import peak_memory
from vlmrl.bench.sides import Completions, Ours, Side
from vlmrl.bench.step import SIDES
from vlmrl.bench.trl_peer import trl_is_installed
from vlmrl.bench.workload import DEFAULT_SETTINGS, ModelChoice, Setting, Workload, bench_policy, make_workload
from vlmrl.cli.main import main
from vlmrl.errors import UserError
from vlmrl.models.load import Policy

SETTING = Setting(48, 3, 4)
TINY = ModelChoice("tiny-qwen2_5_vl", "cpu", "float32", lora=False, checkpointing=False)
LORA = ModelChoice("tiny-qwen2_5_vl", "cpu", "float32", lora=True, checkpointing=True)

needs_trl = pytest.mark.skipif(not trl_is_installed(), reason="trl is an optional extra")
ALL_SIDES = [pytest.param(name, marks=needs_trl if name == "trl" else ()) for name in SIDES]
Prepared = tuple[Policy, Workload, Meter]


def prepare(choice: ModelChoice) -> Prepared:
    policy = bench_policy(choice)
    return policy, make_workload(policy, SETTING), Meter(policy)


@pytest.fixture(scope="module")
def tiny() -> Prepared:
    return prepare(TINY)


@pytest.fixture(scope="module")
def lora() -> Prepared:
    return prepare(LORA)


def step_of(side: Side) -> Completions:
    side.prepare()
    return side.step()


P, C, G = SETTING.P, SETTING.C, SETTING.G
COUNTS = {
    "vlmrl": {
        "images_processed": 1,
        "images_encoded": 1,
        "token_rows": {"prompt": P, "decode": G * (C - 1), "score": G * (C - 1)},
    },
    "loop": {
        "images_processed": 1,
        "images_encoded": 2 * G,
        "token_rows": {"prompt": G * P, "decode": G * (C - 1), "score": G * (P + C)},
    },
    "loop-once": {
        "images_processed": 1,
        "images_encoded": 2,
        "token_rows": {"prompt": G * P, "decode": G * (C - 1), "score": G * (P + C)},
    },
    "trl": {
        "images_processed": 2 * G,
        "images_encoded": 2 * G,
        "token_rows": {"prompt": G * P, "decode": G * (C - 1), "score": G * (P + C)},
    },
}


@pytest.mark.parametrize("name", ALL_SIDES)
def test_counts_of_every_side(tiny: Prepared, name: str) -> None:
    policy, workload, meter = tiny
    clear_gradients(policy)
    meter.start(P)
    with meter.counted_step():
        completions = step_of(SIDES[name](policy, workload, meter))
    assert meter.counts() == COUNTS[name]
    assert [len(row) for row in completions] == [C] * G
    assert not policy.banned_V[torch.tensor(completions)].any()


@pytest.mark.parametrize("choice", ["tiny", "lora"])
@pytest.mark.parametrize("name", ALL_SIDES)
def test_every_side_computes_the_naive_gradient(request: pytest.FixtureRequest, choice: str, name: str) -> None:
    policy, workload, meter = request.getfixturevalue(choice)
    clear_gradients(policy)
    completions = step_of(SIDES[name](policy, workload, meter))
    gradient = torch.cat([p.grad.flatten().clone() for p in policy.model.parameters() if p.grad is not None])
    oracle = torch.cat([g.flatten() for g in naive_gradients(policy, workload, completions)])
    # GRPOTrainer scores with the banned tokens in the distribution: 8 of 4096, which is no part of its cost
    tolerance = 0.05 if name == "trl" else 1e-5
    assert (gradient - oracle).norm() < tolerance * oracle.norm()
    assert not any(p.grad is not None and not p.requires_grad for p in policy.model.parameters())


def test_a_warm_side_replays_its_decoding_and_computes_the_same(tiny: Prepared) -> None:
    policy, workload, meter = tiny
    cold, warm = Ours(policy, workload, meter), Ours(policy, workload, meter)
    warm.warm_up()
    assert warm.running.recorded is not None
    assert warm.running.recorded.settled
    warm.seed = cold.seed
    assert step_of(warm) == step_of(cold)
    meter.start(P)
    step_of(warm)
    assert meter.counts()["token_rows"] == {"prompt": P, "decode": 0, "score": G * (C - 1)}


def test_a_side_that_decodes_nothing_is_warm(tiny: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, _, meter = tiny
    side = Ours(policy, make_workload(policy, Setting(48, 1, 2)), meter)
    monkeypatch.setattr(side, "rollout", lambda: pytest.fail("there is nothing to record"))
    side.warm_up()
    assert [len(row) for row in step_of(side)] == [1, 1]


def test_prompts_have_exactly_the_tokens_asked_for(tiny: Prepared) -> None:
    policy = tiny[0]
    for setting in DEFAULT_SETTINGS:
        assert len(make_workload(policy, setting).encode(policy).token_ids_P) == setting.P


def test_exactly_one_default_setting_has_nothing_to_gain() -> None:
    assert [setting.gains_nothing for setting in DEFAULT_SETTINGS] == [False, False, False, False, True]


def test_bfloat16_is_held_to_twice_the_naive_error() -> None:
    policy, workload, meter = prepare(ModelChoice("tiny-qwen2_5_vl", "cpu", "bfloat16", lora=True, checkpointing=False))
    before = [p.dtype for p in policy.model.parameters()]
    found = gradient_error(SIDES["vlmrl"](policy, workload, meter))
    assert 1e-4 < found.error < found.tolerance < 0.2
    assert [p.dtype for p in policy.model.parameters()] == before


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "peak_memory", lambda side, model, setting: {"vlmrl": 100, "loop": 250}.get(side))


@pytest.mark.usefixtures("no_processes")
def test_json_has_one_object_per_peer_and_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    words = ["bench", "step", "--reps", "1", "--device", "cpu", "--peers", "loop,loop-once", "--json", str(file)]
    assert main([*words, "--setting", "48,3,4", "--prompt-tokens", "64", "--completion-tokens", "2",
                 "--group-size", "2"]) == 0  # fmt: skip
    written = json.loads(file.read_text())
    assert [(r["peer"], r["setting"]) for r in written["results"]] == [
        (peer, {"P": p, "C": c, "G": g}) for p, c, g in ((48, 3, 4), (64, 2, 2)) for peer in ("loop", "loop-once")
    ]
    first = written["results"][0]
    assert first["ratio_min"] <= first["ratio_median"] <= first["ratio_max"]
    assert first["gradient_error"] <= first["gradient_tolerance"]
    assert first["counts"] == {"vlmrl": COUNTS["vlmrl"], "loop": COUNTS["loop"]}
    assert set(first["phases"]["vlmrl"]) == {"process", "encode", "prompt", "decode", "score", "update"}
    assert first["peak_memory"] == {"vlmrl": 100, "loop": 250}
    assert first["limit_ratio"] > 1
    assert {"device", "threads", "torch", "transformers", "trl", "vllm"} <= set(written["machine"])
    shown = capsys.readouterr()
    assert "P 48, C 3, G 4: gradient error against naive" in shown.out
    assert "repetition 1/1, loop-once" in shown.err


@pytest.mark.usefixtures("no_processes")
def test_a_wrong_step_is_not_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = vlmrl.bench.sides.policy_loss
    monkeypatch.setattr(vlmrl.bench.sides, "policy_loss", lambda logprobs, a: right(logprobs, a) * 1.0001)
    assert gradient_check.policy_loss is right
    file = tmp_path / "step.json"
    assert main(["bench", "step", "--setting", "48,3,4", "--peers", "loop", "--json", str(file)]) == 2
    shown = capsys.readouterr()
    assert "gradient error against naive 1.0e-04" in shown.err
    assert not shown.out
    assert not file.exists()


@pytest.mark.usefixtures("no_processes")
def test_what_was_measured_before_an_interrupt_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = step.make_workload

    def interrupted(policy: Policy, setting: Setting) -> Workload:
        if setting.P != 48:
            raise KeyboardInterrupt
        return real(policy, setting)

    monkeypatch.setattr(step, "make_workload", interrupted)
    file = tmp_path / "step.json"
    words = ["bench", "step", "--reps", "1", "--peers", "loop", "--json", str(file)]
    assert main([*words, "--setting", "48,3,4", "--setting", "64,2,2"]) == 130
    assert len(json.loads(file.read_text())["results"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--setting", "1000,32"], "three whole numbers"),
        (["--setting", "1000,32,x"], "three whole numbers"),
        (["--setting", "1000,32,1"], "G is at least 2"),
        (["--setting", "1000,0,2"], "P and C are at least 1"),
        (["--prompt-tokens", "100"], "go together"),
        (["--peers", "verl"], "no such peer; there are trl, loop, loop-once"),
        (["--model", "random:qwen2_5_vl-72b"], "no such size; there are tiny-qwen2_5_vl"),
        (["--reps", "0"], "at least 1"),
        (["--setting", "8,2,2", "--peers", "loop"], "raise P"),
        (["--setting", "127999,2,2", "--peers", "loop"], "the model's context is 128000 tokens"),
    ],
)
def test_bad_input_says_what_to_change(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "step", *words]) == 2
    assert message in capsys.readouterr().err


def test_missing_trl_is_one_line_with_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlmrl.bench.trl_peer.trl_is_installed", lambda: False)
    assert main(["bench", "step", "--peers", "trl"]) == 2
    assert "pip install 'vlmrl[train]'" in capsys.readouterr().err.splitlines()[-1]
    seen: list[Any] = []
    monkeypatch.setattr(step, "run_steps", lambda model, settings, peers, reps, say: seen.append(peers) or [])
    assert main(["bench", "step"]) == 0
    assert seen == [["loop", "loop-once"]]


@pytest.mark.slow
def test_peak_memory_is_measured_in_a_process_of_its_own() -> None:
    bytes_needed = peak_memory("loop", TINY, SETTING)
    assert bytes_needed is None or bytes_needed > 1 << 20


def test_a_failing_side_shows_its_own_last_words() -> None:
    with pytest.raises(RuntimeError, match="raise P"):
        peak_memory("loop", TINY, Setting(8, 2, 2))


def test_longer_than_the_models_context_is_refused(tiny: Prepared) -> None:
    with pytest.raises(UserError, match="lower P or C"):
        make_workload(tiny[0], Setting(127_990, 32, 2))
