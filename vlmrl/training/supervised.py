"""Rows with their right answers as supervised examples, with the token ids and pixels of reinforcement learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmrl.errors import UserError
from vlmrl.models.load import Policy
from vlmrl.task import Task
from vlmrl.types import Finish, Prompt, PromptMode, Sample, Unparsed

REASONING = "reasoning"
"""Key of `Sample.extra` under which a row brings the thoughts that lead to its answer."""
NOT_LEARNT = -100
"""Label of a token that does not count in the loss, for transformers and trl."""


@dataclass(frozen=True, eq=False)
class Example:
    """A prompt and the completion to learn."""

    prompt: Prompt
    completion_T: Tensor
    """int64, the end-of-turn token included."""


def gold_completion(task: Task, sample: Sample, policy: Policy) -> str:
    """The completion that answers `sample`: the task's gold answer, with the row's own reasoning as its thoughts.

    A row in DIRECT mode is answered without its reasoning. `sample` must be a prompt's, whose records know the sizes
    that the model sees. Raises UserError if the reasoning would keep the completion from being parsed.
    """
    convention = policy.family.convention
    text = task.render(sample, convention)
    reasoning = sample.extra.get(REASONING)
    if reasoning is None or sample.mode is PromptMode.DIRECT:
        return text
    if not isinstance(reasoning, str):
        raise UserError(f"row {sample.id}, field {REASONING}: must be a text, not {type(reasoning).__name__}")
    text = f"<think>{reasoning.strip()}</think>{text.removeprefix('<think></think>')}"
    answer = task.parse(text, Finish.STOP, sample, convention)
    if isinstance(answer, Unparsed):
        raise UserError(
            f"row {sample.id}, field {REASONING}: with it the completion is no answer ({answer.reason}); give the "
            "thoughts alone, without <think> and <answer> tags"
        )
    return text


class ExampleSource:
    """Makes examples of a task's rows, and model inputs of several examples."""

    def __init__(self, policy: Policy, task: Task, max_tokens: int | None) -> None:
        self.policy, self.task = policy, task
        self.max_tokens = max_tokens or getattr(policy.text_config, "max_position_embeddings", None)
        self.end_of_turn = policy.family.end_of_turn(policy.model)

    def example(self, sample: Sample) -> Example:
        """Raises UserError for a row whose prompt and completion are longer than allowed."""
        family = self.policy.family
        prompt = family.encode(sample, self.task.request(sample, family.convention))
        text = gold_completion(self.task, prompt.sample, self.policy)
        ids = [*family.tokenizer(text, add_special_tokens=False).input_ids, self.end_of_turn]
        length = len(prompt.token_ids_P) + len(ids)
        if self.max_tokens is not None and length > self.max_tokens:
            raise UserError(
                f"row {sample.id}: a prompt of {len(prompt.token_ids_P)} tokens and an answer of {len(ids)} exceed the "
                f"limit of {self.max_tokens}; lower model.max_pixels, raise warmup.max_tokens or drop the row"
            )
        return Example(prompt, torch.tensor(ids))

    def batch(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """Model inputs [B, P + T], padded on the left, and the labels of the completions' tokens."""
        family = self.policy.family
        inputs = family.collate([family.continued(example.prompt, example.completion_T) for example in examples])
        labels = torch.full_like(inputs["input_ids"], NOT_LEARNT)
        for row, example in zip(labels, examples, strict=True):
            row[-len(example.completion_T) :] = example.completion_T
        positions, _ = family.positions(self.policy.model, inputs)
        return {**inputs, "position_ids": positions, "labels": labels}


class RowCollator:
    """trl's data collator. Its data sets only name rows; the pictures are opened when a batch needs them."""

    def __init__(self, source: ExampleSource, rows: Mapping[str, Sequence[Sample]]) -> None:
        self.source, self.rows = source, rows

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """`items` are {"split": a key of `rows`, "row": an index}."""
        return self.source.batch([self.source.example(self.rows[item["split"]][item["row"]]) for item in items])
