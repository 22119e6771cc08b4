"""``vlmrl rescore``: the saved answers of a run under changed reward code."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import Flag, take_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Parse and score every saved answer of a run again, with the task's code, options and weights as they are now, and say
what changed: the mean of each reward component, answers that parse otherwise, and groups whose members change places.
No model is loaded. The page shows the groups that changed most, with old and new figures.
"""
EXAMPLES = """\
examples:
  vlmrl rescore runs/demo                                    after a change of the task's code
  vlmrl rescore runs/demo task.weights.distance=0.5          under other weights
  vlmrl rescore runs/demo --task my_grounding                by the rewards of another task for the same rows
"""
PAGE_NAME = "rescored.html"
FLAGS = {"--task": Flag("task.name", "NAME", "task whose code scores the answers (default: the run's own)")}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "rescore",
        help="score a run's saved answers again, after a change of the rewards",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    take_settings(parser, FLAGS)
    parser.add_argument("recorded", type=Path, metavar="RUN", help="run folder that `vlmrl train` printed")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"where to write the page (default: {PAGE_NAME} in the run folder)"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.report.rescored_page import write_rescored_page
    from vlmrl.rescoring import rescore

    found = rescore(args.recorded, config)
    found.print()
    print(write_rescored_page(found, args.out or args.recorded / PAGE_NAME))
    write_json(args.json, found.record())
