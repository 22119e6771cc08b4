"""Data files of video tasks -> samples, every field of every row checked."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from vlmrl.answers.choice import listed_options
from vlmrl.answers.span import MOST_SPANS, OVERHANG
from vlmrl.answers.text import as_number
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, ImageRecord, Span
from vlmrl.loading.fields import prompt_mode, shown, tags_field, text_field
from vlmrl.loading.ids import require_unique_ids
from vlmrl.loading.pictures import PictureFinder
from vlmrl.loading.row_files import RowFile
from vlmrl.loading.schemas import schema_of
from vlmrl.loading.videos import VideoFinder
from vlmrl.rewards.texts import words
from vlmrl.types import Answer, Choice, PromptMode, Sample, Spans, Text, VideoFile

from .files import read_files
from .schemas import SCHEMAS, SIMPLE, Entry, Seconds, VideoSchema

logger = logging.getLogger(__name__)

FOLDERS = ("videos", "video", "clips", "Charades_v1_480", "Charades_v1")
"""Where videos lie beside a data file, or beside the folder that it is in."""
PICTURE_FOLDERS = ("images",)


class Misfits(Enum):
    """What happens to a row whose span has no length, starts after its clip or ends long after it."""

    REFUSED = "refused"
    """Loading stops at the first one."""
    LEFT_OUT = "left out"
    """Such rows are counted and left out."""
    KEPT = "kept"
    """They stay and score 0 whatever is answered, as official scores count them."""


class UnusableSpan(UserError):
    """A row's span that no answer can meet."""


@dataclass(frozen=True)
class Reading:
    """How rows become samples."""

    clip: VideoFile = field(default_factory=lambda: VideoFile(Path()))
    """Its limits are those of every row's clip."""
    mode: PromptMode = PromptMode.DIRECT
    """For rows that state none."""
    misfits: Misfits = Misfits.REFUSED


PLAIN = Reading()


def load_rows(path: Path, reading: Reading = PLAIN, schemas: Sequence[VideoSchema] = SCHEMAS) -> list[Sample]:
    """The rows of a file, or of all files of a folder, in one of `schemas`.

    Ids are the file's stem and the row's index counted from 0, unless a row brings its own. Raises UserError naming
    file, row and field for anything that cannot be trained on or scored.
    """
    files = read_files(path)
    loader = _Loader(reading)
    samples: list[Sample] = []
    left_out: list[str] = []
    for file in files:
        schema = schema_of(file, SCHEMAS, schemas)
        for index in range(len(file.rows)):
            try:
                samples.append(loader.sample(file, index, schema))
            except UnusableSpan as error:
                if reading.misfits is not Misfits.LEFT_OUT:
                    raise
                left_out.append(str(error))
    if left_out:
        logger.warning("%d rows with unusable spans are left out; the first: %s", len(left_out), left_out[0])
    require_unique_ids(path, (sample.id for sample in samples))
    return samples


class _Loader:
    """Makes samples of one data set's rows."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.videos = VideoFinder(FOLDERS)
        self.pictures = PictureFinder(PICTURE_FOLDERS)

    def sample(self, file: RowFile, index: int, schema: VideoSchema) -> Sample:
        row, where = file.rows[index], file.where(index)
        entry = schema.entry(row, where)
        own = schema is SIMPLE
        id_ = text_field(row, "id", where) if own and "id" in row else entry.id or f"{file.path.stem}-{index}"
        mode = prompt_mode(row["mode"], f"{where}, field mode") if own and "mode" in row else self.reading.mode
        tags = {"kind": entry.kind, **entry.tags, **(tags_field(row, where) if own else {})}
        question = "\n".join([entry.question, listed_options(entry.options)]) if entry.options else entry.question
        extra = {"kind": entry.kind, "options": entry.options}
        if entry.is_picture:
            picture = self.pictures.find(file.path, entry.media, where)
            record = ImageRecord(0, self.pictures.size(picture, where))
            return Sample(id_, (picture,), (record,), question, _gold(entry, None, where), mode, tags, extra=extra)
        path = self.videos.find(file.path, entry.media, where)
        start, end = entry.window
        seconds = entry.seconds
        if seconds is None:
            seconds = (end or self.videos.seconds(path, where)) - start
        if seconds <= 0:
            raise UserError(f"{where}: the clip lasts {seconds:g} s; correct its ends or drop the row")
        clip = Clip(0, seconds)
        if self.reading.misfits is not Misfits.KEPT:
            for span in entry.spans:
                _require_usable(span, clip, where)
        limits = self.reading.clip
        video = VideoFile(path, start, end, limits.fps, limits.max_frames, limits.max_pixels)
        gold = _gold(entry, clip, where)
        return Sample(id_, (), (), question, gold, mode, tags, (video,), (clip,), extra=extra)


def _require_usable(span: Seconds, clip: Clip, where: str) -> None:
    start, end = span
    problem = None
    if end <= start:
        problem = "has no length"
    elif start < 0 or start >= clip.duration:
        problem = f"does not start in its clip of {clip.duration:g} s"
    elif end > clip.duration + OVERHANG:
        problem = f"ends more than {OVERHANG:g} s after its clip of {clip.duration:g} s"
    if problem:
        raise UnusableSpan(
            f"{where}: the span {start:g}..{end:g} s {problem}; correct it, drop the row, or leave such rows out with "
            "task.options.skip_unusable=true"
        )


def _gold(entry: Entry, clip: Clip | None, where: str) -> Answer:
    if clip is not None and entry.spans:
        if len(entry.spans) > MOST_SPANS:
            raise UserError(
                f"{where}: {len(entry.spans)} spans, but an answer names {MOST_SPANS} at most; drop the row"
            )
        if reverse := [(start, end) for start, end in entry.spans if start > end]:
            raise UnusableSpan(f"{where}: the span {reverse[0][0]:g}..{reverse[0][1]:g} s ends before it starts")
        spans = tuple(Span(start, end, clip) for start, end in entry.spans)
        if len(set(spans)) < len(spans):
            raise UserError(f"{where}: the same span is given twice; drop one")
        return Spans(spans) if entry.kind == "spans" else spans[0]
    if entry.kind == "choice":
        letters = [chr(ord("A") + i) for i in range(len(entry.options))]
        if len(letters) < 2 or entry.answer not in letters:
            raise UserError(
                f"{where}: the answer {shown(entry.answer)} must be the letter of one of its {len(letters)} options "
                "(two or more)"
            )
        return Choice(entry.answer)
    if entry.kind in ("number", "regression") and as_number(entry.answer) is None:
        raise UserError(f"{where}: the answer {shown(entry.answer)} must be one number like 3 or -2.5")
    if not words(entry.answer):
        raise UserError(f"{where}: the answer {shown(entry.answer)} has no words to compare with; drop the row")
    return Text(entry.answer)
