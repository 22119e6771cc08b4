"""Where the files that ship with the package lie.

In a source checkout ``tasks/`` and ``configs/`` stand beside the ``vlmrl`` package, where people edit them; in an
installed wheel they lie inside it as ``vlmrl/_tasks`` and ``vlmrl/_configs`` (see ``pyproject.toml``). The checkout
is recognised by its ``pyproject.toml``, so a folder that happens to be called ``tasks`` beside an installed package
is never taken for ours.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _shipped(name: str) -> Path:
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / name).is_dir():
        return checkout / name
    return PACKAGE / f"_{name}"


def tasks_dir() -> Path:
    """Folder of the shipped tasks, one sub-folder each."""
    return _shipped("tasks")


def configs_dir() -> Path:
    """Folder of the shipped settings files (``quickstart.yaml``, ...)."""
    return _shipped("configs")


def tiny_model_dir() -> Path:
    """Folder of the embedded model, loadable with ``from_pretrained``."""
    return PACKAGE / "models" / "tiny"
