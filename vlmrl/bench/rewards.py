"""How fast box rewards are: each function of `vlmrl.rewards.boxes`, and a task's whole way from text to scores."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vlmrl.answers.convention import Convention
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.registry import find_task
from vlmrl.rewards import boxes
from vlmrl.task import reward_weights, score_group
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample

SCORES = 10_000
RECORD = ImageRecord(0, Size(1920, 1080), Size(1932, 1092))
CONVENTION = Convention(Unit.MODEL, "json")
"""The convention whose answers need most work: numbers in pixels of the resized picture."""
GROUP_SIZE = 8
FUNCTIONS: dict[str, Callable[[Box, Box], float]] = {
    "iou": Box.iou,
    "giou": boxes.giou,
    "squared_iou": boxes.squared_iou,
    "iou_reaches": lambda predicted, target: boxes.iou_reaches(predicted, target, 0.5),
    "staged_iou": lambda predicted, target: boxes.staged_iou(predicted, target, 0.5, 0.75),
    "capped_iou": boxes.capped_iou,
    "corners_near": boxes.corners_near,
    "edge_agreement": boxes.edge_agreement,
    "gaussian_coverage": boxes.gaussian_coverage,
}


@dataclass(frozen=True)
class Timing:
    """Processor time of one core."""

    name: str
    scores: int
    seconds: float


def time_rewards(scores: int = SCORES, seed: int = 0) -> Iterator[Timing]:
    """Times `scores` values of each function, then as many completions of the grounding task, parsed and scored with
    all of its components."""
    rng = random.Random(seed)
    pairs = [(_box(rng), _box(rng)) for _ in range(scores)]
    for name, function in FUNCTIONS.items():
        start = time.process_time()
        for predicted, target in pairs:
            function(predicted, target)
        yield Timing(name, scores, time.process_time() - start)
    task = find_task("grounding").create({})
    weights = reward_weights(task, {})
    rows = [Sample(str(i), (), (RECORD,), "find it", target) for i, (_, target) in enumerate(pairs)]
    texts = [task.render(Sample("", (), (RECORD,), "", predicted), CONVENTION) for predicted, _ in pairs]
    start = time.process_time()
    for first in range(0, scores, GROUP_SIZE):
        row = rows[first]
        rollouts = []
        for text in texts[first : first + GROUP_SIZE]:
            answer = task.parse(text, Finish.STOP, row, CONVENTION)
            rollouts.append(Rollout([], [], 0.0, text, Finish.STOP, answer))
        score_group(task, Group("bench", Prompt(row, "", None, {}), rollouts), weights)  # type: ignore[arg-type]
    components = len(task.rewards())
    yield Timing(f"grounding: parsed, {components} components each", scores, time.process_time() - start)


def _box(rng: random.Random) -> Box:
    xs = sorted(rng.uniform(0, RECORD.original.width) for _ in range(2))
    ys = sorted(rng.uniform(0, RECORD.original.height) for _ in range(2))
    return Box(xs[0], ys[0], xs[1], ys[1], RECORD.frame(Unit.ORIGINAL))
