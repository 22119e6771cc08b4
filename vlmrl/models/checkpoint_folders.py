"""Where a run keeps its checkpoints: RUN/checkpoints/step-NNNNNN, each loadable with from_pretrained."""

import re
from pathlib import Path

FOLDER_NAME = re.compile(r"step-(\d{6})")


def checkpoint_folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:06d}"


def newest_checkpoint(run: Path) -> Path | None:
    """The whole checkpoint of the highest step; unfinished ones, which a crash leaves behind, do not count."""
    folders = [p for p in (run / "checkpoints").glob("step-*") if FOLDER_NAME.fullmatch(p.name)]
    return max(folders, default=None, key=lambda p: p.name)
