"""TensorBoard, Weights & Biases and trackio: a run's figures as in metrics.jsonl, and its pictures with answers drawn.

Each package is imported only where a run asks for it. A tracker's own environment variables (WANDB_PROJECT, WANDB_MODE,
TRACKIO_PROJECT, TRACKIO_SPACE_ID, ...) say where its figures go; without them TensorBoard and trackio stay on this
machine.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vlmrl.errors import UserError
from vlmrl.report.raster import drawn_group
from vlmrl.types import Group

PROJECT = "vlmrl"
PICTURES_EVERY = 10
"""Training steps between two whose pictures are sent."""


@dataclass(frozen=True)
class Picture:
    """A drawn picture and what it shows."""

    image: Image.Image
    caption: str


class Tracker(Protocol):
    """Somewhere a run's figures and pictures go."""

    def log(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        """Both by name, all of one step. A resumed run repeats steps."""

    def close(self) -> None:
        """Writes out what is still held back."""


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: Path, run_id: str, settings: Mapping[str, Any], step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what an interrupted run logged beyond its checkpoint is logged again
        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else None)

    def log(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        for name, value in figures.items():
            self.writer.add_scalar(name, value, step)
        for name, picture in pictures.items():
            self.writer.add_image(name, np.asarray(picture.image), step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases; its files are in RUN/wandb."""

    def __init__(self, run: Path, run_id: str, settings: Mapping[str, Any], step: int) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run_id,
            name=run.resolve().name,
            dir=run,
            config=dict(settings),
            resume="allow",
            settings=wandb.Settings(console="off", quiet=True),  # wrapping the terminal would break the bars
        )
        # wandb's own step counter would refuse the steps that a resumed run repeats
        self.run.define_metric("*", step_metric="step")
        self.picture = wandb.Image

    def log(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        drawn = {name: self.picture(shown.image, caption=shown.caption) for name, shown in pictures.items()}
        self.run.log({"step": step, **figures, **drawn})

    def close(self) -> None:
        self.run.finish()


class Trackio:
    """A run of trackio."""

    def __init__(self, run: Path, run_id: str, settings: Mapping[str, Any], step: int) -> None:
        import trackio

        self.trackio = trackio
        self.run = trackio.init(
            os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{run.resolve().name}-{run_id}",
            config=dict(settings),
            resume="allow",
            embed=False,
        )

    def log(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, Picture]) -> None:
        drawn = {name: self.trackio.Image(shown.image, caption=shown.caption) for name, shown in pictures.items()}
        self.run.log({**figures, **drawn}, step=step)

    def close(self) -> None:
        self.trackio.finish()


TRACKERS: dict[str, Callable[[Path, str, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "trackio": Trackio,
}
"""Name in run.trackers, which is also that of the package, and what logs to it."""


def require_trackers(names: Sequence[str]) -> None:
    """Raises UserError for a tracker whose package is missing or that nobody has logged in to."""
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a folder of that name, as wandb leaves in the working directory
            raise UserError(f"run.trackers names {name}, which is not installed: pip install {name}")
    if "wandb" in names:
        import wandb

        try:
            wandb.login()
        except wandb.errors.UsageError as error:
            raise UserError(
                f"run.trackers names wandb: {str(error).splitlines()[0]} Or keep the run on this machine with "
                "WANDB_MODE=offline"
            ) from error


class Trackers:
    """All trackers of a run, as a context manager that closes them."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self.trackers = trackers

    @classmethod
    def opened(cls, names: Sequence[str], run: Path, run_id: str, settings: Mapping[str, Any], step: int) -> "Trackers":
        """Those of a run that is at `step`. `run_id` tells it from other runs whose folders have its name."""
        return cls([TRACKERS[name](run, run_id, settings, step) for name in names])

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, *error: object) -> None:
        for tracker in self.trackers:
            tracker.close()

    def step(
        self, step: int, metrics: Mapping[str, Any], groups: Sequence[Group], seconds: Mapping[str, float]
    ) -> None:
        """Logs a training step; `groups` are those whose pictures may be drawn."""
        shown = groups if step == 1 or step % PICTURES_EVERY == 0 else ()
        self._log(step, {"train": metrics, "seconds": seconds}, "groups", shown)

    def evaluation(self, step: int, card: Mapping[str, Any], groups: Sequence[Group]) -> None:
        """Logs an evaluation of the held-out rows."""
        self._log(step, {"held_out": card}, "held_out_rows", groups)

    def _log(self, step: int, values: Mapping[str, Any], room: str, groups: Sequence[Group]) -> None:
        if not self.trackers:
            return
        figures = dict(flattened(values))
        drawn = ((f"{room}/{i}", drawn_group(group), group) for i, group in enumerate(groups))
        pictures = {name: Picture(image, caption(group)) for name, image, group in drawn if image is not None}
        for tracker in self.trackers:
            tracker.log(step, figures, pictures)


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of nested mappings by their path: train/rewards/iou."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield prefix + name, float(value)


def caption(group: Group) -> str:
    """The question, and what each answer earned."""
    rewards = ", ".join(f"{number}: {rollout.reward:.2f}" for number, rollout in enumerate(group.rollouts, start=1))
    return f"{group.sample.question} (rewards {rewards})"
