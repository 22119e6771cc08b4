"""What is sampled for a prompt besides its group."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from vlmrl.algorithms.piece import Piece
from vlmrl.media.videos import shuffled_in_time
from vlmrl.types import Sample


class Arm(NamedTuple):
    """Completions of another view of a row. They are scored and compared with the group, and not trained on."""

    sample: Sample
    completions: int


class RolloutPlan(Piece):
    """(row, group size, seed) -> contrast arm, or None."""

    has_contrast = False

    @abstractmethod
    def __call__(self, sample: Sample, group_size: int, seed: int) -> Arm | None: ...


@dataclass(frozen=True)
class GroupOnly(RolloutPlan):
    """The group and nothing else."""

    def __call__(self, sample: Sample, group_size: int, seed: int) -> Arm | None:
        return None


@dataclass(frozen=True)
class ShuffledFrames(RolloutPlan):
    """A contrast arm on the same video with its frames in random order; rows without a video have none.

    T-GRPO (Video-R1, arXiv 2503.21776).
    """

    share: float = 0.5
    """Its size, as a share of the group's."""

    has_contrast = True

    def __call__(self, sample: Sample, group_size: int, seed: int) -> Arm | None:
        if not sample.videos:
            return None
        return Arm(shuffled_in_time(sample, seed), max(1, round(self.share * group_size)))
