"""The supervised warm-up: what is learnt and from which tokens, its loss, its result folder, and what it refuses."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.random_models import FAMILIES, save_random_model
from vlmrl.cli.main import main
from vlmrl.config import Config, ModelConfig
from vlmrl.errors import Interrupted, UserError
from vlmrl.evaluation.run import evaluate
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.models.load import Policy, load_policy
from vlmrl.registry import find_task
from vlmrl.resolve import resolve
from vlmrl.rollout.groups import encode
from vlmrl.task import Task
from vlmrl.task_mix import TaskMix, TaskPart
from vlmrl.training.cold_start import UNFINISHED, cold_start
from vlmrl.training.run import train
from vlmrl.training.sft_trainer import Watch, make_trainer
from vlmrl.training.supervised import NOT_LEARNT, ExampleSource, gold_completion
from vlmrl.types import PromptMode, Sample, Video

CPU = torch.device("cpu")
SILENT = Console(quiet=True)
TASK = find_task("gui_grounding").create({})


def alone(task: Task) -> TaskMix:
    """A run of this task only."""
    return TaskMix(TaskPart("alone", task, {}))


SMALL = [
    "warmup.steps=3",
    "warmup.batch_rows=4",
    "warmup.rows_per_pass=2",
    "warmup.lr=1e-3",
    "rollout.max_completion_tokens=16",
    "data.held_out_rows=4",
    "run.device=cpu",
]

MakeConfig = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> MakeConfig:
    def make(*words: str, out: str = "out") -> Config:
        return resolve(Config, words=[*SMALL, f"run.dir={tmp_path / out}", *words])

    return make


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(ModelConfig(), CPU, trainable=True)


def row(size: tuple[int, int], name: str = "row", **changes: Any) -> Sample:
    record = ImageRecord(0, Size(*size))
    picture = Image.effect_noise(size, 60).convert("RGB")
    target = Box(20, 10, 60, 50, record.frame(Unit.ORIGINAL))
    return replace(Sample(name, (picture,), (record,), f"click on {name}", target), **changes)


ROWS = [row((160, 96), "Save"), row((96, 128), "the red circle")]


def naive_loss(policy: Policy, rows: list[Sample], task: Any = TASK) -> torch.Tensor:
    """Mean cross-entropy over all answers' tokens, by transformers' ordinary forward on one row at a time."""
    losses = []
    for sample in rows:
        (prompt,) = encode(policy, alone(task), [sample])
        text = task.render(prompt.sample, policy.family.convention)
        ids = policy.family.tokenizer(text, add_special_tokens=False).input_ids
        answer_T = torch.tensor([*ids, policy.family.end_of_turn(policy.model)])
        logits = policy.model(**policy.family.extend(prompt, answer_T), use_cache=False).logits[0]
        losses.append(functional.cross_entropy(logits[-len(answer_T) - 1 : -1], answer_T, reduction="none"))
    return torch.cat(losses).mean()


def trainer_of(policy: Policy, rows: list[Sample], config: Config, tmp_path: Path) -> Any:
    return make_trainer(policy, TASK, rows, rows, config, tmp_path / "state", Watch(SILENT))


@pytest.mark.parametrize("mode", PromptMode)
def test_only_the_answer_and_its_end_of_turn_are_learnt(policy: Policy, mode: PromptMode) -> None:
    source = ExampleSource(policy, TASK, None)
    samples = [replace(sample, mode=mode) for sample in ROWS]
    examples = [source.example(sample) for sample in samples]
    batch = source.batch(examples)
    tokenizer = policy.family.tokenizer
    for i, example in enumerate(examples):
        learnt = batch["labels"][i] != NOT_LEARNT
        assert torch.equal(batch["labels"][i][learnt], batch["input_ids"][i][learnt])
        answer = TASK.render(example.prompt.sample, policy.family.convention)
        assert tokenizer.decode(batch["labels"][i][learnt]) == f"{answer}<|im_end|>"
        assert answer.startswith("<think>") == (mode is PromptMode.THINK)
        # nothing follows the answer, so a stop is learnt where sampling stops
        assert learnt[-len(example.completion_T) :].all()
        assert example.completion_T[-1] in policy.stop_ids


def test_prompts_are_those_of_reinforcement_learning(policy: Policy) -> None:
    source = ExampleSource(policy, TASK, None)
    examples = [source.example(sample) for sample in ROWS]
    batch = source.batch(examples)
    prompts = encode(policy, alone(TASK), ROWS)
    for ids, prompt, example in zip(batch["input_ids"], prompts, examples, strict=True):
        before = len(ids) - len(prompt.token_ids_P) - len(example.completion_T)
        assert torch.equal(ids[before : len(ids) - len(example.completion_T)], prompt.token_ids_P)
        assert (ids[:before] == policy.family.tokenizer.pad_token_id).all()
    assert torch.equal(batch["pixel_values"], torch.cat([prompt.vision["pixel_values"] for prompt in prompts]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_naive_cross_entropy(family: str, config: MakeConfig, tmp_path: Path) -> None:
    loaded = load_policy(ModelConfig(path=str(save_random_model(family, tmp_path / "model"))), CPU, trainable=True)
    parameters = dict(loaded.model.named_parameters())
    expected = naive_loss(loaded, ROWS)
    gradients = torch.autograd.grad(expected, list(parameters.values()), allow_unused=True)
    trainer = trainer_of(loaded, ROWS, config("warmup.batch_rows=2"), tmp_path)
    batch = trainer.data_collator([{"split": "train", "row": 0}, {"split": "train", "row": 1}])
    loss = trainer.compute_loss(trainer.model, batch)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6, rel=1e-6)
    loss.backward()
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is not None and gradient.norm() > 1e-6:
            assert parameter.grad is not None, name
            assert (parameter.grad - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_rows_with_videos_beside_rows_without(family: str, config: MakeConfig, tmp_path: Path) -> None:
    loaded = load_policy(ModelConfig(path=str(save_random_model(family, tmp_path / "model"))), CPU, trainable=True)
    frames = tuple(Image.effect_noise((70, 60), sigma).convert("RGB") for sigma in (20, 40, 60, 80))
    rows = [ROWS[0], replace(ROWS[1], videos=(Video(frames, (0.0, 0.5, 1.0, 1.5)),))]
    expected = naive_loss(loaded, rows).item()
    trainer = trainer_of(loaded, rows, config("warmup.batch_rows=2"), tmp_path)
    batch = trainer.data_collator([{"split": "train", "row": 0}, {"split": "train", "row": 1}])
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("lora", [0, 4])
def test_recomputed_activations_change_nothing(config: MakeConfig, lora: int) -> None:
    words = (f"model.lora.rank={lora}", "data.held_out_rows=0")
    kept = cold_start(config(*words, out="kept"))
    recomputed = cold_start(config(*words, "model.gradient_checkpointing=true", out="recomputed"))
    losses = [[loss for _, loss in summary["training_loss"]] for summary in (kept, recomputed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0][0] != losses[0][-1]


def test_the_first_step_reports_the_mean_over_the_batchs_tokens(config: MakeConfig, tmp_path: Path) -> None:
    """Two passes of one row each: answers of unequal length count by their tokens, not by their rows."""
    rows = [ROWS[0], replace(ROWS[1], mode=PromptMode.THINK)]
    loaded = load_policy(ModelConfig(), CPU, trainable=True)
    expected = naive_loss(loaded, rows).item()
    words = ("warmup.steps=1", "warmup.batch_rows=2", "warmup.rows_per_pass=1")
    trainer = make_trainer(loaded, TASK, rows, [], config(*words), tmp_path / "state", Watch(SILENT))
    trainer.train()
    ((step, loss),) = Watch.losses(trainer.state)
    assert step == 1
    assert loss == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("lora", [0, 4])
def test_steps_lower_the_loss_and_the_folder_loads(config: MakeConfig, tmp_path: Path, lora: int) -> None:
    settings = config(f"model.lora.rank={lora}", "warmup.lr=3e-3", "data.held_out_rows=8")
    summary = cold_start(settings)
    folder = Path(summary["folder"])
    before, after = summary["held_out_loss"]
    assert after < before
    assert [step for step, _ in summary["training_loss"]] == [1, 2, 3]
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert not (folder / UNFINISHED).exists()
    assert not (folder / "adapter_config.json").exists()
    # the folder's own loss is the one that was reported
    written = load_policy(ModelConfig(path=str(folder)), CPU, trainable=False)
    held_out = list(TASK.synthetic("held_out", 8, 0))
    with torch.no_grad():
        losses = [naive_loss(written, [sample]).item() for sample in held_out]
    assert sum(losses) / len(losses) == pytest.approx(after, abs=1e-5)
    AutoModelForImageTextToText.from_pretrained(folder)
    AutoProcessor.from_pretrained(folder)
    card = evaluate(replace(settings, model=ModelConfig(path=str(folder))), folder.parent / "card")
    assert card["score"] == summary["after"]["score"]


def test_training_goes_on_from_the_folder(config: MakeConfig, tmp_path: Path) -> None:
    warm = cold_start(config("data.held_out_rows=0"))
    words = ("run.steps=1", "rollout.prompts_per_step=2", "rollout.group_size=2", "data.held_out_rows=2")
    assert train(config(*words, f"model.path={warm['folder']}", out="run"))["steps"] == 1


def test_equal_seeds_give_equal_models_and_others_do_not(config: MakeConfig) -> None:
    words = ("data.held_out_rows=0", "warmup.steps=2")
    folders = [
        cold_start(config(*words, f"run.seed={seed}", out=out))["folder"]
        for seed, out in [(1, "a"), (1, "b"), (2, "c")]
    ]
    first, same, other = (load_file(Path(folder) / "model.safetensors") for folder in folders)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("lora", [0, 4])
def test_a_stopped_warm_up_continues_as_if_it_had_not_stopped(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: int
) -> None:
    words = (f"model.lora.rank={lora}", "data.held_out_rows=0", "warmup.steps=4", "optim.schedule=cosine")
    straight = cold_start(config(*words, out="straight"))
    stopped = config(*words, out="stopped")
    on_step_end = Watch.on_step_end

    def stop_after_two(self: Watch, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.stop.requested = state.global_step == 2
        on_step_end(self, args, state, control, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Watch, "on_step_end", stop_after_two)
        with pytest.raises(Interrupted, match=r"after step 2; continue with: vlmrl warmup --resume"):
            cold_start(stopped)
    folder = Path(str(stopped.run.dir))
    assert not (folder / "summary.json").exists()
    resumed = cold_start(stopped, folder)
    assert resumed["training_loss"] == straight["training_loss"]
    first, second = (load_file(Path(s["folder"]) / "model.safetensors") for s in (straight, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(UserError, match="it has finished"):
        cold_start(stopped, folder)


def test_epochs_decide_the_number_of_steps(config: MakeConfig, data: Path) -> None:
    words = (f"data.train={data}", "data.held_out_rows=0", "warmup.epochs=2", "warmup.batch_rows=2")
    assert cold_start(config(*words))["steps"] == 2 * math.ceil(6 / 2)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six rows with reasoning, in the simple schema."""
    lines = []
    for i in range(6):
        Image.new("RGB", (160, 96), (40 * i, 80, 120)).save(tmp_path / f"{i}.png")
        target = {"image": f"{i}.png", "instruction": "click it", "bbox": [20, 10, 60, 50]}
        lines.append(target | {"mode": "think", "reasoning": "It is on the left."})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_reasoning_comes_before_the_answer(policy: Policy, data: Path) -> None:
    sample = TASK.load(data)[0]
    (prompt,) = encode(policy, alone(TASK), [sample])
    text = gold_completion(TASK, prompt.sample, policy)
    assert text == '<think>It is on the left.</think><answer>{"point_2d": [250, 312]}</answer>'
    direct = replace(prompt.sample, mode=PromptMode.DIRECT)
    assert gold_completion(TASK, direct, policy) == '{"point_2d": [250, 312]}'


