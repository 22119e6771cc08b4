"""Where the files that ship with the package lie.

In an installed wheel they lie inside the package, as ``vlmrl/_tasks`` and ``vlmrl/_configs`` (see ``pyproject.toml``).
In a source checkout those do not exist; ``tasks/`` and ``configs/`` stand beside the package, where people edit them.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _shipped(name: str) -> Path:
    inside = PACKAGE / f"_{name}"
    return inside if inside.is_dir() else PACKAGE.parent / name


def tasks_dir() -> Path:
    """Folder of the shipped tasks, one sub-folder each."""
    return _shipped("tasks")


def configs_dir() -> Path:
    """Folder of the shipped settings files (``quickstart.yaml``, ...)."""
    return _shipped("configs")


def tiny_model_dir() -> Path:
    """Folder of the embedded model, loadable with ``from_pretrained``."""
    return PACKAGE / "models" / "tiny"
