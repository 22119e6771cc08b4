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
are read, scored and averaged as the benchmark's papers do; without it they are rows of the task's own kind.

Answers are kept in a folder as they come. The same command after a stop continues, and prints the same card.
"""
EXAMPLES = """\
examples:
  vlmrl eval --benchmark screenspot-v2 --data screenspot_v2/
  vlmrl eval --model runs/demo/checkpoints/step-000100 --data rows.json --limit 200
  vlmrl eval --model ./my-qwen --benchmark refcoco --data refcoco/ --split testA --save evals/testA --audit
  vlmrl eval --model ./my-qwen --benchmark screenspot-v2 --data screenspot_v2/ --predictions theirs.jsonl
  accelerate launch --num_processes 8 -m vlmrl eval --model ./my-qwen --benchmark screenspot-pro --data pro/
"""
FLAGS = {
    **TASK,
    **MODEL,
    "--benchmark": Flag("eval.benchmark", "NAME", "published benchmark the rows belong to; see `vlmrl benchmarks`"),
    "--split": Flag("eval.split", "NAME", "score one of the benchmark's splits (default: every row of the data)"),
    "--data": Flag("data.held_out", "PATH", "rows to score (default: the task's synthetic held-out rows)"),
    "--limit": Flag("data.max_rows", "N", "score only the first N rows"),
    "--seed": Flag("run.seed", "N", "seed of sampling, with eval.temperature above 0"),
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
        "--save",
        type=Path,
        metavar="DIR",
        help="folder of answers, pictures and card (default: evals/ and a name made from what is evaluated)",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="score these answers, one JSON object per line with id and text, in place of the model's; --model then "
        "says only how coordinates are written (eval.id_field and eval.text_field name other fields)",
    )
    parser.add_argument(
        "--audit",
        action="store_true",
        help="also score grey and exchanged pictures and guesses that look at none: what of the score is not vision",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.evaluation.run import evaluate

    if card := evaluate(config, args.save, args.predictions, args.audit):
        write_json(args.json, card)
