"""``vlmrl eval``: scores a model on a benchmark or on the task's own rows."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Score a model with greedy answers, through the same prompt, pixels and parser as training. With --benchmark the rows
are read and averaged as the benchmark's papers do; without it they are rows of the task's own kind.
"""
EXAMPLES = """\
examples:
  vlmrl eval --benchmark screenspot-v2 --data screenspot_v2/
  vlmrl eval --model runs/demo/checkpoints/step-000100 --data rows.json --limit 200
  vlmrl eval --model ./my-qwen --benchmark screenspot-v2 --data screenspot_v2/ --save answers.jsonl --json card.json
"""
FLAGS = {
    **TASK,
    **MODEL,
    "--benchmark": Flag("eval.benchmark", "NAME", "published benchmark the rows belong to; `vlmrl tasks` lists them"),
    "--data": Flag("data.held_out", "PATH", "rows to score (default: the task's synthetic held-out rows)"),
    "--limit": Flag("data.max_rows", "N", "score only the first N rows"),
    "--seed": Flag("run.seed", "N", "seed of the synthetic rows"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "eval",
        help="score a model on a benchmark or on your rows",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="write every answer with its score, one JSON per line"
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.evaluation.run import evaluate

    write_json(args.json, evaluate(config, args.save))
