"""The files of video data as plain rows; nothing is interpreted here.

Beside JSON and parquet, rows come from text lines `id start end##sentence` (the container `lines`) and from one JSON
object of all videos (`videos`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.loading.fields import json_text, shown
from vlmrl.loading.row_files import RowFile, data_files, read_rows

LINE = re.compile(r"(\S+) ([0-9.]+) ([0-9.]+)##(.*\S)\s*")


def read_files(path: Path) -> list[RowFile]:
    """The rows of a file, or of all files of a folder. Raises UserError for a file that cannot be read."""
    texts = [path] if path.is_file() and path.suffix == ".txt" else _text_files(path)
    files = [_lines(file) for file in texts] if texts else [_json(file) for file in data_files(path)]
    for file in files:
        if not file.rows:
            raise UserError(f"{file.path} holds no rows: the data set is empty")
    return files


def _text_files(folder: Path) -> list[Path]:
    """Charades-STA's text files of a folder that has no other data files; several are its splits."""
    if not folder.is_dir() or any(folder.glob("*.json*")):
        return []
    found = sorted(folder.glob("charades_sta_*.txt"))
    if len(found) > 1:
        raise UserError(
            f"data {folder} holds several splits ({', '.join(f.name for f in found)}); name the file to read"
        )
    return found


def _lines(path: Path) -> RowFile:
    rows, places = [], []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        place = f"line {number}"
        found = LINE.fullmatch(line)
        if found is None:
            raise UserError(f"{path} {place}: expected `video start end##sentence`, found {shown(line)}")
        video, start, end, sentence = found.groups()
        times = [_number(time, f"{path} {place}") for time in (start, end)]
        rows.append({"video": video, "timestamp": times, "sentence": sentence})
        places.append(place)
    return RowFile(path, rows, "lines", places=places)


def _json(path: Path) -> RowFile:
    if path.suffix == ".json" and _text(path).lstrip().startswith("{"):
        return _captions(json_text(_text(path), str(path)), path)
    return read_rows(path)


def _captions(videos: Mapping[str, Any], path: Path) -> RowFile:
    """One row per sentence of {video: {duration, timestamps, sentences}}."""
    rows, places = [], []
    for video, about in videos.items():
        where = f"{path} video {video}"
        if not isinstance(about, dict) or set(about) != {"duration", "timestamps", "sentences"}:
            raise UserError(
                f"{where}: expected an object with duration, timestamps and sentences, found {shown(about)}"
            )
        times, sentences = about["timestamps"], about["sentences"]
        if not isinstance(times, list) or not isinstance(sentences, list) or len(times) != len(sentences):
            raise UserError(f"{where}: timestamps and sentences must be lists of one length")
        for i, (span, sentence) in enumerate(zip(times, sentences, strict=True)):
            rows.append({"video": video, "duration": about["duration"], "timestamp": span, "sentence": sentence})
            places.append(f"video {video}, sentence {i}")
    return RowFile(path, rows, "videos", places=places)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: {text!r} is not a time in seconds") from None
