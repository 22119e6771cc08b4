"""``vlmrl bench``: how fast a step and a rollout are, side by side with others, and how fast rewards are."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from vlmrl.cli.json_file import add_json_flag, write_json
from vlmrl.errors import UserError

if TYPE_CHECKING:
    from vlmrl.bench.workload import ModelChoice, Setting

DESCRIPTION = """\
Measure vlmrl side by side with others, on the same weights, the same picture and the same number of tokens. A random
model of a named size is built here; nothing is downloaded. docs/bench.md has the protocol and how to read the tables.
"""
STEP_DESCRIPTION = """\
Time whole GRPO steps of one prompt, from a decoded picture and its text to gradients: processor, vision tower,
G completions of exactly C tokens, loss, backward. Sides alternate within each repetition in one process; on a CPU
process CPU time of one thread is compared, on a GPU CUDA events and wall time. First the gradient is compared with the
naive computation; above the tolerance nothing is reported. Peak memory is measured in one process per side.

peers:
  trl        the installed trl's GRPOTrainer through its own training_step, with HF generate
  loop       a well-written loop: HF generate on G copies of the prompt, one forward over G full rows
  loop-once  the same with each image encoded once for the rollout and once for the update
"""
STEP_EXAMPLES = """\
examples:
  vlmrl bench step                                         the default settings on the CPU, with the tiny model
  vlmrl bench step --setting 1000,32,8 --peers loop-once   one setting, one peer
  vlmrl bench step --model random:qwen2_5_vl-3b --device cuda --dtype bfloat16 --lora --checkpointing \\
    --setting 1000,32,8 --setting 2000,64,8 --setting 5000,128,16 --json step-3b.json

Ctrl-C ends it; the settings measured so far stand in the JSON file.
"""
ROLLOUT_DESCRIPTION = """\
Time the rollout of one prompt: tokens per second of G completions of exactly C tokens, by vlmrl, by HF generate with
G returned sequences, and by vLLM where it is installed (GPU).
"""
ROLLOUT_EXAMPLES = """\
examples:
  vlmrl bench rollout
  vlmrl bench rollout --model random:qwen2_5_vl-7b --device cuda --dtype bfloat16 --setting 2000,64,8
