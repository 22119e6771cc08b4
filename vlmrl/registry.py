"""Finds task folders: ./tasks, the folders in $VLMRL_TASKS, installed entry points, and the ones shipped.

A folder with a `task.py` is a task; its name is the folder's name and the first place that has it wins. The folder is
the package `vlmrl_tasks.NAME`, so its files import each other in the ordinary way (`from .loaders import ...`).
"""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmrl.errors import UserError
from vlmrl.paths import tasks_dir
from vlmrl.resolve import build
from vlmrl.task import Task

PACKAGE = "vlmrl_tasks"


class PluginError(UserError):
    """A task folder that cannot be loaded; the message names file and line."""


@dataclass(frozen=True)
class TaskFolder:
    """A task folder found on this machine; its code is loaded on first use."""

    name: str
    path: Path

    @cached_property
    def module(self) -> ModuleType:
        return self.submodule("task")

    def submodule(self, name: str) -> ModuleType:
        """One of the folder's modules. Raises PluginError naming file and line of the fault."""
        package = _install_package(self)
        try:
            return importlib.import_module(f"{package}.{name}")
        except UserError:
            raise
        except Exception as error:
            frames = [
                f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(self.path)
            ]
            at = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(self.path / f"{name}.py")
            if isinstance(error, SyntaxError) and error.filename:
                at = f"{error.filename}:{error.lineno}"
            raise PluginError(f"task {self.name} cannot be loaded: {at}: {type(error).__name__}: {error}") from error

    @cached_property
    def task_class(self) -> type[Task]:
        """The one Task subclass that the folder's task.py defines."""
        own = [
            value
            for value in vars(self.module).values()
            if isinstance(value, type) and issubclass(value, Task) and value.__module__ == self.module.__name__
        ]
        if len(own) != 1:
            raise PluginError(f"{self.path / 'task.py'} must define exactly one subclass of Task, found {len(own)}")
        if not own[0].metrics():
            raise PluginError(f"{self.path / 'task.py'}: {own[0].__name__} has no method marked @metric")
        if not own[0].rewards():
            raise PluginError(f"{self.path / 'task.py'}: {own[0].__name__} has no method marked @reward")
        return own[0]

    def create(self, options: Mapping[str, Any], setting: str = "task.options") -> Task:
        """The task with its options set. Raises UserError for an unknown option or a value of the wrong type, naming
        it below `setting`."""
        return build(self.task_class, options, prefix=setting)


def search_path() -> list[Path]:
    """Folders that hold task folders, first one wins."""
    places = [Path.cwd() / "tasks"]
    places += [Path(p) for p in os.environ.get("VLMRL_TASKS", "").split(os.pathsep) if p]
    for point in entry_points(group="vlmrl.tasks"):
        try:
            places += [Path(p) for p in point.load().__path__]
        except Exception as error:  # noqa: BLE001  an installed package's fault must not hide the other tasks
            print(f"tasks of {point.value} cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)
    places.append(tasks_dir())
    return list(dict.fromkeys(p.resolve() for p in places if p.is_dir()))


def _install_package(folder: TaskFolder) -> str:
    """Makes `folder` importable as a package of its own and returns the package's name.

    Its path is this one folder, so that a task never picks up files of another one with its name.
    """
    root = sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE, __doc__))
    root.__path__ = []
    name, path = f"{PACKAGE}.{folder.name}", [str(folder.path)]
    if getattr(sys.modules.get(name), "__path__", None) != path:
        for loaded in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
            del sys.modules[loaded]
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = path
    return name


def find_tasks() -> dict[str, TaskFolder]:
    """Every task folder by name. Nothing is imported yet."""
    found: dict[str, TaskFolder] = {}
    for place in search_path():
        for folder in sorted(place.iterdir()):
            if (folder / "task.py").is_file():
                found.setdefault(folder.name, TaskFolder(folder.name, folder))
    return found


def find_task(name: str) -> TaskFolder:
    """The task folder of that name. Raises UserError with a suggestion if there is none."""
    tasks = find_tasks()
    if name not in tasks:
        close = difflib.get_close_matches(name, tasks, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        places = ", ".join(map(str, search_path()))
        raise UserError(f"unknown task {name!r}: {hint}known tasks: {', '.join(sorted(tasks))} (looked in {places})")
    return tasks[name]
