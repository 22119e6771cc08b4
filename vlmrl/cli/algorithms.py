"""``vlmrl algorithms``: the published algorithms that can be picked, and what each of them is made of."""

import argparse
from typing import Any

DESCRIPTION = """\
List the presets: published algorithms as choices of small pieces. `vlmrl train algorithm=NAME` picks one, and
`algorithm.PLACE=...` changes a piece of it. docs/algorithms.md has them all on one page, with every piece and option.
"""
EXAMPLES = """\
examples:
  vlmrl algorithms
  vlmrl algorithms show dapo                    its pieces, formulas, defaults and paper
  vlmrl algorithms show soft_overlong           one piece
"""
SHOW_DESCRIPTION = """\
Show a preset: what it changes in plain GRPO, with each piece's formula, options and defaults, and its paper. Or show
one piece.
"""


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    looks: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    parser = commands.add_parser(
        "algorithms",
        help="list the published algorithms; show one with its formulas",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        **looks,
    )
    parser.set_defaults(run=run_list)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (none: list the presets)")
    show = actions.add_parser("show", help="one preset or piece in full", description=SHOW_DESCRIPTION, **looks)
    show.add_argument("name", metavar="NAME", help="a preset that `vlmrl algorithms` lists, or a piece")
    show.set_defaults(run=run_show)


def run_list(args: argparse.Namespace) -> None:
    from vlmrl.algorithms.describe import overview

    print(overview())


def run_show(args: argparse.Namespace) -> None:
    from vlmrl.algorithms.describe import show

    print(show(args.name))
