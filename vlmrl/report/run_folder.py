"""Reading a run folder, whether the run is finished, still writing, or was killed in the middle of a line."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

import yaml

from vlmrl.errors import UserError
from vlmrl.geometry import Clip, Frame, ImageRecord, Size, Unit
from vlmrl.records import recorded_answer
from vlmrl.types import Answer, Finish, Score, Unparsed

Json = dict[str, Any]

MARKS_OF_A_RUN = ("config.yaml", "metrics.jsonl", "summary.json")
STEP_FILE = re.compile(r"step-(\d+)\.jsonl")
PICTURE_NAME = re.compile(r"[0-9A-Za-z_-]+")


@dataclass(frozen=True)
class LoggedRollout:
    """A completion as it was logged; the answer is in original pixels."""

    text: str
    tokens: int
    finish: Finish
    answer: Answer | Unparsed
    scores: Mapping[str, Score]
    reward: float
    """NaN where none was logged; so is the advantage."""
    advantage: float


@dataclass(frozen=True)
class LoggedGroup:
    """A line of rollouts/ or evals/: one row, what the model was asked, and everything it answered."""

    step: int
    id: str
    sample_id: str
    question: str
    tags: Mapping[str, str]
    pictures: tuple[str, ...]
    """Names in RUN/images, one per record; empty for a group whose pictures were not kept."""
    records: tuple[ImageRecord, ...]
    gold: Answer
    prompt: str
    rollouts: tuple[LoggedRollout, ...]
    metrics: Mapping[str, float]
    """Metric values of an evaluated row's single rollout; empty for a training group."""


class RunFolder:
    """The files of one run. Raises UserError for a folder that is no run.

    Lines that are cut or damaged are left out and counted in `damaged` (file name -> lines), so that a page about the
    rest can say so.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; give the run folder that `vlmrl train` printed")
        if not any((path / name).is_file() for name in MARKS_OF_A_RUN):
            raise UserError(
                f"{path} is not a run folder: it has none of {', '.join(MARKS_OF_A_RUN)}; "
                "give the run folder that `vlmrl train` printed"
            )
        self.path = path
        self.damaged: Counter[str] = Counter()
        self.settings = self._text("config.yaml")
        self.summary = self._object("summary.json")
        self.environment = self._object("environment.json")
        records = list(self._lines(path / "metrics.jsonl"))
        self.train = _last_per_step(record for record in records if record.get("kind") == "train")
        self.evals = _last_per_step(record for record in records if record.get("kind") == "eval")
        if (number(self.summary, "steps") or 0) < self.last_step:
            self.summary = {}  # written by an earlier part of a run that has been resumed since
        self.timings = _last_per_step(self._lines(path / "timings.jsonl"))
        self.rollout_files = _step_files(path / "rollouts")
        self.eval_files = _step_files(path / "evals")

    @property
    def last_step(self) -> int:
        """The newest step that left a trace in the metrics; 0 before the first."""
        return max([0, *self.train, *self.evals])

    def setting(self, *keys: str) -> Any:
        """A value of config.yaml by its nested keys; None if it is not there or the file is cut."""
        try:
            value = yaml.safe_load(self.settings)
        except yaml.YAMLError:
            return None
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def groups(self, file: Path) -> list[LoggedGroup]:
        """The groups of a file of `rollout_files` or `eval_files`, in its order."""
        groups = []
        for line in self._lines(file):
            try:
                groups.append(_group(line))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                self.damaged[self._name(file)] += 1
        return groups

    def picture(self, name: str) -> Path | None:
        """The file of a picture, or None if it is not there."""
        file = self.path / "images" / f"{name}.png"
        return file if PICTURE_NAME.fullmatch(name) and file.is_file() else None

    def _text(self, name: str) -> str:
        file = self.path / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""

    def _object(self, name: str) -> Json:
        written = self._text(name)
        if not written:
            return {}
        try:
            value = json.loads(written)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.damaged[name] += 1
            return {}
        return value

    def _lines(self, file: Path) -> Iterator[Json]:
        if not file.is_file():
            return
        self.damaged.pop(self._name(file), None)
        with file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except ValueError:
                    value = None
                if isinstance(value, dict):
                    yield value
                else:
                    self.damaged[self._name(file)] += 1

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()


def number(record: Mapping[str, Any], *keys: str) -> float | None:
    """A finite number by its nested keys; None if it is missing, null, NaN or no number."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _last_per_step(records: Iterator[Json]) -> dict[int, Json]:
    """Records by step, in order. A resumed run writes the steps after its checkpoint again: the last one counts."""
    by_step = {record["step"]: record for record in records if isinstance(record.get("step"), int)}
    return dict(sorted(by_step.items()))


def _step_files(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    found = ((STEP_FILE.fullmatch(file.name), file) for file in folder.iterdir())
    return dict(sorted((int(match[1]), file) for match, file in found if match))


def _group(line: Json) -> LoggedGroup:
    sample = line["sample"]
    model_sizes = sample.get("model_sizes") or [None] * len(sample["sizes"])
    records = tuple(
        ImageRecord(index, Size(*size), Size(*model_size) if model_size else None)
        for index, (size, model_size) in enumerate(zip(sample["sizes"], model_sizes, strict=True))
    )
    frames = [record.frame(Unit.ORIGINAL) for record in records]
    clips = [Clip(index, duration) for index, duration in enumerate(sample.get("clips", ()))]
    gold = recorded_answer(sample["gold"], frames, clips)
    if isinstance(gold, Unparsed):
        raise ValueError("the gold answer is no answer")
    return LoggedGroup(
        step=int(line["step"]),
        id=str(line["group"]),
        sample_id=str(sample["id"]),
        question=str(sample["question"]),
        tags={str(key): str(value) for key, value in sample.get("tags", {}).items()},
        pictures=tuple(sample["images"]) if all(isinstance(name, str) for name in sample["images"]) else (),
        records=records,
        gold=gold,
        prompt=str(line.get("prompt", "")),
        rollouts=tuple(_rollout(rollout, frames, clips) for rollout in line["rollouts"]),
        metrics={str(name): float(value) for name, value in line.get("metrics", {}).items()},
    )


def _rollout(line: Json, frames: list[Frame], clips: list[Clip]) -> LoggedRollout:
    return LoggedRollout(
        text=str(line["text"]),
        tokens=len(line.get("token_ids", ())),
        finish=Finish(line["finish"]),
        answer=recorded_answer(line["answer"], frames, clips),
        scores={str(name): Score(**score) for name, score in line.get("scores", {}).items()},
        reward=_float(line.get("reward")),
        advantage=_float(line.get("advantage")),
    )


def _float(value: float | None) -> float:
    return nan if value is None else float(value)
