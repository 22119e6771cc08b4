"""Scored groups without a model."""

from collections.abc import Sequence

import torch

from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample, Score, Text


def sample_of(name: str = "row-0", **facts: object) -> Sample:
    record = ImageRecord(0, Size(10, 10))
    gold = Box(0, 0, 9, 9, record.frame(Unit.ORIGINAL))
    return Sample(name, (), (record,), "click it", gold, **facts)  # type: ignore[arg-type]


def group_of(rewards: Sequence[float], name: str = "row-0", id_: str = "1-0", **facts: object) -> Group:
    """A group whose accuracies are its rewards; four tokens each."""
    prompt = Prompt(sample_of(name, **facts), "click it", torch.tensor([1, 2]), {})
    rollouts = [
        Rollout(
            token_ids_T=[3, 4, 5, 6],
            logprobs_T=[-1.0] * 4,
            entropy=0.5,
            text="there",
            finish=Finish.STOP,
            answer=Text("there"),
            scores={"r": Score(reward)},
            reward=reward,
            accuracy=reward,
        )
        for reward in rewards
    ]
    return Group(id_, prompt, rollouts)
