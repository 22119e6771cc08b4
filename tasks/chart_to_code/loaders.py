"""Folders of scripts and data files of chart to code -> samples; every row's own script is run once."""

import ast
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import track

from vlmrl.answers.code import trimmed, unusable
from vlmrl.errors import UserError
from vlmrl.geometry import ImageRecord, Size
from vlmrl.loading.fields import prompt_mode, require_keys, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile, data_files, read_rows
from vlmrl.media.pictures import picture_size
from vlmrl.sandbox import Figure
from vlmrl.types import Code, PromptMode, Row, Sample

from .drawing import Studio, encoded, problem_of

logger = logging.getLogger(__name__)

FORMATS: Mapping[str, str] = {
    "scripts": "a folder of NAME.py, each with its picture NAME.png beside it or none (ChartMimic's folders)",
    "plot2code": "Plot2Code's metadata.jsonl with its pictures beside it: file_name code [instruction url]",
    "simple": "your own .json or .jsonl: code [image instruction id mode tags]",
}
PLOT2CODE_KEYS = (frozenset({"file_name", "code"}), frozenset({"instruction", "url"}))
SIMPLE_KEYS = (frozenset({"code"}), frozenset({"image", "instruction", "id", "mode", "tags"}))
"""Required and optional keys."""
PICTURE_FOLDERS = ("images",)
QUESTION = "Write Python code with matplotlib that draws this chart."
CHUNK = 64
"""Scripts that are run at a time while loading; bounds the pictures in memory."""
SHOWN = 10
"""Failing scripts that a message lists."""


@dataclass(frozen=True)
class Pair:
    """A script and its picture before the script has run."""

    where: str
    sample: Sample
    """Without records where there is no picture yet."""


def load_rows(
    path: Path, studio: Studio, mode: PromptMode = PromptMode.DIRECT, keep_failing: bool = False
) -> list[Sample]:
    """The rows at `path`, in one of `FORMATS`; `mode` is for rows that state none.

    Every script is run in the sandbox: its figure's size completes the question, and the figure is the picture
    where there is none. With `keep_failing`, rows that bring a picture stay if their script does not draw exactly one
    chart, so that a benchmark keeps its number of rows where a library is missing; nothing can be scored on them.
    Raises UserError naming all rows (up to `SHOWN`) whose script does not draw exactly one chart otherwise, or if none
    does, and the file, row and field of anything else that is wrong.
    """
    scripts = sorted(path.glob("*.py")) if path.is_dir() else []
    pairs = [_from_script(script, mode) for script in scripts] or list(_from_files(path, mode))
    require_unique_ids(path, (pair.sample.id for pair in pairs))
    return _drawn(pairs, studio, path, keep_failing)


def _from_script(script: Path, mode: PromptMode) -> Pair:
    try:
        source = script.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{script} cannot be read as UTF-8 text: {error}") from error
    picture = script.with_suffix(".png")
    images = (picture,) if picture.is_file() else ()
    return Pair(str(script), _sample(script.stem, source, images, QUESTION, mode, str(script), {}))


def _from_files(path: Path, mode: PromptMode) -> Iterator[Pair]:
    finder = PictureFinder(PICTURE_FOLDERS)
    for data_file in data_files(path):
        file = read_rows(data_file)
        for index, row in enumerate(file.rows):
            yield _from_row(file, index, row, mode, finder)


def _from_row(file: RowFile, index: int, row: Row, mode: PromptMode, finder: PictureFinder) -> Pair:
    where = file.where(index)
    key, name = ("file_name", "plot2code") if "file_name" in row else ("image", "simple")
    required, optional = PLOT2CODE_KEYS if name == "plot2code" else SIMPLE_KEYS
    require_keys(row, required, optional, name, where)
    code = text_field(row, "code", where)
    images = (finder.find(file.path, text_field(row, key, where), f"{where}, field {key}"),) if key in row else ()
    question = text_field(row, "instruction", where) if "instruction" in row else QUESTION
    tags = tags_field(row, where)
    id_ = text_field(row, "id", where) if "id" in row else f"{file.path.stem}-{index}"
    if "mode" in row:
        mode = prompt_mode(row["mode"], f"{where}, field mode")
    return Pair(where, _sample(id_, code, images, question, mode, f"{where}, field code", tags))


def _sample(
    id_: str,
    source: str,
    images: tuple[Path, ...],
    question: str,
    mode: PromptMode,
    where: str,
    tags: Mapping[str, str],
) -> Sample:
    source = trimmed(source)
    if problem := unusable(source):
        raise UserError(f"{where}: {problem}; correct it or drop the row")
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{where}: the code is not Python: {error}; correct it or drop the row") from error
    records = tuple(ImageRecord(0, picture_size(picture, where)) for picture in images)
    return Sample(id_, images, records, question, Code(source), mode, tags)


def _drawn(pairs: Sequence[Pair], studio: Studio, path: Path, keep_failing: bool) -> list[Sample]:
    """The rows with what only their figures tell."""
    samples: list[Sample] = []
    failed: list[str] = []
    starts = range(0, len(pairs), CHUNK)
    for start in track(starts, "running the rows' scripts", transient=True, disable=len(starts) < 2):
        chunk = pairs[start : start + CHUNK]
        sources = [pair.sample.gold.source for pair in chunk if isinstance(pair.sample.gold, Code)]
        for pair, outcome in zip(chunk, studio.draw(sources), strict=True):
            if (problem := problem_of(outcome)) or outcome.figure is None:
                failed.append(f"{pair.where}: {problem}")
                samples.append(pair.sample)
            else:
                samples.append(_completed(pair.sample, outcome.figure))
    if failed:
        problem = f"data {path}: {len(failed)} of {len(pairs)} scripts do not draw exactly one chart in the sandbox"
        shown_ = [*failed[:SHOWN], *([f"... and {len(failed) - SHOWN} more"] if len(failed) > SHOWN else [])]
        if not keep_failing or len(failed) == len(pairs) or not all(sample.images for sample in samples):
            raise UserError("\n  ".join([f"{problem}; correct or remove them:", *shown_]))
        logger.warning("\n  ".join([f"{problem}; these rows cannot be scored and count 0:", *shown_]))
    return samples


def _completed(sample: Sample, figure: Figure) -> Sample:
    width, height = figure.inches
    sample = replace(sample, question=f"{sample.question} The figure is {width:g} x {height:g} inches.")
    if sample.images:
        return sample
    return replace(sample, images=(encoded(figure),), records=(ImageRecord(0, Size(*figure.size)),))
