"""`vlmrl preview`: rows as a model will see them, before anything is trained.

Each row goes through the one processor call of training; its gold answer is written in the model's convention, parsed
back and scored by the task's own rewards, and so are completions that must not pay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vlmrl.checks.rows import GOLD, RowCheck
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.geometry import Box, ImageRecord, Span, Unit
from vlmrl.models.families import Family
from vlmrl.models.load import load_family
from vlmrl.progress import phase, tracked
from vlmrl.report.sampling import spread
from vlmrl.task import score_group
from vlmrl.task_mix import TaskPart, only_task
from vlmrl.training.data import load_rows
from vlmrl.types import Action, Answer, Boxes, Finish, Group, Rollout, Sample, Spans

SYNTHETIC_ROWS = 1000
"""Rows of a generator that the shown ones are spread over."""


@dataclass(frozen=True)
class PreviewRow:
    """One row as the model gets it."""

    group: Group
    """The prompt, with one rollout: the gold answer as the model would write it, parsed back and scored."""
    metric: float
    """What the headline metric gives that answer: 1, or no model can be right on this row."""
    target: float | None
    """Share of the picture or clip that the smallest target covers; None where there is none to look for."""
    model_target: str
    """The smallest target's size as the model sees it; empty where there is none, or the picture comes in tiles."""
    rounding: float | None
    """IoU of a gold box or span with what is left of it after rounding to the model's coordinates."""
    blind: tuple[str, float] | None
    """The answer made without looking that earns most, and its reward; None if the task has none for this row."""
    problems: Sequence[str]
    """Why the row cannot be trained on."""


@dataclass(frozen=True)
class Preview:
    """Rows spread over a data set."""

    task: str
    model: str
    data: str
    coordinates: Unit
    """What the model's coordinates are in."""
    metric: str
    total: int
    """Rows of the data set."""
    rows: Sequence[PreviewRow]
    unusable: Sequence[str]
    """Rows that give no prompt, and why."""

    @property
    def faulty(self) -> int:
        """How many of the chosen rows cannot be trained on."""
        return sum(bool(row.problems) for row in self.rows) + len(self.unusable)


def preview(config: Config, shown: int) -> Preview:
    """At most `shown` rows of the configured task's training data, evenly spread, the first and the last among them.

    Raises UserError if the task, its data or the model's processor cannot be loaded.
    """
    part = only_task(config, "preview")
    with phase("loading"):
        family = load_family(config.model)
        if part.data.train is None:
            rows, data = part.task.synthetic("train", SYNTHETIC_ROWS, config.run.seed), "drawn by the task's generator"
        else:
            rows, data = load_rows(part.task, part.data.train, part.data.download), part.data.train
    chosen = [rows[i] for i in spread(range(len(rows)), shown)]
    seen: list[PreviewRow] = []
    unusable: list[str] = []
    for sample in tracked(chosen, "preparing rows", len(chosen)):
        try:
            seen.append(preview_row(part, family, sample))
        except UserError as error:
            unusable.append(str(error))
    unit, metric = family.convention.unit, part.task.metrics()[0]
    return Preview(part.name, config.model.path, data, unit, metric, len(rows), seen, unusable)


def preview_row(part: TaskPart, family: Family, sample: Sample) -> PreviewRow:
    """Raises UserError naming the row if its pictures or videos cannot be opened."""
    prompt = family.encode(sample, part.task.request(sample, family.convention))
    sample = prompt.sample
    check = RowCheck(part.task, family, prompt, part.weights)
    tokens = family.tokenizer(check.gold_text, add_special_tokens=False).input_ids
    answer = part.task.parse(check.gold_text, Finish.STOP, sample, family.convention)
    group = Group("preview", prompt, [Rollout(tokens, [0.0] * len(tokens), 0.0, check.gold_text, Finish.STOP, answer)])
    score_group(part.task, group, part.weights)
    blind = {attack.name: check.outcomes[attack.name]["reward"] for attack in check.attacks if attack.blind}
    targets = list(_targets(sample))
    smallest = min(targets, key=_share, default=None)
    return PreviewRow(
        group=group,
        metric=check.outcomes[GOLD][part.task.metrics()[0]],
        target=None if smallest is None else _share(smallest),
        model_target=_model_size(smallest, sample.records),
        rounding=_rounding(sample.gold, answer),
        blind=max(blind.items(), key=lambda item: item[1], default=None),
        problems=list(check.problems()),
    )


def _targets(sample: Sample) -> Iterator[Box | Span]:
    """The boxes and spans that the row asks for."""
    match sample.gold:
        case Box() | Span():
            yield sample.gold
        case Boxes(items):
            yield from (item.box for item in items)
        case Spans(spans):
            yield from spans
        case Action() if isinstance(target := sample.extra.get("target"), Box):
            yield target


def _share(target: Box | Span) -> float:
    if isinstance(target, Span):
        return target.length / target.clip.duration
    return target.area / (target.frame.width * target.frame.height)


def _model_size(target: Box | Span | None, records: Sequence[ImageRecord]) -> str:
    if isinstance(target, Span):
        return f"{target.length:.1f} s"
    if target is None or (record := records[target.frame.image]).model is None:
        return ""
    seen = target.to(record.frame(Unit.MODEL))
    return f"{seen.width:.0f}x{seen.height:.0f} px"


def _rounding(gold: Answer, parsed: object) -> float | None:
    match gold, parsed:
        case Box(), Box():
            return gold.iou(parsed)
        case Span(), Span():
            return gold.tiou(parsed)
    return None
