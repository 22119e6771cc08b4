"""GUI grounding: given a screenshot and an instruction, answer where to click."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT
from vlmrl.geometry import Box, ImageRecord, Point, Size, Unit
from vlmrl.rewards import boxes
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.training.scenes import Scene, SceneKind
from vlmrl.types import PromptMode, Rollout, Sample, Score

from .loaders import load_rows
from .scenes import draw_scenes
from .schemas import SCHEMAS
from .synthetic import Screen, draw_screen

NO_EXTENT = Score(unscorable="a point has no extent; set task.options.answer=box")


@dataclass
class GuiGrounding(Task):
    """Click the element of a screenshot that an instruction names."""

    answer: Literal["point", "box"] = "point"
    """What the model is asked for: the point to click, or the element's box."""
    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""

    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def __post_init__(self) -> None:
        self.answer_type = BOX if self.answer == "box" else POINT

    def load(self, path: Path) -> Sequence[Sample]:
        return load_rows(path, mode=PromptMode(self.mode))

    def synthetic(self, split: Split, rows: int, seed: int) -> Sequence[Sample]:
        return DrawnRows(split, rows, seed, draw_screen, self._row)

    def _row(self, screen: Screen, id_: str) -> Sample:
        question = random.Random(f"question {screen.seed}").choice(screen.questions())
        record = ImageRecord(0, Size(*screen.image.size))
        return Sample(
            id=id_,
            images=(screen.image,),
            records=(record,),
            question=question.instruction,
            gold=Box(*question.target.box, record.frame(Unit.ORIGINAL)),
            mode=PromptMode(self.mode),
            tags={"platform": screen.device, "kind": "icon" if question.target.kind == "icon" else "text"},
        )

    def scenes(self, seed: int, convention: Convention, kind: SceneKind) -> Iterator[Scene]:
        """Drawn training screens with all their elements and questions, for the embedded model's recipe."""
        return draw_scenes(seed, convention, kind)

    @reward(weight=1.0)
    def point_in_box(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """1 if the click (a box clicks its centre) is in the target, edges included."""
        return boxes.point_in_box(answer, _target(sample))

    @reward(weight=0.1)
    def format(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def closeness(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """Falls with the square of the click's distance from the target's centre."""
        return boxes.closeness(answer, _target(sample))

    @reward(weight=0.25)
    def iou(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float | Score:
        """Intersection over union of a box answer with the target."""
        return answer.iou(_target(sample)) if isinstance(answer, Box) else NO_EXTENT

    @reward(weight=0.125)
    def box_size(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float | Score:
        """Harmonic mean of how close the four edges of a box answer are to the target's."""
        return boxes.edge_agreement(answer, _target(sample)) if isinstance(answer, Box) else NO_EXTENT

    @reward(weight=0.0)
    def point_strictly_in_box(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """1 if the click is in the target and not on an edge."""
        return boxes.point_strictly_in_box(answer, _target(sample))

    @reward(weight=0.0, bounds=(0.0, 2.0))
    def inside_and_close(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """1 for a click in the target, and closeness as far as one side of the picture."""
        return boxes.inside_and_close(answer, _target(sample))

    @reward(weight=0.0)
    def gaussian_point(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """A Gaussian over the target, 1 at its centre."""
        return boxes.gaussian_point(answer, _target(sample))

    @reward(weight=0.0)
    def gaussian_coverage(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float | Score:
        """How much the Gaussians of a box answer and of the target overlap."""
        return boxes.gaussian_coverage(answer, _target(sample)) if isinstance(answer, Box) else NO_EXTENT

    @metric
    def hit(self, answer: Point | Box, sample: Sample, rollout: Rollout) -> float:
        """The ScreenSpot score: the click is in the target, edges included."""
        return boxes.point_in_box(answer, _target(sample))


def _target(sample: Sample) -> Box:
    if not isinstance(sample.gold, Box):
        raise TypeError(f"row {sample.id}: the target of GUI grounding is a box, not {sample.gold}")
    return sample.gold
