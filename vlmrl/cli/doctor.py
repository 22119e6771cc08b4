"""``vlmrl doctor``: what works on this machine."""

import argparse
from typing import Any

from vlmrl.cli.json_file import add_json_flag, write_json

DESCRIPTION = """\
Say what of vlmrl works on this machine, by trying it: the versions of packages, devices, attention kernels against
a reference, sampling against the naive engine, video readers, and the sandbox's protections. Whatever does not work is
listed with what to do about it. Exit code 0: training works, though something optional may be missing; 2: something is
broken.
"""
EXAMPLES = """\
examples:
  vlmrl doctor
  vlmrl doctor --json doctor.json               to send along with a question
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "doctor",
        help="try what works on this machine, and say how to fix the rest",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from vlmrl.doctor import diagnose

    found = diagnose()
    found.print()
    write_json(args.json, found.record())
    return 0 if found.ok else 2
