"""The ``vlmrl`` command: reads the command line, runs one command and turns its outcome into an exit code."""

import argparse
import os
import sys
from collections.abc import Sequence

from vlmrl import __version__
from vlmrl.cli import (
    algorithms,
    bench,
    benchmarks,
    check,
    compare,
    data,
    doctor,
    plan,
    preview,
    report,
    rescore,
    tasks,
    train,
    warmup,
    watch,
)
from vlmrl.cli import eval as eval_
from vlmrl.cli.settings import refuse_unknown_flags, run_with_settings
from vlmrl.errors import Interrupted, UserError

DONE, WRONG_INPUT, INTERRUPTED = 0, 2, 130

DESCRIPTION = "Reinforcement fine-tuning (GRPO) of vision-language models on tasks whose answers a rule can check."
EXAMPLES = """\
examples:
  vlmrl train                                   the embedded model learns to click, on this machine
  vlmrl train --model Qwen/Qwen2.5-VL-3B-Instruct --data rows.json model.lora.rank=16
  vlmrl train --help-config                     every setting, what it takes and what it does
  vlmrl preview --data rows.json                a page with rows as the model will see them
  vlmrl check --data rows.json                  are my rows and rewards sound?
  vlmrl report runs/demo                        a page with curves and every logged answer drawn
  vlmrl rescore runs/demo                       its saved answers under changed rewards
  vlmrl doctor                                  what works on this machine, and how to fix the rest

Exit codes: 0 done, 2 wrong input, 130 interrupted (state saved; the message says how to continue).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. `argv` defaults to the process's own arguments."""
    # Idle OpenMP threads spin by default and steal the core from whoever has work: on a busy machine everything gets
    # several times slower. The variable is read when torch loads its runtime, so it is set before any command runs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = _parser()
    args, words = parser.parse_known_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    try:
        refuse_unknown_flags(args, words)
        return (run_with_settings(args, words) if args.takes_settings else args.run(args)) or DONE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except (Interrupted, KeyboardInterrupt) as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough, as in `vlmrl tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlmrl",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"vlmrl {__version__}")
    parser.set_defaults(takes_settings=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in (
        train,
        warmup,
        eval_,
        benchmarks,
        compare,
        check,
        preview,
        tasks,
        algorithms,
        data,
        report,
        watch,
        rescore,
        plan,
        bench,
        doctor,
    ):
        command.add_parser(commands)
    return parser
