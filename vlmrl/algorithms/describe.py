"""Presets and pieces in words, from their own docstrings: for the command line, and for docs/algorithms.md.

``python -m vlmrl.algorithms.describe > docs/algorithms.md`` writes the page anew.
"""

import difflib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vlmrl.algorithms.algorithm import Algorithm
from vlmrl.algorithms.piece import Piece
from vlmrl.algorithms.points import POINTS, Options, entries
from vlmrl.algorithms.presets import PRESETS, Preset
from vlmrl.config import AlgorithmConfig
from vlmrl.errors import UserError
from vlmrl.settings_help import docstrings, help_text
from vlmrl.yaml_dialect import dump

PAGE_HEAD = """\
# Algorithms

An algorithm is one choice at each of the extension points below; a paper's name is a preset of such choices. This page
is written from the docstrings of the pieces by `python -m vlmrl.algorithms.describe`.

```
vlmrl algorithms                                              # the presets, one line each
vlmrl algorithms show dapo                                    # its pieces, formulas, defaults and paper
vlmrl train algorithm=dapo --run runs/dapo                    # pick one
vlmrl train algorithm=dapo algorithm.advantage.scale=batch --run runs/mine        # and change a piece
```

Settings follow one rule. A point with one piece takes its name, and its options below it:
`algorithm.surrogate=cispo algorithm.surrogate.cap=3`; naming another piece drops the preset's options. A point with
several pieces takes labels: `algorithm.token_weights.skip_truncated=true` adds a piece, `=false` leaves the preset's
out, and `algorithm.regularisers.near={name: kl, target: old}` adds one under a label of its own. A piece of yours is
named by its dotted path, or found in the `algorithm.py` of the task's folder: see [own-algorithm.md](own-algorithm.md).

A piece says what it needs, and only that is computed: log-probs of the whole step before the update (a forward pass), a
start model or teacher (a forward pass and a second model), whole distributions (memory for every token times the
vocabulary). What cannot work together is refused at the start, with both names.

With its switches off, every preset is plain GRPO bit for bit (`noisy_backward` and `hypervolume`: `grpo_centred`).
Losses and gradients equal TRL's own where it has the same: GRPO, Dr. GRPO, DAPO, CISPO, SAPO, GSPO, the two-sided clip,
KL terms, sampler weights.

## Presets
"""


def overview() -> str:
    """One line per preset."""
    width = max(map(len, PRESETS))
    lines = [f"{name:<{width}}  {preset.what} ({preset.paper})" for name, preset in PRESETS.items()]
    hint = "vlmrl algorithms show NAME explains one, or a piece; vlmrl train algorithm=NAME picks it"
    return "\n".join([*lines, "", hint])


def show(name: str) -> str:
    """A preset or a piece in full. Raises UserError for a name that is neither."""
    pieces = {piece: (point, found) for point, one in POINTS.items() for piece, found in one.shipped().items()}
    if name in PRESETS:
        return _preset(name, PRESETS[name])
    if name in pieces:
        point, found = pieces[name]
        place = f"algorithm.{point}.{name}" if POINTS[point].several else f"algorithm.{point}"
        return f"{name}: a piece for algorithm.{point}\n\n{_piece(place, found)}"
    close = difflib.get_close_matches(name, [*PRESETS, *pieces], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UserError(
        f"{name}: no preset and no piece; {hint}`vlmrl algorithms` lists the presets, docs/algorithms.md all"
    )


def _preset(name: str, preset: Preset) -> str:
    plain = {(point, label): entry for point, label, entry in entries(AlgorithmConfig())}
    differs, same = [], []
    for point, label, entry in entries(AlgorithmConfig(name)):
        place = f"algorithm.{point}" if label is None else f"algorithm.{point}.{label}"
        if plain.get((point, label)) == entry:
            same.append(f"{place}={_line(entry, label)}")
        else:
            found = POINTS[point].shipped()[entry["name"]]
            differs.append(f"{place}={_line(entry, label)}\n\n{textwrap.indent(_piece(place, found), '  ')}")
    head = [f"{name}: {preset.what}", f"paper: {preset.paper}"]
    if preset.besides:
        head.append(f"besides: {preset.besides}")
    parts = ["\n".join(head)]
    if differs:
        parts.append("Differs from plain GRPO in:\n\n" + textwrap.indent("\n\n".join(differs), "  "))
    parts.append("As in plain GRPO:\n\n" + textwrap.indent("\n".join(same), "  "))
    return "\n\n".join(parts)


def _line(entry: Options, label: str | None) -> str:
    """A piece as it is written in settings: its name, or a mapping with its options."""
    if len(entry) == 1:
        return "true" if entry["name"] == label else entry["name"]
    return _written({key: value for key, value in entry.items() if value != label})


def _written(value: Any) -> str:
    """A value on one line, as it is written in settings."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(entry)}' for key, entry in value.items())}}}"
    plain = list(value) if isinstance(value, tuple) else value
    return dump(plain).removesuffix("...\n").strip()


def _piece(place: str, found: type[Piece]) -> str:
    """Its docstring, its options and what it needs."""
    parts = [inspect.getdoc(found) or "", help_text(found, f"{place}.").rstrip()]
    if required := _required(found):
        parts.append(f"To be given: {', '.join(required)}.")
    return "\n\n".join(part for part in parts if part)


def _required(found: type[Piece]) -> list[str]:
    return [one.name for one in fields(found) if one.metadata.get("required")]  # type: ignore[arg-type]


def page() -> str:
    """docs/algorithms.md."""
    return "\n".join([PAGE_HEAD, *_preset_table(), "", "## Pieces", *_point_sections()]) + "\n"


def _preset_table() -> Iterator[str]:
    yield "| `algorithm=` | what | paper | what it changes in plain GRPO | besides |"
    yield "| --- | --- | --- | --- | --- |"
    for name, preset in PRESETS.items():
        changes = ", ".join(f"`{point}: {_written(chosen)}`" for point, chosen in preset.settings.items())
        yield f"| `{name}` | {preset.what} | {preset.paper} | {changes or 'nothing'} | {preset.besides} |"


def _point_sections() -> Iterator[str]:
    about = docstrings(Algorithm)
    for name, point in POINTS.items():
        many = ", any number by label" if point.several else ""
        yield f"\n### `algorithm.{name}`{many}\n\n{about[name]}\n"
        if name == "expert_surrogate":
            yield "The pieces of `algorithm.surrogate`, or `none`."
            continue
        for piece, found in point.shipped().items():
            yield f"#### `{piece}`\n\n{inspect.getdoc(found)}\n"
            yield from _option_table(found)


def _option_table(found: type[Piece]) -> Iterator[str]:
    options = [one for one in fields(found) if one.init]  # type: ignore[arg-type]
    if not options:
        return
    about = docstrings(found)  # type: ignore[arg-type]
    yield "| option | default | |"
    yield "| --- | --- | --- |"
    for one in options:
        default = "to be given" if one.metadata.get("required") else f"`{_written(one.default)}`"
        yield f"| `{one.name}` | {default} | {about[one.name]} |"
    yield ""


if __name__ == "__main__":
    print(page(), end="")
