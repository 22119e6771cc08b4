"""``vlmrl tasks``: what there is to learn."""

import argparse
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmrl.registry import TaskFolder

DESCRIPTION = """\
List the tasks: the folders with a task.py in ./tasks, in the folders named by $VLMRL_TASKS, in installed packages, and
those shipped with vlmrl. The first place that has a name wins. A folder that cannot be loaded is listed with the line
that is at fault.
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "tasks",
        help="list the tasks with their data formats, rewards and options",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from vlmrl.registry import PluginError, find_tasks

    for name, folder in sorted(find_tasks().items()):
        print(name)
        try:
            lines = list(_described(folder))
        except PluginError as error:
            lines = [("broken", str(error))]
        for label, text in [("folder", str(folder.path)), *lines]:
            print(f"  {label:<10} {text}")
        print()


def _described(folder: "TaskFolder") -> Iterator[tuple[str, str]]:
    from vlmrl.settings_help import describe_settings

    task = folder.task_class
    yield "what", (inspect.getdoc(task) or "").partition("\n")[0]
    for name, text in task.formats.items():
        yield "data", f"{name}: {text}"
    for name, spec in task.rewards().items():
        yield "reward", f"{name}, weight {spec.weight:g}"
    yield "metric", ", ".join(task.metrics())
    if (folder.path / "benchmarks.py").is_file():
        for benchmark in folder.submodule("benchmarks").BENCHMARKS:
            yield "benchmark", f"{benchmark.name}: {benchmark.description}"
    for line in describe_settings(task, "task.options."):
        yield "option", line
