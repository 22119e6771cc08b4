"""What is sampled for a prompt besides its group."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vlmrl.algorithms.piece import Piece
from vlmrl.media.videos import shuffled_in_time
from vlmrl.types import Rollout, Sample

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm


class Arm(NamedTuple):
    """Completions of another view of a row. They are scored and compared with the group, and not trained on."""

    sample: Sample
    completions: int


class RolloutPlan(Piece):
    """(row, group size, seed) -> contrast arm, or None."""

    has_contrast = False
    rounds: int = 0
    """How many times the group branches."""
    continuations: int = 0
    """New rollouts from each branching point."""

    def branching_points(self, rollouts: Sequence[Rollout], first: int) -> list[tuple[int, int]]:
        """Where a group branches next: member and number of its tokens kept. Members from `first` on are new."""
        return []

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


@dataclass(frozen=True)
class SurprisingTokens(RolloutPlan):
    """The group branches where the policy surprised itself: new rollouts share what came before a token of low
    probability, and go on from there.

    TreeRL (THUDM/TreeRL) with 6 chains, that is rollout.group_size=6: each branches at its 2 most surprising tokens
    into 2 continuations, which makes 30 rollouts.
    """

    branches: int = 2
    """Branching points of each new rollout."""
    continuations: int = 2
    """New rollouts from each branching point."""
    rounds: int = 1
    """Rounds of branching; the second branches the rollouts of the first."""

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        for point in ("repairs", "buffers"):
            if getattr(algorithm, point):
                return f"algorithm.{point} would replace rollouts that others branched from; use one or the other"
        return None

    def branching_points(self, rollouts: Sequence[Rollout], first: int) -> list[tuple[int, int]]:
        points = []
        for member, rollout in enumerate(rollouts[first:], first):
            own = range(rollout.shared_tokens, len(rollout.token_ids_T))
            surprising = sorted(own, key=lambda t: rollout.logprobs_T[t])[: self.branches]
            # groups are of one size, so a rollout with too few tokens branches again at the same ones
            points += [(member, surprising[i % len(surprising)]) for i in range(self.branches)]
        return points

    def __call__(self, sample: Sample, group_size: int, seed: int) -> Arm | None:
        return None
