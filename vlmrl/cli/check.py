"""``vlmrl check``: are the rows, the rewards and the model's answer format sound?"""

import argparse
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Check rows before spending hours on them: every picture decodes, every box lies inside its picture, the right answer
written in the model's own format parses back and earns full marks, and completions that do not answer (empty, a grid
of guesses, the answer inside the thoughts, ...) earn nothing. Prints what each of them earns from the real rewards.
With data.held_out=PATH, pictures that are in both files are found too. Of several tasks, with commas, each is checked;
their data are task.each.NAME.train and task.each.NAME.held_out.
"""
EXAMPLES = """\
examples:
  vlmrl check --data rows.json
  vlmrl check --task my_task --model Qwen/Qwen2.5-VL-3B-Instruct --data rows/
"""
FLAGS = {
    **TASK,
    **MODEL,
    "--data": Flag("data.train", "PATH", "rows to check (default: the task's synthetic rows)"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "check",
        help="check that rows, rewards and answer format are sound",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> int:
    from vlmrl.checks.run import check

    found = check(config)
    found.print()
    write_json(args.json, found.record())
    return 0 if found.ok else 2
