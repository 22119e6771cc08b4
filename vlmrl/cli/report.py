"""``vlmrl report``: one page about a run or an evaluation."""

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Write one self-contained HTML page. Of a run: its score, its curves, and the logged groups with the right answer and
all of the model's answers drawn; it may be finished, running or broken off. Of an evaluation: its score card and its
answers, drawn.
"""
EXAMPLES = """\
examples:
  vlmrl report runs/demo                        writes runs/demo/report.html
  vlmrl report runs/demo --out demo.html
  vlmrl report runs/demo --all                  every logged group and held-out row, however large the page gets
  vlmrl report evals/screenspot-v2              the folder that `vlmrl eval` printed, or its answers.jsonl
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
    parser.add_argument("place", type=Path, metavar="RUN", help="folder that `vlmrl train` or `vlmrl eval` printed")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write the page (default: report.html inside the folder)"
    )
    parser.add_argument("--all", action="store_true", help="show everything, not a sample that opens at once")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from vlmrl.progress import phase
    from vlmrl.report.answers import is_evaluation
    from vlmrl.report.answers_page import write_answers_page
    from vlmrl.report.page import write_report

    write = write_answers_page if is_evaluation(args.place) else write_report
    with phase("writing the page"):
        page = write(args.place, args.out, everything=args.all)
    print(page)
