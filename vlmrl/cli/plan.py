"""``vlmrl plan``: tokens, memory and cost of training on the user's own pictures, before any weights are loaded."""

import argparse
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Say what a training run will need before it is started. Only the headers of the pictures and the model's configuration
are read; no weights are loaded. Shown are the tokens per prompt, the predicted memory, the cost of one step by the
limit model (a lower bound, not a measurement), and the pixel limit and token budget that fit the device.
"""
EXAMPLES = """\
examples:
  vlmrl plan --data rows.json                                   the embedded model on this machine
  vlmrl plan --model Qwen/Qwen2.5-VL-7B-Instruct --data rows.json --device h200 \\
    model.lora.rank=16 model.gradient_checkpointing=true
  vlmrl plan --model random:qwen2_5_vl-3b --data rows.json --device a100-80gb --group-size 16 --completion-tokens 128
"""
FLAGS = {
    **TASK,
    "--model": Flag(
        "model.path", "PATH", "tiny (default), a checkpoint folder, a hub id, or a random size of `vlmrl bench`"
    ),
    "--data": Flag("data.train", "PATH", "rows to plan for (default: the task's synthetic rows)"),
    "--group-size": Flag("rollout.group_size", "G", "completions of each prompt"),
    "--completion-tokens": Flag("rollout.max_completion_tokens", "C", "longest completion"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "plan",
        help="predict tokens, memory and cost of training on your pictures",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="what to plan for: this machine (auto, default; cpu, cuda, cuda:N), a100-40gb, a100-80gb, h100 or h200",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.bench.plan import make_plan
    from vlmrl.bench.plan_text import plan_text

    plan = make_plan(config, args.device)
    print(plan_text(plan))
    write_json(args.json, plan.record())
