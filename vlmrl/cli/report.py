"""``vlmrl report``: one page about a run."""

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Write one self-contained HTML page about a run: its curves, and the logged groups with the right answer and all of the
model's answers drawn on the picture. Works on a finished, running or broken-off run.
"""
EXAMPLES = """\
examples:
  vlmrl report runs/demo                        writes runs/demo/report.html
  vlmrl report runs/demo --out demo.html
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "report",
        help="write a page with a run's curves and pictures",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, metavar="RUN", help="run folder that `vlmrl train` printed")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write the page (default: inside the run folder)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from vlmrl.report.page import write_report

    print(write_report(args.folder, args.out))
