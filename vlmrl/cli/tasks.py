"""``vlmrl tasks``: what there is to learn, one task in detail, and a new one to start from."""

import argparse
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config
    from vlmrl.registry import TaskFolder

DESCRIPTION = """\
List the tasks: the folders with a task.py in ./tasks, in the folders named by $VLMRL_TASKS, in installed packages, and
those shipped with vlmrl. The first place that has a name wins. A folder that cannot be loaded is listed with the line
that is at fault.
"""
EXAMPLES = """\
examples:
  vlmrl tasks
  vlmrl tasks show gui_grounding --model ./my-qwen --data rows.json
  vlmrl tasks new count_cells                   makes ./tasks/count_cells, which trains at once
"""
SHOW_DESCRIPTION = """\
Show one task: the prompt and the answer of a row as this model gets and writes them, with the sizes of the pictures
and the tokens they take; its rewards with their weights, its metrics, the data it reads, its options.
"""
SHOW_EXAMPLES = """\
examples:
  vlmrl tasks show gui_grounding
  vlmrl tasks show gui_grounding --model Qwen/Qwen2.5-VL-3B-Instruct --data rows.json task.options.answer=box
"""
NEW_DESCRIPTION = """\
Make the folder ./tasks/NAME: a small complete task, its README and its test. It trains on the embedded model as it is;
change the rows, the question and the rewards from there.
"""
SHOW_FLAGS = {
    **MODEL,
    "--data": Flag("data.train", "PATH", "rows to take one from (default: the task's synthetic rows)"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    looks: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = commands.add_parser(
        "tasks",
        help="list the tasks with their data formats, rewards and options; show one, or make a new one",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        **looks,
    )
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (none: list the tasks)")
    show = actions.add_parser(
        "show", help="one task in detail", description=SHOW_DESCRIPTION, epilog=SHOW_EXAMPLES, **looks
    )
    add_settings(show, SHOW_FLAGS)
    show.add_argument("task.name", metavar="TASK", help="one of the names that `vlmrl tasks` lists")
    show.set_defaults(run=run_show, setting_flags={"tasks show": TASK["--task"], **SHOW_FLAGS})
    new = actions.add_parser("new", help="make a task to start from", description=NEW_DESCRIPTION, **looks)
    new.add_argument("name", metavar="NAME", help="lower-case letters, digits and _")
    new.set_defaults(run=run_new)


def run_list(args: argparse.Namespace) -> None:
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


def run_show(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.checks.show import shown_task

    print(shown_task(config))


def run_new(args: argparse.Namespace) -> None:
    from vlmrl.new_task import make_task

    folder = make_task(args.name, Path("tasks"))
    print(f"made {folder}; next:")
    print(f"  vlmrl tasks show {args.name}\n  pytest {folder}\n  vlmrl train --task {args.name} --run runs/{args.name}")
