"""Whole runs on the embedded model: reproducible, resumable bit for bit, and never half-written."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.random_models import save_random_model
from tests.training.conftest import SMALL, MakeConfig
from vlmrl.engine.shared import SharedEngine
from vlmrl.errors import UserError
from vlmrl.evaluation.run import evaluate
from vlmrl.models.checkpoint_folders import newest_checkpoint
from vlmrl.models.load import load_policy
from vlmrl.paths import tasks_dir
from vlmrl.training.run import train


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(run: Path) -> dict[str, bytes]:
    kept = [run / "metrics.jsonl", *sorted((run / "rollouts").iterdir()), *sorted((run / "evals").iterdir())]
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


def assert_same_run(first: Path, second: Path) -> None:
    assert files_of(first) == files_of(second)
    a, b = newest_checkpoint(first), newest_checkpoint(second)
    assert a is not None
    assert b is not None
    assert a.name == b.name
    weights = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    states = [torch.load(c / "trainer.pt", weights_only=False) for c in (a, b)]
    moments = [state["optimizer"]["state"] for state in states]
    for index, moment in moments[0].items():
        assert all(torch.equal(moment[key], moments[1][index][key]) for key in moment)
    for key in ("step", "order", "best"):
        assert states[0][key] == states[1][key]


def test_a_run_leaves_what_it_promises(small_config: MakeConfig) -> None:
    config = small_config()
    summary = train(config)
    run = Path(summary["paths"]["run"])
    assert json.loads((run / "summary.json").read_text()) == summary
    assert summary["before"]["n"] == summary["after"]["n"] == 8
    assert summary["before"]["low"] <= summary["before"]["score"] <= summary["before"]["high"]
    metrics = lines(run / "metrics.jsonl")
    assert [(m["kind"], m["step"]) for m in metrics] == [
        ("eval", 0), ("train", 1), ("train", 2), ("eval", 2), ("train", 3), ("train", 4), ("eval", 4),
    ]  # fmt: skip
    assert all(m["skipped"] == 0 and m["grad_norm"] > 0 for m in metrics if m["kind"] == "train")
    groups = lines(run / "rollouts" / "step-000003.jsonl")
    assert len(groups) == 6
    assert [len(group["rollouts"]) for group in groups] == [4] * 6
    assert (run / "images" / f"{groups[0]['sample']['images'][0]}.png").exists()
    assert groups[1]["sample"]["images"] == [None]
    advantages = [sum(r["advantage"] for r in group["rollouts"]) for group in groups]
    assert max(map(abs, advantages)) < 1e-4
    assert (run / "report.html").stat().st_size > 10_000
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processor"]["max_pixels"] == 128 * 128
    checkpoint = Path(summary["paths"]["checkpoint"])
    model = AutoModelForImageTextToText.from_pretrained(checkpoint)
    AutoProcessor.from_pretrained(checkpoint)
    start = load_policy(config.model, torch.device("cpu"), trainable=False).model
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True)]
    assert all(moved)


def test_three_and_three_steps_equal_six(small_config: MakeConfig) -> None:
    straight = small_config("run.steps=6", "run.save_every=3", run="straight")
    halves = small_config("run.steps=3", "run.save_every=3", run="halves")
    # the final evaluation of the first half belongs to no straight run, so both evaluate at step 3
    straight, halves = (replace(c, eval=replace(c.eval, every=3)) for c in (straight, halves))
    train(straight)
    train(halves)
    longer = replace(halves, run=replace(halves.run, steps=6))
    train(longer, resume=Path(str(halves.run.dir)))
    assert_same_run(Path(str(straight.run.dir)), Path(str(halves.run.dir)))


def test_dapo_with_kl_and_inner_epochs_resumes_bit_for_bit(small_config: MakeConfig) -> None:
    dapo = ("algorithm.preset=dapo", "algorithm.filter.max_refills=2")
    words = (*dapo, "algorithm.regularisers.kl.coefficient=0.01", "optim.inner_epochs=2")
    straight = small_config(*words, run="straight")
    stopped = small_config(*words, "run.steps=2", run="stopped")
    train(straight)
    train(stopped)
    train(replace(stopped, run=replace(stopped.run, steps=4)), resume=Path(str(stopped.run.dir)))
    assert_same_run(Path(str(straight.run.dir)), Path(str(stopped.run.dir)))
    steps = [m for m in lines(Path(str(straight.run.dir)) / "metrics.jsonl") if m["kind"] == "train"]
    assert any(m["kl"] > 0 for m in steps)
    assert any(m["sampled_groups"] > 6 for m in steps)
    assert all(m["groups"] <= 6 for m in steps)


def test_equal_seeds_give_equal_runs_and_others_do_not(small_config: MakeConfig) -> None:
    runs = [small_config("run.steps=2", f"run.seed={seed}", run=name) for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    for config in runs:
        train(config)
    a, b, c = (Path(str(config.run.dir)) for config in runs)
    assert_same_run(a, b)
    assert files_of(a)["rollouts/step-000001.jsonl"] != files_of(c)["rollouts/step-000001.jsonl"]


def test_splitting_a_step_changes_nothing_but_rounding(small_config: MakeConfig) -> None:
    whole = small_config("run.steps=2", run="whole")
    split = small_config("run.steps=2", "engine.max_tokens_per_pass=300", run="split")
    train(whole)
    train(split)
    first, second = (load_file(newest_checkpoint(Path(str(c.run.dir))) / "model.safetensors") for c in (whole, split))
    assert all(torch.allclose(first[name], second[name], atol=2e-5) for name in first)


def test_an_update_out_of_memory_goes_on_in_halves(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    # the KL term and a second epoch need what the first fixed, which is split with the pass
    words = ("run.steps=2", "eval.every=0", "optim.inner_epochs=2", "algorithm.regularisers.kl.coefficient=0.01")
    whole, split = small_config(*words, run="whole"), small_config(*words, run="split")
    train(whole)
    score, calls = SharedEngine.score, []

    def score_three(self: SharedEngine, state: Any, rows: Any, *rest: Any) -> Any:
        calls.append(len(rows))
        if len(rows) > 3 and len(calls) > 3:
            raise torch.OutOfMemoryError
        return score(self, state, rows, *rest)

    monkeypatch.setattr(SharedEngine, "score", score_three)
    train(split)
    first, second = (load_file(newest_checkpoint(Path(str(c.run.dir))) / "model.safetensors") for c in (whole, split))
    assert all(torch.allclose(first[name], second[name], atol=2e-5) for name in first)
    steps = [m for m in lines(Path(str(split.run.dir)) / "metrics.jsonl") if m["kind"] == "train"]
    assert sum(m["split_passes"] for m in steps) >= 1


def test_sampling_and_update_share_the_prompt_pass(small_config: MakeConfig) -> None:
    config = small_config("run.steps=1", "eval.every=0")
    train(config)
    (step,) = [m for m in lines(Path(str(config.run.dir)) / "metrics.jsonl") if m["kind"] == "train"]
    assert step["kept_passes"] == 1
    assert step["dead_skipped"] == round(6 * step["dead_groups"])


def test_truncated_sampling_trains_where_it_is_exact(small_config: MakeConfig) -> None:
    with pytest.raises(UserError, match=r"rollout\.top_k.*inner_epochs=1"):
        train(small_config("rollout.top_k=20", "optim.inner_epochs=2"))
    train(small_config("rollout.top_k=20", "run.steps=1", "eval.every=0", "rollout.stop_strings=['}']"))


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from tests.training.conftest import SMALL
from vlmrl.config import Config
from vlmrl.resolve import resolve
from vlmrl.training import checkpoint
from vlmrl.paths import tasks_dir
from vlmrl.training.run import train

save_policy = checkpoint.save_policy
def save_and_die(policy, folder):
    save_policy(policy, folder)
    if "step-000004" in folder.name:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.save_policy = save_and_die
train(resolve(Config, words=[*SMALL, "run.dir=" + sys.argv[1]]))
"""


