"""``vlmrl warmup``: a supervised start before reinforcement learning."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Fine-tune a model on the right answers of a task's rows, so that reinforcement learning starts from a model that knows
the answer format. Rows in think mode may bring their reasoning, which is then learnt before the answer. Prompts,
pixels and parser are those of `vlmrl train`; only answers are learnt, each with its end of turn. The folder loads with
--model and with from_pretrained. Needs the extra `train`: pip install 'vlmrl[train]'.
"""
EXAMPLES = """\
examples:
  vlmrl warmup --model ./my-qwen --data rows.json --out warm model.lora.rank=16 warmup.lr=1e-4
  vlmrl warmup --task my_task --model ./my-qwen --data rows.json --epochs 2 --out warm
  vlmrl warmup --resume warm                                 continue where it stopped
  vlmrl train --model warm --data rows.json                  and go on by GRPO

Ctrl-C finishes the step, saves, and says how to continue.
"""
FLAGS = {
    **TASK,
    **MODEL,
    "--data": Flag("data.train", "PATH", "training rows the task can read (default: the task's synthetic rows)"),
    "--out": Flag("run.dir", "DIR", "new folder for the model (default: runs/warmup-<task>-<model>-<date>)"),
    "--steps": Flag("warmup.steps", "N", "optimiser steps (default: 200)"),
    "--epochs": Flag("warmup.epochs", "N", "passes over the rows, instead of --steps"),
    "--seed": Flag("run.seed", "N", "seed of everything random; equal seeds give equal models on a CPU"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "warmup",
        help="fine-tune a model on a task's right answers, before train",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    parser.add_argument("--resume", type=Path, metavar="DIR", help="continue the warm-up in this folder")
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    from vlmrl.training.cold_start import cold_start

    write_json(args.json, cold_start(config, args.resume))
