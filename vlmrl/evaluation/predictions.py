"""Answers that were written down: read back, matched to their rows, parsed and scored as if they had just been given.

Every evaluation is scored this way, its own answers too, so a score can be had again without a model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from vlmrl.answers.convention import Convention
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, scored
from vlmrl.geometry import Size
from vlmrl.task import Task
from vlmrl.types import Finish, Group, Prompt, Rollout, Sample

SHOWN_IDS = 5


@dataclass(frozen=True)
class Prediction:
    """A model's completion for one row."""

    text: str
    finish: Finish = Finish.STOP
    model_sizes: tuple[Size, ...] = ()
    """Size of each picture as the model saw it; empty where that is not known."""
    prompt: str = ""
    tokens: int = 0
    """Length of the completion, end of turn included; 0 where it is not known."""

    @classmethod
    def of_line(cls, line: Mapping[str, Any]) -> "Prediction":
        """From a line that `vlmrl.records.group_record` wrote, about a group of one."""
        rollout, sample = line["rollouts"][0], line["sample"]
        return cls(
            text=rollout["text"],
            finish=Finish(rollout["finish"]),
            model_sizes=tuple(Size(*size) for size in sample["model_sizes"]),
            prompt=line["prompt"],
            tokens=len(rollout["token_ids"]),
        )


def read_predictions(file: Path, rows: Sequence[Sample], id_field: str, text_field: str) -> list[Prediction]:
    """The prediction for every row, in the order of the rows, from a file with one JSON object per line.

    A line is one of an evaluation's own answers.jsonl, or holds the row's id and the completion under the two fields (a
    dot reaches into an object or list: filtered_resps.0). An id that is a whole number, where no row is called so, is
    the row's place counted from 0. Raises UserError naming the line for what cannot be read, for a row that is answered
    twice, and for rows without a line: they would have to be left out or counted as wrong, and neither is a score.
    """
    if not file.is_file():
        raise UserError(f"--predictions {file}: no such file")
    places = {row.id: place for place, row in enumerate(rows)}
    found: dict[int, Prediction] = {}
    unknown: list[str] = []
    with file.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            where = f"{file}, line {number}"
            id_, prediction = _read_line(text, where, id_field, text_field)
            place = places.get(str(id_), id_ if isinstance(id_, int) and 0 <= id_ < len(rows) else None)
            if place is None:
                unknown.append(str(id_))
            elif place in found:
                raise UserError(f"{where}: row {id_} is answered twice; leave one of the two answers out")
            else:
                found[place] = prediction
    missing = [row.id for place, row in enumerate(rows) if place not in found]
    if missing:
        hint = f" The file answers rows that the data does not have, such as {unknown[0]}." if unknown else ""
        raise UserError(
            f"{file} has no answer for {len(missing)} of {len(rows)} rows ({', '.join(missing[:SHOWN_IDS])}"
            f"{', ...' if len(missing) > SHOWN_IDS else ''}); a row the model did not answer needs a line with an "
            f"empty text, and --limit scores the first rows only.{hint}"
        )
    return [found[place] for place in range(len(rows))]


def _read_line(text: str, where: str, id_field: str, text_field: str) -> tuple[str | int, Prediction]:
    try:
        line = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); give one object per line") from None
    if not isinstance(line, dict):
        raise UserError(f"{where}: not an object; give one object per line with {id_field} and {text_field}")
    if "rollouts" in line and "sample" in line:
        return str(line["sample"]["id"]), Prediction.of_line(line)
    id_, completion = (_field(line, name, where) for name in (id_field, text_field))
    if not isinstance(id_, str | int) or isinstance(id_, bool):
        raise UserError(f"{where}, field {id_field}: {id_!r} is neither a row's id nor its place")
    if not isinstance(completion, str):
        raise UserError(f"{where}, field {text_field}: {completion!r} is no text; name the completion's field")
    return id_, Prediction(completion)


def _field(line: Any, name: str, where: str) -> Any:
    value = line
    for part in name.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            keys = ", ".join(line)
            raise UserError(
                f"{where} has no field {name}; its fields are {keys}: name the right ones with eval.id_field and "
                "eval.text_field"
            ) from None
    return value


def score_predictions(
    task: Task, rows: Sequence[Sample], predictions: Sequence[Prediction], convention: Convention
) -> list[Evaluated]:
    """Parses and scores a prediction per row.

    Raises UserError where the convention needs the pictures' size as the model saw it and a prediction has none.
    """
    return [
        scored(task, answered(task, row, prediction, convention, f"eval-{place}"))
        for place, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
    ]


def answered(task: Task, row: Sample, prediction: Prediction, convention: Convention, id_: str) -> Group:
    """The group of one that a prediction is, its answer parsed in the model's convention."""
    if prediction.model_sizes:
        sizes = zip(row.records, prediction.model_sizes, strict=True)
        row = replace(row, records=tuple(replace(record, model=size) for record, size in sizes))
    rollout = Rollout(
        token_ids_T=[],
        logprobs_T=[],
        entropy=0.0,
        text=prediction.text,
        finish=prediction.finish,
        answer=task.parse(prediction.text, prediction.finish, row, convention),
    )
    return Group(id_, Prompt(row, prediction.prompt, torch.empty(0, dtype=torch.int64), {}), [rollout])
