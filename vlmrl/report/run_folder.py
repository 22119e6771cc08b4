"""Reading a run folder, whether the run is finished, still writing, or was killed in the middle of a line."""

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from vlmrl.errors import UserError
from vlmrl.report.logged import Json, Log, number

MARKS_OF_A_RUN = ("config.yaml", "metrics.jsonl", "summary.json")
STEP_FILE = re.compile(r"step-(\d+)\.jsonl")


class RunFolder(Log):
    """The files of one run. Raises UserError for a folder that is no run."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"{path} is not a folder; give the run folder that `vlmrl train` printed")
        if not any((path / name).is_file() for name in MARKS_OF_A_RUN):
            raise UserError(
                f"{path} is not a run folder: it has none of {', '.join(MARKS_OF_A_RUN)}; "
                "give the run folder that `vlmrl train` printed"
            )
        super().__init__(path, path / "images")
        self.settings = self._text("config.yaml")
        self.summary = self._object("summary.json")
        self.environment = self._object("environment.json")
        records = list(self.lines(path / "metrics.jsonl"))
        self.train = _last_per_step(record for record in records if record.get("kind") == "train")
        self.evals = _last_per_step(record for record in records if record.get("kind") == "eval")
        if (number(self.summary, "steps") or 0) < self.last_step:
            self.summary = {}  # written by an earlier part of a run that has been resumed since
        self.timings = _last_per_step(self.lines(path / "timings.jsonl"))
        self.rollout_files = _step_files(path / "rollouts")
        self.eval_files = _step_files(path / "evals")

    @property
    def last_step(self) -> int:
        """The newest step that left a trace in the metrics; 0 before the first."""
        return max([0, *self.train, *self.evals])

    def setting(self, *keys: str) -> Any:
        """A value of config.yaml by its nested keys; None if it is not there or the file is cut."""
        value = self._parsed_settings
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    @cached_property
    def _parsed_settings(self) -> Any:
        try:
            return yaml.safe_load(self.settings)
        except yaml.YAMLError:
            return None

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


def _last_per_step(records: Iterator[Json]) -> dict[int, Json]:
    """Records by step, in order. A resumed run writes the steps after its checkpoint again: the last one counts."""
    by_step = {record["step"]: record for record in records if isinstance(record.get("step"), int)}
    return dict(sorted(by_step.items()))


def _step_files(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    found = ((STEP_FILE.fullmatch(file.name), file) for file in folder.iterdir())
    return dict(sorted((int(match[1]), file) for match, file in found if match))
