"""``vlmrl preview``: rows as the model will see them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Write one self-contained HTML page with rows as the model will see them: pictures in the model's size with gold drawn,
the exact prompt, its tokens, the gold answer in the model's own convention and where it lies once it is parsed back,
and how hard the row is. Labels that do not fit their pictures are found by eye in a minute. No weights are loaded.
"""
EXAMPLES = """\
examples:
  vlmrl preview --data rows.json
  vlmrl preview --task grounding --data refcoco/ --model Qwen/Qwen2.5-VL-3B-Instruct --rows 50
"""
ROWS = 24
PAGE_NAME = "preview.html"
FLAGS = {
    **TASK,
    "--model": MODEL["--model"],
    "--data": Flag("data.train", "PATH", "rows to show (default: the task's synthetic rows)"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "preview",
        help="write a page with rows as the model will see them",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    parser.add_argument(
        "--rows", type=_positive, default=ROWS, metavar="N", help=f"rows, spread evenly over the data (default: {ROWS})"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(PAGE_NAME), metavar="FILE", help=f"where to write it (default: {PAGE_NAME})"
    )
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} rows are none; give 1 or more")
    return number


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.preview import preview
    from vlmrl.report.preview_page import write_preview

    found = preview(config, args.rows)
    print(f"{len(found.rows)} of {found.total:,} rows, {found.faulty} with problems")
    print(write_preview(found, args.out))
