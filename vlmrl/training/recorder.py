"""The run folder: metrics, rollouts, pictures, settings. What a resumed run repeats is cut off first.

| file | content |
|---|---|
| config.yaml | every setting as resolved |
| environment.json | versions, device, processor settings, command line |
| metrics.jsonl | one object per training step (kind train) and evaluation (kind eval); the same bit for bit on CPU |
| timings.jsonl | seconds per phase and step |
| rollouts/step-NNNNNN.jsonl | every group of a step: prompt, completions, answers, scores, advantages |
| evals/step-NNNNNN.jsonl | every held-out row of an evaluation |
| images/FINGERPRINT.png | pictures of the logged groups and of evaluated rows |
| checkpoints/step-NNNNNN/ | the newest checkpoint, the best, and the last good one before a tripwire |
| faults/step-NNNNNN.pt | the batch of a step whose loss or gradient was not finite |
| summary.json | before and after, paths, seconds |

Keys of a train line in metrics.jsonl:

| key | meaning |
|---|---|
| reward, reward_std | mean and deviation of the total reward |
| rewards, rewards_std | the same of each component (null where no answer could be scored by it) |
| accuracy | mean of the headline metric over the sampled completions |
| unparsed, truncated | share of completions without an answer, and of those cut at the token limit |
| reward_errors | rewards that raised an exception |
| groups, sampled_groups, rollouts | groups of this step's rows, groups sampled to get them, their completions |
| dead_groups | share of the groups whose rewards do not vary, so that they teach nothing |
| advantage, advantage_abs, entropy | mean and mean size of advantages; mean entropy of sampling distributions (nats) |
| completion_tokens, completion_tokens_max | mean and longest completion |
| hinted, replayed, expert | completions that do not come from the policy on the plain prompt |
| contrast_accuracy | accuracy of the arm that is not trained on; null without one |
| refills | how many times places that a filter freed were filled |
| pieces | what the algorithm's stateful pieces say of themselves |
| lr, loss, grad_norm, clip_low, clip_high, kl, skipped, trained_groups, auxiliary_groups, dead_skipped, kept_passes, \
split_passes | see UpdateStats |

An eval line holds the fields of a ScoreCard. A run of several tasks has the same lines about all of its rows together:
components are called task.component, and an eval line's score is the mean over the tasks. Beside that, `tasks` holds
each task's own keys up to contrast_accuracy, or its own ScoreCard; and a row's id begins with its task's name.
"""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vlmrl.config import Config
from vlmrl.errors import UserError
from vlmrl.evaluation.card import Evaluated, ScoreCard
from vlmrl.media.pictures import fingerprint, open_picture
from vlmrl.models.load import Policy
from vlmrl.records import group_record
from vlmrl.resolve import to_yaml
from vlmrl.types import Group

PACKAGES = ("vlmrl", "torch", "torchvision", "transformers", "peft", "accelerate", "pillow", "numpy")


def dump_json(value: Any, path: Path) -> None:
    """Writes a JSON file aside and renames it, so that a reader never sees half of it."""
    aside = path.with_name(f".{path.name}.writing")
    aside.write_text(json.dumps(value, indent=2) + "\n")
    aside.replace(path)


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
        "platform": platform.platform(),
        "device": str(policy.device),
        "command": sys.argv,
        "model": policy.source,
        "model_class": type(policy.model).__name__,
        "processor": policy.family.settings(),
    }


class Recorder:
    """Writes one run folder."""

    def __init__(self, run: Path, logged_groups: int) -> None:
        self.run = run
        self.logged_groups = logged_groups

    def create(self, config: Config, policy: Policy) -> None:
        """Makes the folder. Raises UserError if it already holds something."""
        require_free_folder(self.run)
        for name in ("rollouts", "evals", "images", "checkpoints"):
            (self.run / name).mkdir(parents=True)
        (self.run / "config.yaml").write_text(to_yaml(config))
        dump_json(environment(policy), self.run / "environment.json")

    def rewind(self, step: int) -> None:
        """Removes what a run resumed at `step` records again: later steps, and the evaluation at `step` itself."""
        for name in ("metrics.jsonl", "timings.jsonl"):
            path = self.run / name
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [line for line in map(_whole_object, lines) if line is not None and _is_before(line, step)]
            aside = path.with_name(f".{name}.writing")
            aside.write_text("".join(json.dumps(line) + "\n" for line in kept))
            aside.replace(path)
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
            lines.append(group_record(step, group, self._pictures(group) if group.id in logged else None))
        self._write_lines(self.run / "rollouts" / f"step-{step:06d}.jsonl", lines)
        self._append("metrics.jsonl", {"kind": "train", "step": step, **metrics})
        self._append("timings.jsonl", {"step": step, "seconds": {k: round(v, 4) for k, v in seconds.items()}})

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
            lines.append(group_record(step, item.group, self._pictures(item.group)) | {"metrics": metrics})
        self._write_lines(self.run / "evals" / f"step-{step:06d}.jsonl", lines)
        tasks = {"tasks": {name: one.record() for name, one in cards.items()}} if several else {}
        self._append("metrics.jsonl", {"kind": "eval", "step": step, **card.record(), **tasks})

    def _pictures(self, group: Group) -> list[str]:
        names: list[str] = []
        for i, source in enumerate(group.sample.images):
            picture = open_picture(source, f"row {group.sample.id}, image {i}")
            name = fingerprint(picture)
            path = self.run / "images" / f"{name}.png"
            if not path.exists():
                picture.save(path)
            names.append(name)
        return names

    def _append(self, name: str, line: dict[str, Any]) -> None:
        with (self.run / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    @staticmethod
    def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
        aside = path.with_name(f".{path.name}.writing")
        aside.write_text("".join(json.dumps(line) + "\n" for line in lines))
        aside.replace(path)


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