@pytest.mark.parametrize("reasoning", ["so </think> it is", "<think>left</think>", 7])
def test_reasoning_that_hides_the_answer_is_refused(policy: Policy, data: Path, reasoning: object) -> None:
    sample = replace(TASK.load(data)[0], extra={"reasoning": reasoning})
    with pytest.raises(UserError, match=r"row rows-0, field reasoning"):
        ExampleSource(policy, TASK, None).example(sample)


def test_the_end_of_turn_is_the_templates_own(tmp_path: Path) -> None:
    folder = save_random_model("llava_onevision", tmp_path / "model")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_end|>", "<|im_start|>"))
    loaded = load_policy(ModelConfig(path=str(folder)), CPU, trainable=False)
    with pytest.raises(UserError, match=r"sampling stops at <\|im_end\|>"):
        loaded.family.end_of_turn(loaded.model)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["warmup", *words]) == 2
    messages = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1
    return messages[0]


def test_it_imports_before_anything_else_does() -> None:
    """transformers' trainer and peft import torchvision, which must have been made importable by then."""
    subprocess.run([sys.executable, "-c", "import vlmrl.training.cold_start, vlmrl.training.sft_trainer"], check=True)


def test_what_a_user_can_get_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", str(tmp_path / "new"))
    few = ("data.held_out_rows=0", "--steps", "1")
    assert "warmup.batch_rows=6" in refused(capsys, *out, "warmup.batch_rows=6", "warmup.rows_per_pass=4")
    assert "warmup.steps=0" in refused(capsys, *out, "--steps", "0")
    assert "warmup.epochs=0" in refused(capsys, *out, "--epochs", "0")
    assert "no flag --learning-rate" in refused(capsys, *out, "--learning-rate", "1")
    assert "does not exist" in refused(capsys, *out, "--data", "nowhere.json")
    assert "nothing was saved there yet" in refused(capsys, "--resume", str(_settings_only(tmp_path)))
    assert "is in use" in refused(capsys, "--out", str(data.parent))
    (data.parent / "0.png").unlink()
    assert "0.png" in refused(capsys, *out, *few, "--data", str(data))
    assert not (tmp_path / "new").exists()
    message = refused(capsys, *out, *few, "warmup.max_tokens=40")
    assert "exceed the limit of 40" in message
    shutil.rmtree(tmp_path / "new")
    monkeypatch.setattr("vlmrl.training.cold_start.find_spec", lambda name: None)
    assert "pip install 'vlmrl[train]'" in refused(capsys, *out)


def _settings_only(tmp_path: Path) -> Path:
    folder = tmp_path / "started"
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    return folder
