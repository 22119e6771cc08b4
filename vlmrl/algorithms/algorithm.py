"""An algorithm: one choice at each extension point. The loop runs it and knows no paper's name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from vlmrl.algorithms.advantage_transforms import AdvantageTransform
from vlmrl.algorithms.advantages import AdvantageEstimator
from vlmrl.algorithms.auxiliary import AuxiliaryUpdate
from vlmrl.algorithms.buffers import Buffer
from vlmrl.algorithms.controllers import Controller
from vlmrl.algorithms.curricula import Curriculum
from vlmrl.algorithms.filters import GroupFilter
from vlmrl.algorithms.judge import Judge
from vlmrl.algorithms.objectives import GroupObjective
from vlmrl.algorithms.piece import Need, Piece
from vlmrl.algorithms.plans import RolloutPlan
from vlmrl.algorithms.reducers import Reducer
from vlmrl.algorithms.regularisers import Kl, Regulariser
from vlmrl.algorithms.repairs import GroupRepair
from vlmrl.algorithms.reward_transforms import RewardTransform
from vlmrl.algorithms.surrogates import Surrogate
from vlmrl.algorithms.token_credit import TokenCredit
from vlmrl.algorithms.token_weights import TokenWeight


@dataclass(frozen=True)
class Algorithm:
    """Fields are the extension points, in the order a step meets them.

    Mappings hold several pieces by label, applied in their order.
    """

    curriculum: Curriculum
    """Which rows come next."""
    plan: RolloutPlan
    """What is sampled for a prompt besides its group."""
    judge: Judge | None
    """A second opinion on completions, for pieces that ask for one."""
    repairs: Mapping[str, GroupRepair]
    """What is done about a group that taught nothing."""
    filter: GroupFilter
    """Which groups are trained on, and how often free places are filled."""
    buffers: Mapping[str, Buffer]
    """What earlier steps lend to later ones."""
    reward_transforms: Mapping[str, RewardTransform]
    """Changes of rewards before advantages are taken."""
    advantage: AdvantageEstimator
    """What a rollout earned, compared with its group and scaled."""
    advantage_transforms: Mapping[str, AdvantageTransform]
    """Weights of whole groups."""
    credit: TokenCredit
    """From one advantage per rollout to one per token."""
    auxiliary: Mapping[str, AuxiliaryUpdate]
    """Optimiser steps besides the one on the fresh batch."""
    token_weights: Mapping[str, TokenWeight]
    """Weights and masks of single tokens."""
    surrogate: Surrogate
    """The per-token policy loss."""
    expert_surrogate: Surrogate | None
    """The per-token loss of rows that the policy did not write."""
    objective: GroupObjective | None
    """A loss over whole groups, in place of advantages and surrogate."""
    regularisers: Mapping[str, Regulariser]
    """Terms that hold the policy near another one, or shape its entropy."""
    reducer: Reducer
    """From per-token losses to the scalar that is minimised."""
    controllers: Mapping[str, Controller]
    """Factors of regularisers or rewards that follow what the run does."""

    def pieces(self) -> Iterator[tuple[str, Piece]]:
        """Every piece with its place: `surrogate`, `regularisers.kl`."""
        for point in fields(self):
            chosen = getattr(self, point.name)
            if isinstance(chosen, Mapping):
                yield from ((f"{point.name}.{label}", piece) for label, piece in chosen.items())
            elif chosen is not None:
                yield point.name, chosen

    def needs(self) -> frozenset[Need]:
        """What any piece needs."""
        return frozenset(need for _, piece in self.pieces() for need in piece.needs())

    @property
    def loss_regularisers(self) -> dict[str, Regulariser]:
        """Those that are part of the loss now."""
        return {label: r for label, r in self.regularisers.items() if r.coefficient and not r.in_reward}

    @property
    def reward_regularisers(self) -> dict[str, Kl]:
        """Those that are subtracted from rewards."""
        return {
            label: r for label, r in self.regularisers.items() if isinstance(r, Kl) and r.coefficient and r.in_reward
        }

    @property
    def compares_weights(self) -> bool:
        """Whether log-probs of different weights meet, besides those of inner epochs."""
        other = {"reference", "teacher"} & self.needs()
        return bool(other or self.buffers or self.auxiliary)

    def factor(self, target: str) -> float:
        """What the controllers of a target multiply it by."""
        value = 1.0
        for controller in self.controllers.values():
            if controller.target == target:
                value *= controller.factor()
        return value

    def state_dict(self) -> dict[str, dict[str, Any]]:
        return {place: state for place, piece in self.pieces() if (state := piece.state_dict())}

    def load_state_dict(self, state: Mapping[str, dict[str, Any]]) -> None:
        for place, piece in self.pieces():
            if place in state:
                piece.load_state_dict(state[place])
