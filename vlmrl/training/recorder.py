"""Writes the run folder: metrics, rollouts, pictures, settings. What a resumed run repeats is cut off first.

docs/run-folder.md describes every file and every key.
"""

import json
import platform
import sys
import uuid
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard
from vlmrl.media.kept import MediaFolder
from vlmrl.models.load import Policy
from vlmrl.records import group_record
from vlmrl.resolve import to_yaml
from vlmrl.training.trackers import Trackers
from vlmrl.types import Group
from vlmrl.whole_files import write_whole

PACKAGES = ("vlmrl", "torch", "torchvision", "transformers", "peft", "accelerate", "pillow", "numpy")


def dump_json(value: Any, path: Path) -> None:
    """Writes a JSON file aside and renames it, so that a reader never sees half of it."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def package_versions() -> dict[str, str | None]:
    """Versions of the packages that numbers depend on; None for one that is not installed."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    return {name: installed(name) for name in PACKAGES}


def environment(policy: Policy) -> dict[str, Any]:
    """What a number depends on besides the settings."""
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "run_id": uuid.uuid4().hex[:8],
        "platform": platform.platform(),
        "device": str(policy.device),
        "command": sys.argv,
        "model": policy.source,
        "model_type": policy.model.config.model_type,
        "model_class": type(policy.model).__name__,
        "processor": policy.family.settings(),
    }


class Recorder:
    """Writes one run folder."""

    def __init__(self, run: Path, logged_groups: int) -> None:
        self.run = run
        self.logged_groups = logged_groups
        self.media = MediaFolder(run / "images")
        self.trackers = Trackers(())

    def create(self, config: Config, policy: Policy) -> None:
        """Makes the folder. Raises UserError if it already holds something."""
        require_free_folder(self.run)
        for name in ("rollouts", "evals", "images", "checkpoints"):
            (self.run / name).mkdir(parents=True)
        (self.run / "config.yaml").write_text(to_yaml(config))
        dump_json(environment(policy), self.run / "environment.json")

    @property
    def run_id(self) -> str:
        """What tells the run from others whose folders have its name."""
        return str(json.loads((self.run / "environment.json").read_text())["run_id"])

    def rewind(self, step: int) -> None:
        """Removes what a run resumed at `step` records again: later steps, and the evaluation at `step` itself."""
        for name in ("metrics.jsonl", "timings.jsonl"):
            path = self.run / name
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in map(_whole_object, lines) if line is not None and _is_before(line, step)]
            self._write_lines(path, kept)
        kept_files = {
            *(self.run / "rollouts" / f"step-{i:06d}.jsonl" for i in range(1, step + 1)),
            *(self.run / "evals" / f"step-{i:06d}.jsonl" for i in range(step)),
        }
        for path in [*(self.run / "rollouts").iterdir(), *(self.run / "evals").iterdir()]:
            if path not in kept_files:
                path.unlink()

    def step(self, step: int, metrics: dict[str, Any], groups: Sequence[Group], seconds: dict[str, float]) -> None:
        """Records one training step."""
        logged = {group.id for group in groups[: self.logged_groups]}
        lines = []
        for group in groups:
            lines.append(group_record(step, group, self.media.keep(group.sample) if group.id in logged else None))
        self._write_lines(self.run / "rollouts" / f"step-{step:06d}.jsonl", lines)
        self._append("metrics.jsonl", {"kind": "train", "step": step, **metrics})
        self._append("timings.jsonl", {"step": step, "seconds": {k: round(v, 4) for k, v in seconds.items()}})
        self.trackers.step(step, metrics, groups[: self.logged_groups], seconds)

    def evaluation(
        self, step: int, card: ScoreCard, cards: Mapping[str, ScoreCard], evaluated: Sequence[Evaluated]
    ) -> None:
        """Records one evaluation of the held-out rows: the run's card, and those of the tasks if there are several."""
        several = len(cards) > 1
        lines = []
        for item in evaluated:
            metrics = item.metrics
            if several:  # rows of all tasks share the name of what they are judged by
                metrics = metrics | {card.metric: metrics[cards[item.group.sample.task].metric]}
            lines.append(group_record(step, item.group, self.media.keep(item.group.sample)) | {"metrics": metrics})
        self._write_lines(self.run / "evals" / f"step-{step:06d}.jsonl", lines)
        tasks = {"tasks": {name: one.record() for name, one in cards.items()}} if several else {}
        record = card.record() | tasks
        self._append("metrics.jsonl", {"kind": "eval", "step": step, **record})
        self.trackers.evaluation(step, record, [item.group for item in evaluated[: self.logged_groups]])

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.run / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
        write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


def require_free_folder(run: Path) -> None:
    """Raises UserError unless `run` is new or empty."""
    if run.exists() and (not run.is_dir() or any(run.iterdir())):
        raise UserError(f"run folder {run} is in use; choose another with --run DIR, or continue it: --resume {run}")


def _is_before(line: dict[str, Any], step: int) -> bool:
    return bool(line["step"] < step if line.get("kind") == "eval" else line["step"] <= step)


def _whole_object(line: str) -> dict[str, Any] | None:
    """A line's object, or None for a line that a crash cut off."""
    try:
        value: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return value
