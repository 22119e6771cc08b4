"""trl's SFTTrainer on vlmrl's own prompts: rows are encoded by the family's adapter, never by the trainer.

It takes every family: its data sets only name rows, and the collator gives it finished model inputs with labels on the
answers' tokens.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from rich.console import Console

import vlmrl.models  # noqa: F401  makes torchvision importable, without which transformers has no trainer

# isort: split
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from vlmrl.config import Config
from vlmrl.models.load import Policy
from vlmrl.progress import bars
from vlmrl.task import Task
from vlmrl.training.interrupt import StopRequest
from vlmrl.training.supervised import ExampleSource, RowCollator
from vlmrl.types import Sample

PROGRESS_LINES = 20
"""Lines printed over a whole run."""
SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}
"""optim.schedule -> the trainer's name for it."""


class AnswerTrainer(SFTTrainer):
    """trl's trainer, made to keep to itself."""

    def _send_telemetry(self) -> None:
        """A run reports to nobody, unless its user asked for it."""


class Watch(TrainerCallback):
    """Prints progress, and saves and stops when the user asks for it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stop = StopRequest()
        self.bars = bars(console)
        self.training = self.bars.add_task("training", total=None)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bars.start()

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bars.stop()

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.bars.update(self.training, completed=state.global_step, total=state.max_steps)
        if self.stop.requested:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        log = state.log_history[-1]
        every = max(1, state.max_steps // PROGRESS_LINES)
        if "loss" in log and (log["step"] % every == 0 or log["step"] == state.max_steps):
            right = f"tokens right {log['mean_token_accuracy']:.1%}"
            self.console.print(f"step {log['step']}/{state.max_steps}  loss {log['loss']:.4f}  {right}")

    @staticmethod
    def losses(state: TrainerState) -> list[tuple[int, float]]:
        """Step and mean loss of its answers' tokens, for every step."""
        return [(int(log["step"]), log["loss"]) for log in state.log_history if "loss" in log]


def make_trainer(
    policy: Policy,
    task: Task,
    rows: Sequence[Sample],
    held_out: Sequence[Sample],
    config: Config,
    state_folder: Path,
    watch: Watch,
) -> AnswerTrainer:
    """The trainer of a policy; its own checkpoints go to `state_folder`."""
    warmup, optim = config.warmup, config.optim
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # trl's default sets an argument that transformers renames
        arguments = SFTConfig(
            output_dir=str(state_folder),
            seed=config.run.seed,
            use_cpu=policy.device.type == "cpu",
            bf16=policy.compute_dtype is torch.bfloat16,
            max_steps=warmup.steps if warmup.epochs is None else -1,
            num_train_epochs=1.0 if warmup.epochs is None else warmup.epochs,
            per_device_train_batch_size=warmup.rows_per_pass,
            per_device_eval_batch_size=1,
            gradient_accumulation_steps=warmup.batch_rows // warmup.rows_per_pass,
            # the policy has its own switch, and its adapters' inputs need no gradient without reentrance
            gradient_checkpointing=False,
            optim="adamw_torch",
            learning_rate=warmup.lr,
            lr_scheduler_type=SCHEDULES[optim.schedule],
            warmup_steps=optim.warmup_steps,
            adam_beta1=optim.betas[0],
            adam_beta2=optim.betas[1],
            weight_decay=optim.weight_decay,
            max_grad_norm=optim.max_grad_norm,
            save_steps=config.run.save_every,
            save_total_limit=1,
            logging_steps=1,
            use_cache=True,  # it ends up in the saved config.json; every forward states its own
            disable_tqdm=True,
            report_to="none",
            # the rows are encoded by the collator
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            max_length=None,
            # a balancing loss would also be switched on in the saved configuration, which training refuses
            router_aux_loss_coef=0.0,
        )
    splits = {"train": rows, "held_out": held_out}
    names = {
        split: Dataset.from_dict({"split": [split] * len(samples), "row": list(range(len(samples)))})
        for split, samples in splits.items()
    }
    trainer = AnswerTrainer(
        model=policy.model,
        args=arguments,
        train_dataset=names["train"],
        eval_dataset=names["held_out"] if len(held_out) else None,
        data_collator=RowCollator(ExampleSource(policy, task, warmup.max_tokens), splits),
        processing_class=policy.family.processor,
        callbacks=[watch],
    )
    # Qwen-VL classes say that they cannot average over several passes' tokens, whereupon the trainer would average over
    # passes; trl computes the loss itself and can
    trainer.model_accepts_loss_kwargs = True
    trainer.remove_callback(PrinterCallback)
    return trainer


def held_out_loss(trainer: SFTTrainer) -> float:
    """Mean over the held-out rows of the mean cross-entropy of a row's answer tokens."""
    return float(trainer.evaluate()["eval_loss"])
