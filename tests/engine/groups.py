"""Prompts and completions of random content, and the comparison of two engines on them."""

from collections.abc import Sequence

import torch
from PIL import Image

from vlmrl.engine.base import Engine
from vlmrl.engine.cache import layer_kinds
from vlmrl.engine.naive import NaiveEngine
from vlmrl.engine.shared import SharedEngine
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.models.load import Policy
from vlmrl.types import Prompt, Sample, Video

TEMPERATURE = 1.2

Completions = list[list[list[int]]]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = torch.randint(0, 255, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(noise.numpy())


def sample(
    pictures: Sequence[Image.Image], question: str = "click it", videos: Sequence[Video] = (), name: str = "row-0"
) -> Sample:
    records = tuple(ImageRecord(i, Size(*image.size)) for i, image in enumerate(pictures))
    gold = Box(0, 0, 9, 9, ImageRecord(0, Size(10, 10)).frame(Unit.ORIGINAL))
    return Sample(name, tuple(pictures), records, question, gold, videos=tuple(videos))


def encode(policy: Policy, row: Sample) -> Prompt:
    return policy.family.encode(row, row.question)


def prompts_of_two_sizes(policy: Policy) -> list[Prompt]:
    rows = [
        sample([picture(width, height, i)], "click it" * (i + 1), name=f"row-{i}")
        for i, (width, height) in enumerate([(96, 160), (130, 70)])
    ]
    prompts = [encode(policy, row) for row in rows]
    assert len(prompts[0].token_ids_P) != len(prompts[1].token_ids_P)
    return prompts


def ragged_completions(policy: Policy) -> Completions:
    allowed = torch.nonzero(~policy.banned_V)[:, 0]
    generator = torch.Generator().manual_seed(5)
    draw = lambda length: allowed[torch.randint(len(allowed), (length,), generator=generator)].tolist()  # noqa: E731
    return [[draw(6), draw(1), draw(4)], [draw(2), draw(5), draw(3)]]


def gradients(engine: Engine, prompts: list[Prompt], completions: Completions) -> tuple[torch.Tensor, dict]:
    model = engine.policy.model
    model.zero_grad()
    scored = engine.logprobs(prompts, completions, TEMPERATURE)
    weights = torch.linspace(-1, 2, scored.logprobs_NT.numel()).reshape(scored.logprobs_NT.shape)
    (scored.logprobs_NT * weights).sum().backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return scored.logprobs_NT.detach(), grads


def assert_engines_agree(policy: Policy, prompts: list[Prompt], completions: Completions) -> None:
    """Log-probs within 1e-5, and every parameter's gradient within 1e-5 relative to the naive one; within 3e-5 where
    there are layers of linear attention, whose chunks begin elsewhere in a completion that continues a state."""
    recurrent = "linear_attention" in layer_kinds(policy.text_config)
    tolerance = 3e-5 if recurrent else 1e-5
    shared, shared_grads = gradients(SharedEngine(policy, 10_000), prompts, completions)
    naive, naive_grads = gradients(NaiveEngine(policy, 10_000), prompts, completions)
    assert (shared - naive).abs().max() < tolerance
    assert naive.abs().max() > 1
    trainable = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert set(shared_grads) == set(naive_grads)
    # LLaVA-OneVision reads the tower before its last norm
    assert {name for name in trainable - set(naive_grads) if "vision_tower.post_layernorm" not in name} == set()
    total = torch.sqrt(sum(g.square().sum() for g in naive_grads.values()))
    for name, oracle in naive_grads.items():
        error = (shared_grads[name] - oracle).norm()
        assert error <= tolerance * oracle.norm() + 1e-7 * total, f"{name}: {error / oracle.norm():.1e}"
