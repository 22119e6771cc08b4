"""A second opinion on completions. vlmrl ships none: a judge is a model of yours, or whatever else can score."""

from abc import abstractmethod
from collections.abc import Sequence

from vlmrl.algorithms.piece import Piece
from vlmrl.types import Group


class Judge(Piece):
    """(group) -> one score per rollout, in the range that the piece asking for it names."""

    @abstractmethod
    def __call__(self, group: Group) -> Sequence[float]: ...
