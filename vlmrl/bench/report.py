"""The text a step benchmark prints: one block per setting."""

from collections.abc import Iterator, Mapping

from vlmrl.bench.meter import PHASES
from vlmrl.bench.step import SettingResult, SideResult

MIB = 1 << 20
HEADER = ("side", "time / vlmrl", "limit", "reached", "images", "prompt", "decode", "score", "memory", "/ vlmrl")
LEGEND = """\
time / vlmrl   median over the repetitions of the side's time by vlmrl's [smallest..largest]
limit          the same ratio by floating-point operations, against a step that computes nothing twice
reached        the measured ratio as a share of that limit
images         pictures through the vision tower
prompt ...     token rows through the language model: over the prompt, while decoding, over completions for the update
memory         peak above the idle model with gradients allocated, each side in its own process"""


def machine_line(machine: Mapping[str, str | int]) -> str:
    return "machine: " + ", ".join(f"{key} {value}" for key, value in machine.items())


def setting_block(result: SettingResult, on_gpu: bool) -> str:
    """The table of one setting with its phases."""
    setting = result.setting
    title = f"P {setting.P}, C {setting.C}, G {setting.G}: {result.gradient}"
    if setting.gains_nothing:
        title += "\nnothing is to be gained here: the prompt is short and the answers are long"
    rows = [HEADER, _row(result, result.ours), *(_row(result, peer) for peer in result.peers)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) if i < 2 else cell.rjust(width) for i, (cell, width) in cells)
        for cells in (list(enumerate(zip(row, widths, strict=True))) for row in rows)
    ]
    return "\n".join([title, *lines, *_phase_lines(result), *(_wall_lines(result) if on_gpu else ())]) + "\n"


def _row(result: SettingResult, side: SideResult) -> tuple[str, ...]:
    rows = side.counts["token_rows"]
    counts = [str(side.counts["images_encoded"]), *(str(rows[phase]) for phase in ("prompt", "decode", "score"))]
    peak, base = side.peak_memory, result.ours.peak_memory
    memory = [f"{peak / MIB:.0f} MiB" if peak is not None else "unknown"]
    if side is result.ours:
        return (side.name, "1", "", "", *counts, *memory, "1")
    ratio, limit = result.ratio(side), result.limit(side)
    times = f"{peak / base:.1f}" if peak and base else "unknown"
    return (side.name, str(ratio), f"{limit:.2f}", f"{ratio.median / limit:.0%}", *counts, *memory, times)


def _phase_lines(result: SettingResult) -> Iterator[str]:
    for side in (result.ours, *result.peers):
        total = sum(side.phases.values())
        split = ", ".join(f"{phase} {side.phases[phase] / total:.0%}" for phase in PHASES if side.phases[phase])
        yield f"phases of {side.name}: {split}"


def _wall_lines(result: SettingResult) -> Iterator[str]:
    for peer in result.peers:
        yield f"wall time of {peer.name} / vlmrl: {result.wall_ratio(peer)}"
