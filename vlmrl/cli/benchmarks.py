"""``vlmrl benchmarks``: the public benchmarks that can be scored, and one in detail."""

import argparse
from typing import Any

DESCRIPTION = """\
List the public benchmarks of all tasks: what the data must look like, splits and rows, the metric that papers print
and which average of it, the scorer that is followed. With a name, that one and the published figures with their
settings and sources.
"""
EXAMPLES = """\
examples:
  vlmrl benchmarks
  vlmrl benchmarks screenspot-pro
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "benchmarks",
        help="list the public benchmarks with their data, scorers and published figures",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="show this one (default: list all)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from rich.console import Console

    from vlmrl.evaluation.listing import all_benchmarks, one_benchmark

    console = Console(highlight=False)
    for table in one_benchmark(args.name) if args.name else all_benchmarks():
        console.print(table)
