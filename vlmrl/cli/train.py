"""``vlmrl train``: GRPO on a task."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.cli.settings import MODEL, TASK, Flag, add_settings
from vlmrl.errors import UserError

if TYPE_CHECKING:
    from vlmrl.config import Config

DESCRIPTION = """\
Train a vision-language model on a task by GRPO: it answers each prompt several times, a rule scores the answers,
and the better ones become more likely. Held-out rows are evaluated at the start, on the way and at the end. The run
folder gets the settings, metrics, sampled answers, checkpoints that from_pretrained loads, and summary.json.

Several tasks, with commas, are trained together: each step's prompts are theirs by the ratios task.each.NAME.ratio.
Each has its own rewards, rows and options (task.each.NAME.*, see --help-config) and is evaluated on its own.
"""
EXAMPLES = """\
examples:
  vlmrl train                                                the embedded model on drawn screens, a few minutes
  vlmrl train --model ./my-qwen --data rows.json model.lora.rank=16 optim.lr=1e-5
  vlmrl train --config recipes/gui-g1 --model ./my-qwen --data rows.json --dry-run      does it all fit together?
  vlmrl train --config my.yaml --seed 1 --run runs/seed1
  vlmrl train --task gui_grounding,my_task task.each.my_task.ratio=2 task.each.my_task.train=rows.jsonl
  vlmrl train algorithm.preset=dapo rollout.group_size=16    any setting as name=value
  vlmrl train --resume runs/seed1                            continue where it stopped
  vlmrl train --resume runs/seed1 --steps 400                and go further

Ctrl-C finishes the step, saves, and says how to continue.
"""
FLAGS = {
    **TASK,
    **MODEL,
    "--data": Flag("data.train", "PATH", "training rows the task can read (default: the task's synthetic rows)"),
    "--run": Flag("run.dir", "DIR", "new folder for everything the run writes (default: runs/<task>-<model>-<date>)"),
    "--steps": Flag("run.steps", "N", "training steps"),
    "--seed": Flag("run.seed", "N", "seed of everything random; equal seeds give equal runs on a CPU"),
}


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "train",
        help="train a model on a task by GRPO",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_settings(parser, FLAGS)
    parser.add_argument(
        "--resume", type=Path, metavar="RUN", help="continue the run in this folder; it stays the same run"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check settings, rows and the model's processor, print what would be done, and stop: no weights are "
        "loaded and nothing is written",
    )
    add_json_flag(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, config: "Config") -> None:
    if args.dry_run:
        if args.resume:
            raise UserError("--dry-run looks at a new run; leave out --resume")
        from vlmrl.training.dry_run import dry_run

        write_json(args.json, dry_run(config))
        return
    from vlmrl.training.run import train

    write_json(args.json, train(config, args.resume))
