"""Where the files that ship with the package lie.

In an installed wheel they lie inside the package, as ``vlmrl/_tasks``, ``vlmrl/_configs`` and ``vlmrl/_data_cards``
(see ``pyproject.toml``). In a source checkout those do not exist; ``tasks/``, ``configs/`` and ``data/`` stand beside
the package, where people edit them.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def _shipped(packaged: str, checkout: str) -> Path:
    inside = PACKAGE / packaged
    return inside if inside.is_dir() else PACKAGE.parent / checkout


def tasks_dir() -> Path:
    """Folder of the shipped tasks, one sub-folder each."""
    return _shipped("_tasks", "tasks")


def configs_dir() -> Path:
    """Folder of the shipped settings files (``quickstart.yaml``, ...)."""
    return _shipped("_configs", "configs")


def data_cards_dir() -> Path:
    """Folder of the cards of public data sets, one YAML file each."""
    return _shipped("_data_cards", "data")


def tiny_model_dir() -> Path:
    """Folder of the embedded model, loadable with ``from_pretrained``."""
    return PACKAGE / "models" / "tiny"
