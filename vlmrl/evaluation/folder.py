"""The folder of one evaluation: its answers are kept as they come, so that a killed one continues.

| file | content |
|---|---|
| evaluation.json | what is evaluated: rows, model, pixels, decoding, versions; another evaluation is refused |
| chunks/NNNNNN.jsonl | answers of a chunk of rows, while the evaluation runs |
| answers.jsonl | every row: prompt, completion, typed answer, metrics; a group with one rollout per line |
| images/FINGERPRINT.png | the rows' pictures, scaled down to at most 960 pixels a side; key frames as .jpg |
| card.json | the score card |
| blind/, shuffled/ | the same of an audit's altered rows |
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.media.kept import MediaFolder
from vlmrl.whole_files import write_whole

PICTURE_SIDE = 960
"""Longest side of a kept picture in pixels: what a page shows of it."""

Line = dict[str, Any]


class EvaluationFolder:
    """Writes and reads the files of one evaluation. Several processes may write chunks of their own at one time."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Makes the folder, or takes up the evaluation in it. Raises UserError if that is another one."""
        self.path = path
        self.chunks = path / "chunks"
        stated = path / "evaluation.json"
        if stated.is_file():
            _require_same(json.loads(stated.read_text(encoding="utf-8")), json.loads(json.dumps(identity)), path)
        elif path.exists() and any(path.iterdir()):
            raise UserError(f"{path} holds something that is no evaluation; choose another folder with --save DIR")
        for folder in (path, self.chunks):
            folder.mkdir(parents=True, exist_ok=True)
        if not stated.is_file():
            write_whole(stated, json.dumps(identity, indent=2) + "\n")
        self.media = MediaFolder(path / "images", PICTURE_SIDE)

    def has_chunk(self, number: int) -> bool:
        return self._chunk(number).is_file()

    def write_chunk(self, number: int, lines: Sequence[Line]) -> None:
        """Keeps a chunk's answers, whole or not at all."""
        write_whole(self._chunk(number), "".join(json.dumps(line) + "\n" for line in lines))

    def read_chunk(self, number: int) -> list[Line]:
        return [json.loads(line) for line in self._chunk(number).read_text(encoding="utf-8").splitlines()]

    def finish(self, lines: Sequence[Line], card: Mapping[str, Any]) -> None:
        """Writes all answers in the order of their rows, and the card."""
        write_whole(self.path / "answers.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        write_whole(self.path / "card.json", json.dumps(card, indent=2) + "\n")

    def _chunk(self, number: int) -> Path:
        return self.chunks / f"{number:06d}.jsonl"


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    if before != now:
        names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        details = "; ".join(f"{name} was {before.get(name)} and is {now.get(name)}" for name in names)
        raise UserError(f"{path} holds another evaluation ({details}); choose another folder with --save DIR")
