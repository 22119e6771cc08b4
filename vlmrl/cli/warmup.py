"""``vlmrl warmup``: makes the embedded model again."""

import argparse
from pathlib import Path
from typing import Any

from vlmrl.cli.json_file import add_json_flag, write_json

DESCRIPTION = """\
Train the embedded tiny model from random weights on a task's synthetic rows, by supervised learning. This is the
recipe that made the model shipped with vlmrl; the same seed gives the same model on the same machine.
"""
EXAMPLES = """\
examples:
  vlmrl warmup --out my-tiny
  vlmrl train --model my-tiny --config quickstart
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "warmup",
        help="make the embedded tiny model again from random weights",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--task", default="gui_grounding", metavar="NAME", help="whose rows (default: gui_grounding)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the model")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of weights and rows (default: 0)")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from vlmrl.training.warmup import warm_up

    write_json(args.json, warm_up(args.task, args.out, args.seed))
