"""The groups of a step: rows are chosen, sampled, scored, repaired and filtered, until there are enough."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.repairs import GroupRepair, Request
from vlmrl.config import Config
from vlmrl.engine.base import Engine, KeptPasses
from vlmrl.engine.sampling import Completion, row_seed
from vlmrl.errors import UserError
from vlmrl.rollout.groups import make_rollout, sample_groups, sampling_settings
from vlmrl.task import headline_value, score_group
from vlmrl.task_mix import TaskMix
from vlmrl.training.credit import make_batch
from vlmrl.training.data import MixedOrder
from vlmrl.training.metrics import count_sampled
from vlmrl.training.supervised import gold_completion
from vlmrl.types import Finish, Group, Rollout, Sample, Source

HINT_REQUEST = (
    "{question}\nThe right answer is: {solution}\nWrite one short hint that helps to find it, without giving it away."
)


@dataclass
class Collected:
    """What a step trains on."""

    groups: list[Group]
    """Sampled in this step."""
    replayed: list[Group]
    """Of earlier steps."""
    sampled: Counter[str]
    """How many groups of each task were sampled to get them."""
    refills: int
    """How many times free places were filled."""


@dataclass
class Collector:
    """Samples for one run. Everything it remembers is in the order and in the algorithm's pieces."""

    config: Config
    mix: TaskMix
    engine: Engine
    algorithm: Algorithm
    rows: Sequence[Sample]
    order: MixedOrder
    teacher: Engine | None = None
    step: int = field(default=0, init=False)

    def collect(self, step: int, kept: KeptPasses) -> Collected:
        """The step's groups; fewer than wanted if the filter drops too many."""
        self.step = step
        wanted, algorithm = self.config.rollout.prompts_per_step, self.algorithm
        chosen: list[Group] = []
        sampled: Counter[str] = Counter()
        refills = 0
        while True:
            indices = algorithm.curriculum.next(self.order, wanted - len(chosen), step, refill=refills > 0)
            if not indices:
                break
            rows = [self.rows[i] for i in indices]
            # branched groups are larger than the passes that were sized for their first rollouts
            groups = self._sample(rows, sampled.total(), None if algorithm.plan.rounds else kept)
            first = 0
            for _ in range(algorithm.plan.rounds):
                size = len(groups[0].rollouts)
                self._branch(groups, first)
                first = size
            self._contrast(groups)
            for label, repair in algorithm.repairs.items():
                self._repair(label, repair, groups, rows)
            sampled += count_sampled(self.mix, groups)
            keep = self._kept(groups, indices)
            chosen += [group for group, good in zip(groups, keep, strict=True) if good]
            if len(chosen) == wanted or refills == algorithm.filter.max_refills:
                break
            refills += 1
        algorithm.curriculum.step_done()
        replayed = []
        for buffer in algorithm.buffers.values():
            before = [list(group.rollouts) for group in chosen]
            replayed += buffer.exchange(chosen, step)
            self._score_changed(chosen, before)
        return Collected(chosen, replayed, sampled, refills)

    def _sample(self, rows: Sequence[Sample], offset: int, kept: KeptPasses | None) -> list[Group]:
        ids = [f"{self.step}-{offset + i}" for i in range(len(rows))]
        return self._groups(rows, ids, self.config.rollout.group_size, kept)

    def _groups(
        self, rows: Sequence[Sample], ids: Sequence[str], count: int, kept: KeptPasses | None = None
    ) -> list[Group]:
        """Scored groups of `count` completions; `ids` seed them."""
        seeds = [[row_seed(self.config.run.seed, id_, g) for g in range(count)] for id_ in ids]
        settings = sampling_settings(self.config.rollout)
        groups = sample_groups(self.engine, self.mix, rows, settings, seeds, ids, kept)
        for group in groups:
            self._measure(group)
        self._refuse_failing_rewards(groups)
        return groups

    def _measure(self, group: Group) -> None:
        task = self.mix.of(group.sample).task
        for rollout in group.rollouts:
            rollout.accuracy = headline_value(task, group.sample, rollout)

    def _branch(self, groups: Sequence[Group], first: int) -> None:
        """Lets every group grow by rollouts that share their first tokens with one of its members from `first` on."""
        plan, policy, rollout = self.algorithm.plan, self.engine.policy, self.config.rollout
        points = [(group, *point) for group in groups for point in plan.branching_points(group.rollouts, first)]
        prefixes = [torch.tensor(group.rollouts[member].token_ids_T)[:position] for group, member, position in points]
        prompts = [
            policy.family.continued(group.prompt, prefix_T)
            for (group, _, _), prefix_T in zip(points, prefixes, strict=True)
        ]
        seeds = [
            [row_seed(self.config.run.seed, group.id, "branch", first, i, c) for c in range(plan.continuations)]
            for i, (group, _, _) in enumerate(points)
        ]
        found = self.engine.sample(prompts, sampling_settings(rollout), seeds)
        for (group, member, position), continuations in zip(points, found, strict=True):
            task = self.mix.of(group.sample).task
            for continuation in continuations:
                whole = joined(group.rollouts[member], position, continuation, rollout.max_completion_tokens)
                new = make_rollout(policy, task, group.prompt, whole)
                new.parent, new.shared_tokens = member, position
                group.rollouts.append(new)
        for group in groups:
            self._score(group)

    def _contrast(self, groups: Sequence[Group]) -> None:
        """Samples the contrast arms that the plan wants."""
        arms = []
        for group in groups:
            seed = row_seed(self.config.run.seed, group.id, "contrast")
            if arm := self.algorithm.plan(group.sample, len(group.rollouts), seed):
                arms.append((group, arm))
        if not arms:
            return
        ids = [f"{group.id}-contrast" for group, _ in arms]
        others = self._groups([arm.sample for _, arm in arms], ids, arms[0][1].completions)
        for (group, _), other in zip(arms, others, strict=True):
            group.contrast = other.rollouts

    def _repair(self, label: str, repair: GroupRepair, groups: Sequence[Group], rows: Sequence[Sample]) -> None:
        """Asks a repair about all groups, attempt after attempt, and samples what it requests."""
        attempt = 0
        while True:
            before = [list(group.rollouts) for group in groups]
            asked: list[tuple[Group, Request]] = []
            for group, row in zip(groups, rows, strict=True):
                if request := repair.ask(group, row, self.step, attempt, self):
                    asked.append((group, request))
            self._score_changed(groups, before)
            if not asked:
                return
            ids = [f"{group.id}-{label}-{attempt}" for group, _ in asked]
            answers = self._groups([request.sample for _, request in asked], ids, asked[0][1].completions)
            before = [list(group.rollouts) for group in groups]
            for (group, _), answer in zip(asked, answers, strict=True):
                repair.merge(group, answer)
            self._score_changed(groups, before)
            attempt += 1

    def _score_changed(self, groups: Sequence[Group], before: Sequence[Sequence[Rollout]]) -> None:
        """Scores groups that have other members than before; all of them, because a reward may compare members."""
        for group, old in zip(groups, before, strict=True):
            if any(new is not was for new, was in zip(group.rollouts, old, strict=True)):
                self._score(group)

    def _score(self, group: Group) -> None:
        part = self.mix.of(group.sample)
        score_group(part.task, group, part.weights)
        self._measure(group)

    def _kept(self, groups: Sequence[Group], indices: Sequence[int]) -> list[bool]:
        """Which groups the filter keeps; also tells the curriculum how they did."""
        algorithm, rollout = self.algorithm, self.config.rollout
        for group, index in zip(groups, indices, strict=True):
            rewards, accuracies = (
                torch.tensor([[getattr(r, name) for r in group.rollouts]], dtype=torch.float64)
                for name in ("reward", "accuracy")
            )
            algorithm.curriculum.observe(self.order, [index], rewards, accuracies)
        keep: dict[str, bool] = {}
        for part in self.mix.parts:
            own = [group for group in groups if self.mix.of(group.sample) is part]
            if own:
                batch = make_batch(part, own, self.step, rollout.max_completion_tokens)
                keep |= {g.id: good for g, good in zip(own, algorithm.filter(batch).tolist(), strict=True)}
        return [keep[group.id] for group in groups]

    def solution(self, sample: Sample) -> str:
        """The text that answers the row perfectly, as the model is shown it."""
        part = self.mix.of(sample)
        policy = self.engine.policy
        prompt = policy.family.encode(sample, part.task.request(sample, policy.family.convention))
        return gold_completion(part.task, prompt.sample, policy)

    def teacher_hint(self, sample: Sample) -> str:
        """A hint that the teacher writes, told the answer."""
        assert self.teacher is not None
        family = self.teacher.policy.family
        request = HINT_REQUEST.format(question=sample.question, solution=self.solution(sample))
        settings = sampling_settings(self.config.rollout)
        seeds = [[row_seed(self.config.run.seed, self.step, sample.id, "hint")]]
        ((hint,),) = self.teacher.sample([family.encode(sample, request)], settings, seeds)
        return family.tokenizer.decode(hint.token_ids_T, skip_special_tokens=True)

    def expert(self, group: Group) -> Rollout | None:
        """The row's solution as a rollout of the group's prompt."""
        policy, task = self.engine.policy, self.mix.of(group.sample).task
        text = gold_completion(task, group.sample, policy)
        ids = policy.family.tokenizer(text, add_special_tokens=False).input_ids
        ids = [*ids, policy.family.end_of_turn(policy.model)]
        if len(ids) > self.config.rollout.max_completion_tokens or policy.banned_V[ids].any():
            return None
        rollout = make_rollout(policy, task, group.prompt, Completion(ids, [0.0] * len(ids), 0.0, Finish.STOP))
        rollout.source = Source.EXPERT
        return rollout

    def _refuse_failing_rewards(self, groups: Sequence[Group]) -> None:
        scores = [(g, name, s) for g in groups for r in g.rollouts for name, s in r.scores.items()]
        errors = [(group, name, score.error) for group, name, score in scores if score.error]
        if len(errors) > self.config.run.max_error_rate * len(scores):
            group, name, trace = errors[0]
            raise UserError(
                f"reward {name} failed on row {group.sample.id} ({len(errors)} of {len(scores)} scores of step "
                f"{self.step} failed; run.max_error_rate={self.config.run.max_error_rate}):\n{trace}"
            )


def joined(rollout: Rollout, kept: int, continuation: Completion, limit: int) -> Completion:
    """A rollout's first tokens and how they went on, cut at the token limit.

    Its entropy is the mean of the two parts', by their tokens.
    """
    added = len(continuation.token_ids_T)
    entropy = (kept * rollout.entropy + added * continuation.entropy) / (kept + added)
    ids = [*rollout.token_ids_T[:kept], *continuation.token_ids_T]
    logprobs = [*rollout.logprobs_T[:kept], *continuation.logprobs_T]
    finish = continuation.finish if len(ids) <= limit else Finish.LENGTH
    return Completion(ids[:limit], logprobs[:limit], entropy, finish)
