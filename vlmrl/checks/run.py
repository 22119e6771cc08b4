"""`vlmrl check`, and the quick version of it that every training run starts with.

Every picture and video is decoded; every row's gold answer is written in the model's own convention, parsed back and
scored by the task's real rewards and metrics, and so are completions that must not pay. This catches wrong coordinate
frames, targets that the model's resolution cannot express, videos of another length than their rows say, leaks between
splits, and rewards that give something for nothing, before any GPU time is spent.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vlmrl.checks.media import damaged_media, leaks, misplaced_spans, spread
from vlmrl.checks.report import CheckReport, MixedReport, means
from vlmrl.checks.rows import GOLD, RowCheck, overpaid
from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.media.pictures import MediaKey, media_key
from vlmrl.models.families import Family
from vlmrl.models.load import context_tokens, load_family
from vlmrl.progress import tracked
from vlmrl.task import Task, reward_weights
from vlmrl.task_mix import TaskPart, task_mix
from vlmrl.training.data import held_out_rows, load_rows
from vlmrl.types import Prompt, Sample

SYNTHETIC_ROWS = 200
"""Rows that are checked of a synthetic generator."""
QUICK_ROWS = 64
"""Rows whose answers are scored before training."""
QUICK_PICTURES = 500
"""Pictures that are decoded before training."""
QUICK_VIDEOS = 50
"""Videos that are decoded before training; one takes as long as dozens of pictures."""


Key = tuple[MediaKey, ...]
"""The pictures and videos of a row."""


def check(config: Config) -> CheckReport | MixedReport:
    """Checks every row of each task's data (or the first rows of its generator)."""
    mix, family = task_mix(config), load_family(config.model)
    reports = [_check_task(part, family, config) for part in mix.parts]
    return MixedReport(reports) if mix.several else reports[0]


def _check_task(part: TaskPart, family: Family, config: Config) -> CheckReport:
    if part.data.train is None:
        rows, data = part.task.synthetic("train", SYNTHETIC_ROWS, config.run.seed), "synthetic"
    else:
        rows, data = load_rows(part.task, part.data.train, part.data.download), part.data.train
    report = CheckReport(part.name, config.model.path, data)
    found = list(tracked(rows, "reading rows", len(rows)))
    report.problems += damaged_media(found)
    problems, notes = misplaced_spans(found)
    report.problems += problems
    report.notes += notes
    report.problems += _repeated_ids(found)
    report.notes += _repeated_questions(found)
    _check_answers(report, part.task, family, found, part.weights)
    report.problems += _over_context(report, config)
    if part.data.held_out is not None:
        report.problems += leaks(found, held_out_rows(part))
    return report


def require_sound_rows(task: Task, family: Family, rows: Sequence[Sample], weights: Mapping[str, float]) -> CheckReport:
    """The quick check before training, on some rows spread over the data. Raises UserError for the first problem."""
    report = CheckReport("", "", "")
    _check_answers(report, task, family, spread(rows, QUICK_ROWS), weights)
    if not report.ok:
        more = f" ({len(report.problems)} problems in {report.rows} checked rows)" if len(report.problems) > 1 else ""
        raise UserError(f"{report.problems[0]}{more}; `vlmrl check` lists every row")
    return report


def require_sound_pictures(rows: Sequence[Sample]) -> None:
    """Decodes a data file's pictures and videos (some of a large one's). Raises UserError for the first bad one."""
    damaged = damaged_media(rows, QUICK_PICTURES, QUICK_VIDEOS)
    if damaged:
        raise UserError(damaged[0])


def _check_answers(
    report: CheckReport, task: Task, family: Family, rows: Sequence[Sample], weights: Mapping[str, float]
) -> None:
    all_weights = reward_weights(task, weights)
    outcomes: dict[str, list[Any]] = {}
    earned: dict[str, list[tuple[float, float]]] = {}
    prompts: dict[Key, Prompt | None] = {}
    for row in tracked(rows, "checking answers", len(rows)):
        report.rows += 1
        prompt = _prompt_of(row, task, family, prompts, report)
        if prompt is None:
            continue
        checked = RowCheck(task, family, prompt, all_weights)
        report.problems += checked.problems()
        for guess in (attack.name for attack in checked.attacks if attack.guess):
            pair = checked.outcomes[guess]["reward"], checked.outcomes[GOLD]["reward"]
            earned.setdefault(guess, []).append(pair)
        for name, outcome in checked.outcomes.items():
            outcomes.setdefault(name, []).append(outcome)
    report.pictures = len(prompts)
    report.answers = {name: means(values) for name, values in outcomes.items()}
    report.problems += overpaid(earned, report.rows)


def _prompt_of(
    row: Sample, task: Task, family: Family, prompts: dict[Key, Prompt | None], report: CheckReport
) -> Prompt | None:
    """The row's prompt; its pictures are processed once, for the first row that shows them. None if it cannot be."""
    key = tuple(map(media_key, row.media))
    request = task.request(row, family.convention)
    if key not in prompts:
        try:
            # without the vision inputs: those of thousands of videos do not fit into memory
            prompts[key] = replace(family.encode(row, request), vision={})
        except UserError as error:
            prompts[key] = None
            if str(error) not in report.problems:
                report.problems.append(str(error))
    first = prompts[key]
    if first is None:
        return None
    sample = replace(row, records=first.sample.records)
    known = task.request(first.sample, family.convention)
    more = len(family.tokenizer(request).input_ids) - len(family.tokenizer(known).input_ids)
    report.prompts.append((row.id, len(first.token_ids_P) + more))
    return replace(first, sample=sample)


def _over_context(report: CheckReport, config: Config) -> list[str]:
    """Rows whose prompt and completion exceed the model's context."""
    context = context_tokens(config.model)
    room = None if context is None else context - config.rollout.max_completion_tokens
    over = [] if room is None else [name for name, tokens in report.prompts if tokens > room]
    fix = "lower model.max_pixels or rollout.max_completion_tokens, or drop the row"
    return [
        f"row {name}: its prompt and completion exceed the model's context of {context} tokens; {fix}" for name in over
    ]


def _repeated_ids(rows: Sequence[Sample]) -> list[str]:
    counts = Counter(row.id for row in rows)
    return [f"row {id_}: {count} rows have this id" for id_, count in counts.items() if count > 1]


def _repeated_questions(rows: Sequence[Sample]) -> list[str]:
    counts = Counter((tuple(map(media_key, row.media)), row.question, str(row.gold)) for row in rows)
    repeated = sum(count - 1 for count in counts.values())
    return [f"{repeated} rows repeat another row's picture, question and target"] if repeated else []