def test_kill_during_a_checkpoint_leaves_a_run_that_resumes(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config()
    run = Path(str(config.run.dir))
    died = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, str(run)], capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert ".writing-step-000004" in names
    assert "step-000004" not in names
    train(config, resume=run)
    straight = small_config(run="straight")
    train(straight)
    assert_same_run(Path(str(straight.run.dir)), run)
    assert not [p for p in (run / "checkpoints").iterdir() if p.name.startswith(".writing-")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_continue(tmp_path: Path, number: int) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "vlmrl", "train", "--run", str(run), *SMALL, "run.steps=500", "eval.every=0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "metrics.jsonl").exists() and len((run / "metrics.jsonl").read_text().splitlines()) > 2:
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert f"vlmrl train --resume {run}" in errors
    assert "Traceback" not in errors
    checkpoint = newest_checkpoint(run)
    assert checkpoint is not None
    step = int(checkpoint.name.removeprefix("step-"))
    assert lines(run / "metrics.jsonl")[-1]["step"] == step
    again = subprocess.run(
        [sys.executable, "-m", "vlmrl", "train", "--resume", str(run), "--steps", str(step + 1)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads((run / "summary.json").read_text())["steps"] == step + 1


def test_lora_trains_saves_and_reloads_its_adapter(small_config: MakeConfig, tmp_path: Path) -> None:
    folder = save_random_model("qwen2_5_vl", tmp_path / "model")
    base_files = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = small_config(f"model.path={folder}", "model.lora.rank=4", "run.steps=3", "task.weights.format=0.5")
    summary = train(config)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == base_files
    checkpoint = Path(summary["paths"]["checkpoint"])
    adapter = load_file(checkpoint / "adapter_model.safetensors")
    assert adapter
    assert all("language_model" in name for name in adapter)
    card = evaluate(replace(config, model=replace(config.model, path=str(checkpoint))), tmp_path / "card")
    assert card["n"] == 8
    train(replace(config, run=replace(config.run, steps=4)), resume=Path(summary["paths"]["run"]))


def test_bfloat16_keeps_trained_weights_in_float32(small_config: MakeConfig) -> None:
    config = small_config("model.dtype=bfloat16", "run.steps=1", "model.train_tower=false")
    policy = load_policy(config.model, torch.device("cpu"), trainable=True)
    dtypes = {name: p.dtype for name, p in policy.model.named_parameters()}
    assert dtypes["model.visual.blocks.0.attn.qkv.weight"] is torch.bfloat16
    assert dtypes["model.language_model.layers.0.self_attn.q_proj.weight"] is torch.float32
    train(config)


def test_a_full_disk_is_said_before_training_starts(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmrl.training.checkpoint.shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    config = small_config()
    with pytest.raises(UserError, match=r"no space for a checkpoint.*--run DIR"):
        train(config)
    assert not Path(str(config.run.dir)).exists()


def test_a_disk_that_fills_up_leaves_earlier_checkpoints(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vlmrl.training import checkpoint

    save_policy = checkpoint.save_policy

    def fills_up(policy: Any, folder: Path) -> None:
        save_policy(policy, folder)
        if "step-000004" in folder.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_policy", fills_up)
    config = small_config()
    run = Path(str(config.run.dir))
    with pytest.raises(UserError, match=rf"step 4.*--resume {run}"):
        train(config)
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000002"]
    monkeypatch.setattr(checkpoint, "save_policy", save_policy)
    assert train(config, resume=run)["steps"] == 4


def test_a_benchmark_is_evaluated_while_training(small_config: MakeConfig) -> None:
    samples = tasks_dir() / "gui_grounding" / "samples" / "screenspot-v2-parquet"
    words = ("eval.benchmark=screenspot-v2", f"data.held_out={samples}", "run.steps=2", "eval.every=1")
    summary = train(small_config(*words))
    run = Path(summary["paths"]["run"])
    cards = [line for line in lines(run / "metrics.jsonl") if line["kind"] == "eval"]
    assert [card["step"] for card in cards] == [0, 1, 2]
    assert all("/" in cell for card in cards for cell in card["cells"])  # platform/kind, as the benchmark breaks down
    config = small_config(*words, f"model.path={summary['paths']['checkpoint']}", run="other")
    card = evaluate(config, run.parent / "again")
    assert {name: card[name] for name in ("score", "n", "unparsed")} == {
        name: cards[-1][name] for name in ("score", "n", "unparsed")
    }


def test_a_benchmark_needs_its_task_and_its_data(small_config: MakeConfig) -> None:
    with pytest.raises(UserError, match=r"data.held_out=the folder"):
        train(small_config("eval.benchmark=screenspot-v2"))
    with pytest.raises(UserError, match="is one of the task grounding, not of gui_grounding"):
        train(small_config("eval.benchmark=refcoco", "data.held_out=x"))
