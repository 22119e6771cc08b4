"""Resumable checkpoints: written aside, then renamed, so that a folder with a checkpoint's name is always whole."""

import errno
import os
import random
import shutil
from pathlib import Path
from typing import Any

import torch

from vlmrl.errors import UserError
from vlmrl.models.checkpoint_folders import FOLDER_NAME, checkpoint_folder
from vlmrl.models.load import Policy, save_policy

STATE_FILE = "trainer.pt"
UNFINISHED = ".writing-"


def training_bytes(policy: Policy) -> int:
    """Upper estimate of a checkpoint's size: weights as saved, and two moments per trained weight."""
    parameters = list(policy.model.parameters())
    weights = sum(p.nbytes for p in parameters if p.requires_grad or not policy.has_adapters)
    return weights + sum(2 * p.nbytes for p in parameters if p.requires_grad)


def require_space(folder: Path, needed: int) -> None:
    """Raises UserError if the disk that holds `folder` (or will hold it) has less than `needed` bytes free."""
    existing = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"no space for a checkpoint: {folder} has {free / 1e6:,.0f} MB free and {needed / 1e6:,.0f} MB are needed; "
            "free some space or choose another folder with --run DIR"
        )


def save_checkpoint(run: Path, step: int, policy: Policy, state: dict[str, Any]) -> Path:
    """Writes model, processor and `state`. Raises UserError without leaving anything behind if the disk is full."""
    final = checkpoint_folder(run, step)
    if final.exists():  # nothing happened since it was written
        return final
    unfinished = final.with_name(UNFINISHED + final.name)
    shutil.rmtree(unfinished, ignore_errors=True)
    require_space(run, training_bytes(policy))
    try:
        unfinished.mkdir(parents=True)
        save_policy(policy, unfinished)
        state = state | {"step": step, "rng": {"torch": torch.get_rng_state(), "python": random.getstate()}}
        torch.save(state, unfinished / STATE_FILE)
        for path in unfinished.iterdir():
            _flush(path)
    except (OSError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        # torch's and safetensors' writers report a full disk in their own words
        full = full or any(words in str(error) for words in ("No space left", "failed writing file", "os error 28"))
        shutil.rmtree(unfinished, ignore_errors=True)
        if not full:
            raise
        raise UserError(
            f"no space left for the checkpoint of step {step} in {run}; earlier checkpoints are untouched: free some "
            f"space, then continue with --resume {run}"
        ) from error
    os.rename(unfinished, final)
    _flush(final.parent)
    return final


def _flush(path: Path) -> None:
    """Waits until a file or folder is on the disk, so that the rename cannot overtake it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune_checkpoints(run: Path, keep: set[int]) -> None:
    """Removes checkpoints of other steps, and what crashes left unfinished."""
    for path in (run / "checkpoints").iterdir():
        match = FOLDER_NAME.fullmatch(path.name)
        if path.name.startswith(UNFINISHED) or (match and int(match[1]) not in keep):
            shutil.rmtree(path)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """The trainer's state of a checkpoint; also sets the global random generators to where they stood."""
    state: dict[str, Any] = torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=False)
    torch.set_rng_state(state["rng"]["torch"])
    random.setstate(state["rng"]["python"])
    return state
