"""What a score depends on besides the model: checksums of rows, prompts, scorer code and weights."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.models.load import base_and_adapter
from vlmrl.records import answer_record
from vlmrl.task import Task
from vlmrl.types import Sample

DIGITS = 16
"""Hexadecimal digits of a checksum that are kept."""
MODEL_FILES = ("*.safetensors", "*.bin", "config.json", "generation_config.json", "adapter_config.json")


def rows_checksum(rows: Iterable[Sample]) -> str:
    """Of ids, questions, gold answers, picture sizes, modes and tags, in order; pictures themselves are not read.

    Raises UserError for an id that comes twice: answers could not be told apart.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise UserError(f"row {row.id}: its id comes twice in this data; give every row an id of its own")
        seen.add(row.id)
        sizes = [[record.original.width, record.original.height] for record in row.records]
        clips = [clip.duration for clip in row.clips]
        asked = [row.asked_image, row.mode.value, dict(row.tags)]
        digest.update(json.dumps([row.id, row.question, answer_record(row.gold), sizes, clips, *asked]).encode())
    return digest.hexdigest()[:DIGITS]


def text_checksum(texts: Iterable[str]) -> str:
    """Of several texts in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(len(text.encode()).to_bytes(8, "big") + text.encode())
    return digest.hexdigest()[:DIGITS]


def file_checksum(files: Sequence[Path]) -> str:
    """Of the contents of files, in the given order."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:DIGITS]


def model_fingerprint(folder: str) -> str | None:
    """Of the weights and settings in a checkpoint folder, and in its base model's for LoRA adapters; None for a hub id,
    whose revision is the hub's matter."""
    base, adapter = base_and_adapter(folder)
    files = [file for path in (Path(base), adapter) if path is not None for file in _model_files(path)]
    return file_checksum(files) if files else None


def _model_files(folder: Path) -> list[Path]:
    return sorted({file for pattern in MODEL_FILES for file in folder.glob(pattern)}) if folder.is_dir() else []


def scorer_record(task: Task, name: str, official: str) -> dict[str, Any]:
    """The scorer's name, what it follows, this project's version and the checksum of the task folder's code."""
    source = inspect.getsourcefile(type(task))
    folder = Path(source).parent if source else None
    code = file_checksum(sorted(folder.glob("*.py"))) if folder and (folder / "task.py").is_file() else None
    return {"name": name, "follows": official or None, "version": version("vlmrl"), "code": code}
