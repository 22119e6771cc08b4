"""The peer `trl`: the installed trl's own GRPOTrainer, through its own training_step, with HF generate."""

import importlib.util
import tempfile
import warnings
from typing import Any

import torch

from vlmrl.bench.meter import Meter
from vlmrl.bench.sides import Completions, Side
from vlmrl.bench.workload import Workload
from vlmrl.errors import UserError
from vlmrl.models.load import Policy

MISSING = "trl is not installed: pip install 'vlmrl[train]' (or leave it out with --peers loop,loop-once)"


def trl_is_installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("trl", "datasets"))


class Trl(Side):
    """GRPOTrainer on the model all sides share: defaults, beta 0, fixed rewards, banned tokens suppressed."""

    name = "trl"

    def __init__(self, policy: Policy, workload: Workload, meter: Meter) -> None:
        super().__init__(policy, workload, meter)
        if not trl_is_installed():
            raise UserError(MISSING)
        self._trainer = self._build()
        self._hooked = self._checkpointing and policy.has_adapters
        if self._hooked:
            self._input_gradients(False)

    @property
    def _checkpointing(self) -> bool:
        return any(getattr(module, "gradient_checkpointing", False) for module in self.policy.model.modules())

    def _build(self) -> Any:
        from datasets import Dataset
        from trl.trainer.grpo_config import GRPOConfig
        from trl.trainer.grpo_trainer import GRPOTrainer

        policy, setting = self.policy, self.workload.setting
        self._folder = tempfile.TemporaryDirectory(prefix="vlmrl-bench-")
        arguments = GRPOConfig(
            output_dir=self._folder.name,
            use_cpu=policy.device.type == "cpu",
            bf16=policy.compute_dtype is torch.bfloat16,
            per_device_train_batch_size=setting.G,
            num_generations=setting.G,
            max_completion_length=setting.C,
            gradient_accumulation_steps=1,
            max_steps=1,
            gradient_checkpointing=self._checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            # suppressing a token needs a list; without it a sampled image placeholder stops the trainer
            generation_kwargs={"suppress_tokens": torch.nonzero(policy.banned_V)[:, 0].tolist()},
            loss_type="grpo",
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )

        def rewards(completions: list[Any], **_: Any) -> list[float | None]:
            return list(self.workload.rewards)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = GRPOTrainer(
                model=policy.model,
                reward_funcs=rewards,
                args=arguments,
                train_dataset=Dataset.from_list([{"prompt": self._messages()}]),
                processing_class=policy.family.processor,
            )
        trainer.current_gradient_accumulation_steps = 1
        return trainer

    def _messages(self) -> list[dict[str, str]]:
        return [{"role": "user", "content": self.workload.request}]

    def step(self) -> Completions:
        trainer, policy = self._trainer, self.policy
        # the trainer keeps a batch for as many updates as it makes with it; here that is one
        trainer._buffered_inputs, trainer._step = None, 0
        generate, backward = trainer._generate_and_score_completions, trainer.accelerator.backward
        sampled: list[Completions] = []

        def rollout(rows: Any) -> Any:
            with self.meter.section("decode"):
                batch = generate(rows)
            sampled.append(batch["completion_ids"].tolist())
            return batch

        def timed_backward(loss: Any, **options: Any) -> None:
            with self.meter.section("update"):
                backward(loss, **options)

        trainer._generate_and_score_completions, trainer.accelerator.backward = rollout, timed_backward
        row = {"prompt": self._messages(), "image": self.workload.sample.images[0]}
        reduced = policy.compute_dtype is not torch.float32
        if self._hooked:
            self._input_gradients(True)
        try:
            with (
                self.meter.section("score"),
                torch.autocast(policy.device.type, policy.compute_dtype, enabled=reduced),
            ):
                trainer.training_step(policy.model, [dict(row) for _ in range(self.workload.setting.G)], None)
        finally:
            trainer._generate_and_score_completions, trainer.accelerator.backward = generate, backward
            if self._hooked:
                self._input_gradients(False)
        return sampled[0]

    def _input_gradients(self, on: bool) -> None:
        """The trainer hooks every input embedding, the tower's too, for LoRA with checkpointing: its own cost alone."""
        model: Any = self.policy.model
        if on:
            model.enable_input_require_grads()
        else:
            model.disable_input_require_grads()