"""
DEFAULT_PEERS = "trl,loop,loop-once"


def add_parser(commands: "argparse._SubParsersAction[Any]") -> None:
    parser = commands.add_parser(
        "bench",
        help="measure a step or a rollout side by side with others, or rewards",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=lambda args: parser.print_help())
    kinds = parser.add_subparsers(metavar="KIND", title="kinds")
    step = _kind(kinds, "step", "whole GRPO steps against trl and hand-written loops", STEP_DESCRIPTION, STEP_EXAMPLES)
    step.add_argument(
        "--peers", metavar="A,B", help=f"who to compare with (default: {DEFAULT_PEERS}; trl only where installed)"
    )
    step.add_argument("--lora", action="store_true", help="train LoRA adapters (rank 16) instead of all weights")
    step.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, on every side")
    step.set_defaults(run=run_step)
    rollout = _kind(kinds, "rollout", "sampling against HF generate and vLLM", ROLLOUT_DESCRIPTION, ROLLOUT_EXAMPLES)
    rollout.set_defaults(run=run_rollout, lora=False, checkpointing=False)
    rewards = kinds.add_parser(
        "rewards",
        help="how fast box rewards score, on one core",
        description="Time 10,000 scores of each box reward, and of the grounding task from text to all its components.",
        allow_abbrev=False,
    )
    add_json_flag(rewards)
    rewards.set_defaults(run=run_rewards)


def _kind(
    kinds: "argparse._SubParsersAction[Any]", name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        name,
        help=summary,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model",
        default="tiny-qwen2_5_vl",
        metavar="M",
        help="tiny-qwen2_5_vl (11 M parameters, default), random:qwen2_5_vl-3b, random:qwen2_5_vl-7b, or a checkpoint",
    )
    parser.add_argument(
        "--setting",
        action="append",
        metavar="P,C,G",
        help="prompt tokens, completion tokens, group size; repeatable (default: five settings, "
        "the last one without anything to gain)",
    )
    parser.add_argument("--prompt-tokens", type=int, metavar="P", help="one setting in three flags instead:")
    parser.add_argument("--completion-tokens", type=int, metavar="C", help="tokens of every completion")
    parser.add_argument("--group-size", type=int, metavar="G", help="completions of the prompt")
    parser.add_argument("--reps", type=int, default=3, metavar="N", help="repetitions after a warm-up (default: 3)")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="precision of matrix products (default: bfloat16 on a GPU, float32 on a CPU)",
    )
    add_json_flag(parser)
    return parser


def run_step(args: argparse.Namespace) -> None:
    from vlmrl.bench.machine import describe_machine
    from vlmrl.bench.report import STEP_LEGEND, machine_lines, step_block
    from vlmrl.bench.step import PEERS, check_peers, run_steps
    from vlmrl.bench.trl_peer import MISSING, trl_is_installed
    from vlmrl.models.load import resolve_device

    settings, model = _settings(args), _model(args)
    peers = (args.peers or DEFAULT_PEERS).split(",")
    check_peers(peers, PEERS)
    if "trl" in peers and not trl_is_installed():
        if args.peers:
            raise UserError(MISSING)
        peers.remove("trl")
        _say(MISSING)
    device = resolve_device(args.device)
    machine = describe_machine(device)
    records: list[dict[str, Any]] = []
    for result in run_steps(model, settings, peers, args.reps, _say):
        print(step_block(result, on_gpu=device.type == "cuda"), flush=True)
        records += result.record()
        write_json(args.json, {"machine": machine, "model": vars(model), "results": records})
    print(STEP_LEGEND)
    print(machine_lines(machine))


def run_rollout(args: argparse.Namespace) -> None:
    from vlmrl.bench.machine import describe_machine
    from vlmrl.bench.report import ROLLOUT_LEGEND, machine_lines, rollout_block
    from vlmrl.bench.rollout import run_rollouts
    from vlmrl.models.load import resolve_device

    settings, model = _settings(args), _model(args)
    machine = describe_machine(resolve_device(args.device))
    records: list[dict[str, Any]] = []
    for result in run_rollouts(model, settings, args.reps, _say):
        print(rollout_block(result), flush=True)
        records += result.record()
        write_json(args.json, {"machine": machine, "model": vars(model), "results": records})
    print(ROLLOUT_LEGEND)
    print(machine_lines(machine))


def run_rewards(args: argparse.Namespace) -> None:
    from vlmrl.bench.rewards import time_rewards

    timings = []
    for timing in time_rewards():
        print(f"{timing.name:44} {timing.scores} in {timing.seconds:6.3f} s", flush=True)
        timings.append(vars(timing))
    write_json(args.json, {"timings": timings})


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _model(args: argparse.Namespace) -> "ModelChoice":
    from vlmrl.bench.workload import ModelChoice
    from vlmrl.models.load import resolve_device

    if args.reps < 1:
        raise UserError(f"--reps {args.reps}: at least 1")
    device = resolve_device(args.device)
    automatic = "bfloat16" if device.type == "cuda" else "float32"
    dtype = automatic if args.dtype == "auto" else args.dtype
    return ModelChoice(args.model, str(device), dtype, args.lora, args.checkpointing)


def _settings(args: argparse.Namespace) -> "list[Setting]":
    from vlmrl.bench.workload import DEFAULT_SETTINGS, Setting

    flags = (args.prompt_tokens, args.completion_tokens, args.group_size)
    given = [_setting(text) for text in args.setting or ()]
    if any(value is not None for value in flags):
        if None in flags:
            raise UserError("--prompt-tokens, --completion-tokens and --group-size go together; or use --setting P,C,G")
        given.append(_checked(Setting(*flags), "--prompt-tokens, --completion-tokens, --group-size"))
    return given or list(DEFAULT_SETTINGS)


def _setting(text: str) -> "Setting":
    from vlmrl.bench.workload import Setting

    numbers = text.split(",")
    if len(numbers) != 3 or not all(number.strip().isdigit() for number in numbers):
        raise UserError(f"--setting {text}: three whole numbers, as in --setting 1000,32,8 (P,C,G)")
    return _checked(Setting(*map(int, numbers)), f"--setting {text}")


def _checked(setting: "Setting", where: str) -> "Setting":
    if setting.P < 1 or setting.C < 1:
        raise UserError(f"{where}: P and C are at least 1")
    if setting.G < 2:
        raise UserError(f"{where}: G is at least 2; the advantage of a single completion is zero")
    return setting
