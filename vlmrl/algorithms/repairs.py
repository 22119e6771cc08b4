"""What is done about a group that taught nothing: hints and experts, before it is filtered."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from vlmrl.algorithms.piece import Need, Piece
from vlmrl.errors import UserError
from vlmrl.types import Group, Rollout, Sample, Source

if TYPE_CHECKING:
    from vlmrl.algorithms.algorithm import Algorithm

HINTS = "hints"
"""Field of `Sample.extra`: the row's hints, each going further than the one before."""
HINTED_QUESTION = "{question}\nHint: {hint}"


class Request(NamedTuple):
    """Completions of a changed row that a repair wants."""

    sample: Sample
    completions: int


class Helper(Protocol):
    """What a repair can ask for about a row."""

    def solution(self, sample: Sample) -> str:
        """The text that answers the row perfectly, with the row's own reasoning if it has one."""
        ...

    def teacher_hint(self, sample: Sample) -> str:
        """A hint written by the teacher, who is told the answer."""
        ...

    def expert(self, group: Group) -> Rollout | None:
        """The solution as a rollout of the group's prompt; None if it is too long."""
        ...


class GroupRepair(Piece):
    """Asked about each scored group, attempt after attempt, until no group wants anything.

    A repair may change the group by itself; or return a request, whose scored completions it is then given to merge.
    Groups keep their size.
    """

    @abstractmethod
    def ask(self, group: Group, row: Sample, step: int, attempt: int, helper: Helper) -> Request | None:
        """`row` is the group's row without hints."""

    def merge(self, group: Group, answers: Group) -> None:
        """Puts scored answers into the group."""


def hinted(row: Sample, hint: str) -> Sample:
    return replace(row, question=HINTED_QUESTION.format(question=row.question, hint=hint))


@dataclass(frozen=True)
class SolutionHints(GroupRepair):
    """A group without any accuracy is sampled anew, all of it, with more and more of the solution in its question.

    GHPO (arXiv 2507.10628). The question stays hinted in the loss. A group that fails at the last level is trained on
    as it is, with advantages of 0.
    """

    levels: tuple[float, ...] = (0.25, 0.5, 0.75)
    """Shares of the solution's characters, tried in turn; none switches the piece off."""
    start_step: int = 0
    """Steps without hints at the start."""

    def ask(self, group: Group, row: Sample, step: int, attempt: int, helper: Helper) -> Request | None:
        if (
            step <= self.start_step
            or attempt >= len(self.levels)
            or any(rollout.accuracy > 0 for rollout in group.rollouts)
        ):
            return None
        solution = helper.solution(row)
        hint = solution[: max(1, round(self.levels[attempt] * len(solution)))]
        return Request(hinted(row, hint), len(group.rollouts))

    def merge(self, group: Group, answers: Group) -> None:
        group.prompt, group.rollouts = answers.prompt, answers.rollouts
        for rollout in group.rollouts:
            rollout.source = Source.HINTED


@dataclass(frozen=True)
class HintedSlot(GroupRepair):
    """A group without a right answer gets one in its first place: the one found with the least help.

    Scaf-GRPO (arXiv 2510.19807): one completion is sampled with each level of hints, added up, until one is right. The
    levels are the row's `hints` (`Sample.extra`), or else equal parts of its solution.
    """

    exempt_steps: int = 50
    """Steps without hints at the start."""
    prompt: Literal["hinted", "original"] = "hinted"
    """Which prompt the new rollout's log-probs condition on."""
    parts: int = 8
    """Levels for a row without hints of its own."""

    def ask(self, group: Group, row: Sample, step: int, attempt: int, helper: Helper) -> Request | None:
        if step <= self.exempt_steps or any(rollout.accuracy >= 0.5 for rollout in group.rollouts):
            return None
        hints = self._levels(row, helper)
        return Request(hinted(row, hints[attempt]), 1) if attempt < len(hints) else None

    def _levels(self, row: Sample, helper: Helper) -> list[str]:
        hints = row.extra.get(HINTS)
        if hints is None:
            solution = helper.solution(row)
            return [solution[: round(len(solution) * k / self.parts)] for k in range(1, self.parts + 1)]
        if isinstance(hints, str) or not all(isinstance(hint, str) for hint in hints):
            raise UserError(f"row {row.id}, field {HINTS}: must be a list of texts, each going further")
        return ["\n".join(hints[:k]) for k in range(1, len(hints) + 1)]

    def merge(self, group: Group, answers: Group) -> None:
        found = answers.rollouts[0]
        if found.accuracy < 0.5:
            return
        found.source = Source.HINTED
        if self.prompt == "hinted":
            found.prompt = answers.prompt
        group.rollouts[0] = found


@dataclass(frozen=True)
class TeacherHint(GroupRepair):
    """A group without any reward gets completions that a hint of the teacher led to; they train the plain prompt.

    KEPO (arXiv 2602.00400): the teacher writes a hint knowing the answer, and the policy samples with it, until a
    completion is rewarded.
    """

    count: int = 2
    """Completions per attempt, which then take the last places of the group."""
    attempts: int = 5
    """Most attempts; 0 switches the piece off."""

    def needs(self) -> frozenset[Need]:
        return frozenset({"teacher"})

    def ask(self, group: Group, row: Sample, step: int, attempt: int, helper: Helper) -> Request | None:
        if attempt >= self.attempts or any(rollout.reward for rollout in group.rollouts):
            return None
        return Request(hinted(row, helper.teacher_hint(row)), min(self.count, len(group.rollouts)))

    def merge(self, group: Group, answers: Group) -> None:
        if any(rollout.reward > 0 for rollout in answers.rollouts):
            # a group's members are exchangeable, so the last places are as random as any
            group.rollouts[-len(answers.rollouts) :] = answers.rollouts
            for rollout in answers.rollouts:
                rollout.source = Source.HINTED


@dataclass(frozen=True)
class ExpertSlot(GroupRepair):
    """The last rollouts of every group are the row's solution, as an expert wrote it; too long a one is left out.

    LUFFY (arXiv 2504.14945). Expert rows go through `expert_surrogate`.
    """

    slots: int = 1
    """Places taken; 0 switches the piece off."""

    def fault(self, algorithm: "Algorithm", group_size: int, completion_limit: int) -> str | None:
        if algorithm.expert_surrogate is None:
            return "expert rows have no loss of their own; set algorithm.expert_surrogate=expert_shaping"
        return None

    def ask(self, group: Group, row: Sample, step: int, attempt: int, helper: Helper) -> Request | None:
        for slot in range(self.slots if attempt == 0 else 0):
            expert = helper.expert(group)
            if expert is not None:
                group.rollouts[-1 - slot] = expert
        return None
