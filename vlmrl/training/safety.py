"""What guards a run: tripwires on its metrics, and the batch of a step that could not be taken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vlmrl.algorithms.batch import Tokens
from vlmrl.config import SafetyConfig
from vlmrl.types import Group


def beyond(metrics: Mapping[str, Any], limits: SafetyConfig) -> Iterator[str]:
    """The tripwires that a step's metrics are beyond, each with its setting."""
    if "entropy" not in metrics:  # no group was trained on
        return
    for key, limit, name in (
        ("kl", limits.max_kl, "max_kl"),
        ("truncated", limits.max_truncated, "max_truncated"),
        ("unparsed", limits.max_unparsed, "max_unparsed"),
    ):
        if limit is not None and metrics[key] > limit:
            yield f"{key} {metrics[key]:.3g} is above safety.{name}={limit:g}"
    if limits.min_entropy is not None and metrics["entropy"] < limits.min_entropy:
        yield f"entropy {metrics['entropy']:.3g} is below safety.min_entropy={limits.min_entropy:g}"


@dataclass
class Tripwires:
    """Counts the steps in a row that are beyond a tripwire."""

    limits: SafetyConfig
    steps: int = 0
    newest: int | None = None
    """Step of the newest checkpoint."""
    last_good: int | None = None
    """Step of the newest checkpoint whose weights have since sampled a step within all limits."""
    found: list[str] = field(default_factory=list)
    """What the newest step was beyond."""

    def observe(self, metrics: Mapping[str, Any]) -> str | None:
        """What to say about a step; None unless something changed."""
        self.found = list(beyond(metrics, self.limits))
        before, self.steps = self.steps, self.steps + 1 if self.found else 0
        if not self.found:
            self.last_good = self.newest
            return f"back within the tripwires after {before} steps" if before else None
        return None if before else "; ".join(self.found)

    @property
    def stops(self) -> bool:
        return 0 < self.limits.stop_after <= self.steps

    def saved(self, step: int) -> None:
        self.newest = step

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "newest": self.newest, "last_good": self.last_good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps, self.newest, self.last_good = state["steps"], state["newest"], state["last_good"]


def save_faulty_batch(run: Path, step: int, groups: Sequence[Group], tokens: Tokens) -> Path:
    """Writes the batch of a step whose loss or gradient was not finite, for `torch.load(path, weights_only=False)`."""
    path = run / "faults" / f"step-{step:06d}.pt"
    path.parent.mkdir(exist_ok=True)
    torch.save({"step": step, "groups": list(groups), "tokens": asdict(tokens)}, path)
    return path
