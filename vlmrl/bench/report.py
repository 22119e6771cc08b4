"""The text that benchmarks print: one block per setting, 80 columns wide."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from vlmrl.bench.meter import PHASES
from vlmrl.bench.rollout import RolloutResult
from vlmrl.bench.step import SettingResult, SideResult

WIDTH = 80
MIB = 1 << 20
STEP_HEADER = ("side", "time / vlmrl", "of limit", "images", "prompt", "decode", "score", "MiB", "/ vlmrl")
STEP_LEGEND = """\
time / vlmrl  the side's time by vlmrl's: median [smallest..largest]
of limit      that ratio as a share of the one by floating-point operations,
              against a step that computes nothing twice
images        pictures through the vision tower
prompt ...    token rows through the language model: over prompts, while
              decoding, over completions for the update
MiB           peak memory above the idle model with gradients allocated,
              each side in its own process"""
ROLLOUT_HEADER = ("sampler", "tokens/s", "time / vlmrl", "decoding/s", "time / vlmrl")
ROLLOUT_LEGEND = """\
tokens/s    sampled tokens by the time of the whole rollout
decoding/s  the same without processor, vision tower and the prompt's forward"""


def machine_lines(machine: Mapping[str, str | int]) -> str:
    text = "machine: " + ", ".join(f"{key} {value}" for key, value in machine.items())
    return textwrap.fill(text, WIDTH, subsequent_indent="  ")


def step_block(result: SettingResult, on_gpu: bool) -> str:
    """The table of one setting and the share of every phase."""
    setting = result.setting
    lines = [f"P {setting.P}, C {setting.C}, G {setting.G}: {result.gradient}"]
    if setting.gains_nothing:
        lines.append("nothing is to be gained here: the prompt is short and the answers are long")
    lines += _table([STEP_HEADER, *(_step_row(result, side) for side in (result.ours, *result.peers))])
    lines.append("share of the time by phase")
    lines += _phase_lines(result)
    if on_gpu:
        lines += [f"wall time of {peer.name} / vlmrl: {result.wall_ratio(peer)}" for peer in result.peers]
    return "\n".join(lines) + "\n"


def rollout_block(result: RolloutResult) -> str:
    """The table of one setting."""
    setting = result.setting
    rows: list[tuple[str, ...]] = [ROLLOUT_HEADER]
    for sampler in result.samplers:
        decoding = ("", "")
        if sampler.decode_seconds:
            decoding = (f"{result.decoded_per_second(sampler):.1f}", str(result.decode_ratio(sampler)))
        rows.append((sampler.name, f"{result.tokens_per_second(sampler):.1f}", str(result.ratio(sampler)), *decoding))
    return "\n".join([f"P {setting.P}, C {setting.C}, G {setting.G}", *_table(rows)]) + "\n"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Lines of aligned columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True))]
        yield " ".join(cells).rstrip()


def _step_row(result: SettingResult, side: SideResult) -> tuple[str, ...]:
    rows = side.counts["token_rows"]
    counts = [str(side.counts["images_encoded"]), *(str(rows[phase]) for phase in ("prompt", "decode", "score"))]
    peak, base = side.peak_memory, result.ours.peak_memory
    memory = "unknown" if peak is None else f"{peak / MIB:.0f}"
    if side is result.ours:
        return (side.name, "1", "", *counts, memory, "1")
    ratio, limit = result.ratio(side), result.limit(side)
    times = f"{peak / base:.1f}" if peak and base else "unknown"
    return (side.name, str(ratio), f"{ratio.median / limit:.0%} of {limit:.1f}", *counts, memory, times)


def _phase_lines(result: SettingResult) -> Iterator[str]:
    for side in (result.ours, *result.peers):
        total = sum(side.phases.values())
        split = "  ".join(f"{phase} {side.phases[phase] / total:3.0%}" for phase in PHASES)
        yield f"{side.name:<9}  {split}"
