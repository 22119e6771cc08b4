"""GUI grounding: given a screenshot and an instruction, answer where to click."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

from vlmrl.answers.answer_type import AnswerType
from vlmrl.answers.convention import Convention
from vlmrl.answers.coordinates import BOX, POINT, CoordinateAnswer
from vlmrl.answers.points import POINTS, PointsAnswer
from vlmrl.geometry import Box, ImageRecord, Size, Unit
from vlmrl.rewards import boxes
from vlmrl.synthetic.drawn_rows import DrawnRows
from vlmrl.task import Split, Task, metric, reward
from vlmrl.training.scenes import Scene, SceneKind
from vlmrl.types import PromptMode, Refusal, Rollout, Sample, Score

from .loaders import load_rows
from .scenes import draw_scenes
from .schemas import SCHEMAS
from .synthetic import Screen, draw_screen
from .targets import Click, Polygon, exploration, first_click, hits, target_box

ANSWERS: Mapping[str, CoordinateAnswer | PointsAnswer] = {"point": POINT, "points": POINTS, "box": BOX}
NO_EXTENT = Score(unscorable="a point has no extent; set task.options.answer=box")


@dataclass
class GuiGrounding(Task):
    """Click the element of a screenshot that an instruction names."""

    answer: Literal["point", "points", "box"] = "point"
    """What the model is asked for: the point to click, candidates for it, or the element's box."""
    mode: Literal["direct", "think"] = "direct"
    """Prompt mode of rows that state none: answer at once, or think first."""

    formats: ClassVar[Mapping[str, str]] = {schema.name: schema.description for schema in SCHEMAS}

    def answers_with(self, sample: Sample) -> AnswerType:
        refusable = bool(sample.extra.get("refusable"))
        return replace(ANSWERS[self.answer], refusable=refusable)

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

    def render(self, sample: Sample, convention: Convention) -> str:
        polygon = sample.extra.get("polygon")
        if isinstance(polygon, Polygon) and self.answer != "box":
            sample = replace(sample, gold=polygon.inner_point)  # the centre of the box around it may be outside
        return super().render(sample, convention)

    @reward(weight=1.0)
    def point_in_box(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """1 if the click (a box clicks its centre) is in the target, edges included, or rightly refused."""
        return float(hits(answer, sample))

    @reward(weight=0.1)
    def format(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """1 for an answer in the requested format; only those reach a reward."""
        return 1.0

    @reward(weight=0.0)
    def closeness(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """Falls with the square of the click's distance from the target's centre."""
        return _paid(boxes.closeness, answer, sample)

    @reward(weight=0.25)
    def iou(self, answer: Click, sample: Sample, rollout: Rollout) -> float | Score:
        """Intersection over union of a box answer with the target."""
        return self._paid_by_extent(Box.iou, answer, sample)

    @reward(weight=0.125)
    def box_size(self, answer: Click, sample: Sample, rollout: Rollout) -> float | Score:
        """Harmonic mean of how close the four edges of a box answer are to the target's."""
        return self._paid_by_extent(boxes.edge_agreement, answer, sample)

    @reward(weight=0.0)
    def point_strictly_in_box(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """1 if the click is in the target and not on an edge."""
        return _paid(boxes.point_strictly_in_box, answer, sample)

    @reward(weight=0.0, bounds=(0.0, 2.0))
    def inside_and_close(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """1 for a click in the target, and closeness as far as one side of the picture."""
        return _paid(boxes.inside_and_close, answer, sample, most=2.0)

    @reward(weight=0.0)
    def gaussian_point(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """A Gaussian over the target, 1 at its centre."""
        return _paid(boxes.gaussian_point, answer, sample)

    @reward(weight=0.0)
    def gaussian_coverage(self, answer: Click, sample: Sample, rollout: Rollout) -> float | Score:
        """How much the Gaussians of a box answer and of the target overlap."""
        return self._paid_by_extent(boxes.gaussian_coverage, answer, sample)

    @reward(weight=0.0, bounds=(-1.0, 1.0))
    def exploration(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """1 / sqrt(N k) for N candidates of which the k-th is the first in the target, -1 / N if none is."""
        return exploration(answer, sample)

    @metric
    def hit(self, answer: Click, sample: Sample, rollout: Rollout) -> float:
        """The ScreenSpot score: the click (or first candidate) is in the target, edges included, or rightly refused."""
        return float(hits(answer, sample))

    def _paid_by_extent(self, rule: Callable[[Box, Box], float], answer: Click, sample: Sample) -> float | Score:
        return NO_EXTENT if self.answer != "box" else _paid(rule, answer, sample)


def _paid(rule: Callable[..., float], answer: Click, sample: Sample, most: float = 1.0) -> float:
    """`rule` of the click and the target's box (the one around a polygon); a refusal earns `most` or nothing."""
    if isinstance(answer, Refusal) or isinstance(sample.gold, Refusal):
        return most * hits(answer, sample)
    return rule(first_click(answer), target_box(sample))
