"""The ``--json FILE`` flag: what a command found out, for programs."""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmrl.whole_files import write_whole


def add_json_flag(parser: argparse.ArgumentParser) -> None:
    """Adds --json; a place that cannot be written to is refused before the command starts its work."""
    parser.add_argument("--json", type=_writable, metavar="FILE", help="also write the result as JSON")


def _writable(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise argparse.ArgumentTypeError(f"{path.parent} is not a folder that can be written to")
    return path


def write_json(path: Path | None, result: Mapping[str, Any]) -> None:
    """Writes `result` to `path`, whole or not at all; does nothing when there is no path."""
    if path is None:
        return
    write_whole(path, json.dumps(result, indent=2) + "\n")
