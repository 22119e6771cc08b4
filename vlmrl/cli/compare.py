"""``vlmrl compare``: which of two evaluated models is better, and on which rows."""

import argparse
from pathlib import Path
from typing import Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.errors import UserError

DESCRIPTION = """\
Compare evaluations of the same rows, row by row: every further folder with the first one. Where rows are right or
wrong the test is McNemar's (exact), otherwise a paired bootstrap. Evaluations that were not measured alike (prompt,
pixels, scorer, decoding) are refused, with what differs.
"""
EXAMPLES = """\
examples:
  vlmrl compare evals/base evals/trained
  vlmrl compare evals/base evals/trained --page flips.html
  vlmrl compare evals/qwen2.5 evals/qwen3 --anyway       other families have other prompts
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "compare",
        help="test whether two evaluations differ, and show where",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("first", type=Path, metavar="FOLDER", help="folder of an evaluation: the baseline")
    parser.add_argument("others", type=Path, metavar="FOLDER", nargs="+", help="folders to compare with it")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="draw the rows that two evaluations disagree about, as one HTML file"
    )
    parser.add_argument("--anyway", action="store_true", help="compare what was not measured alike, too")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from rich.console import Console

    from vlmrl.evaluation.compare import compare, read_evaluation, require_alike
    from vlmrl.evaluation.show import comparison_table

    if args.page is not None and len(args.others) > 1:
        raise UserError("--page draws two evaluations; give one folder to compare the first with")
    first = read_evaluation(args.first)
    pairs = []
    for folder in args.others:
        second = read_evaluation(folder)
        require_alike(first, second, args.anyway)
        pairs.append(compare(first, second))
    Console(highlight=False).print(comparison_table(pairs))
    if args.page is not None:
        from vlmrl.report.flips import write_flips_page

        print(f"page {write_flips_page(args.first, args.others[0], args.page)}")
    write_json(args.json, {"comparisons": [pair.record() for pair in pairs]})
