"""Pictures and videos of rows: can they be decoded, are they on both sides of a split, do spans lie in their clips."""

import hashlib
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image

from vlmrl.answers.span import OVERHANG
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, Span
from vlmrl.media.decoding import falls_short
from vlmrl.media.pictures import media_key, open_picture
from vlmrl.media.videos import clip_seconds, open_video
from vlmrl.progress import tracked
from vlmrl.types import Sample, Spans, Video, VideoFile

Item = TypeVar("Item")


def spread(items: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` items, drawn from all of them, in order; the same ones every time."""
    chosen = random.Random(0).sample(range(len(items)), min(limit, len(items)))
    return [items[i] for i in sorted(chosen)]


def damaged_media(rows: Iterable[Sample], pictures: int | None = None, videos: int | None = None) -> list[str]:
    """Decodes the rows' pictures and videos, or at most so many of each, and says which cannot be used.

    A video file must also be as long as its row says, or the row's times belong to another version of it.
    """
    rows = list(rows)
    images = {
        media_key(image): (image, f"row {row.id}, image {i}") for row in rows for i, image in enumerate(row.images)
    }
    clips = {
        media_key(video): (video, clip, f"row {row.id}, video {i}")
        for row in rows
        for i, (video, clip) in enumerate(zip(row.videos, row.clips, strict=True))
    }

    def picture_fault(chosen: tuple[Path | bytes | Image.Image, str]) -> str | None:
        try:
            open_picture(*chosen)
        except UserError as error:
            return str(error)
        return None

    def video_fault(chosen: tuple[Video | VideoFile, Clip, str]) -> str | None:
        video, clip, where = chosen
        try:
            open_video(video, where)
            seconds = clip_seconds(video, where) if isinstance(video, VideoFile) else clip.duration
        except UserError as error:
            return str(error)
        if falls_short(seconds, clip.duration) or falls_short(clip.duration, seconds):
            return (
                f"{where}: the row says that the clip lasts {clip.duration:g} s, but it lasts {seconds:g} s: its times "
                "may belong to another version of the video; get that one or drop the row"
            )
        return None

    with ThreadPoolExecutor() as pool:
        faults: list[str | None] = []
        for what, fault, found, limit in (
            ("decoding pictures", picture_fault, list(images.values()), pictures),
            ("decoding videos", video_fault, list(clips.values()), videos),
        ):
            chosen = spread(found, len(found) if limit is None else limit)
            faults += tracked(pool.map(fault, chosen), what, len(chosen)) if chosen else []
    return [message for message in faults if message is not None]


def misplaced_spans(rows: Iterable[Sample]) -> tuple[list[str], list[str]]:
    """Problems with target spans that no answer can meet, and a note about those that end a little after their clip."""
    problems, late = [], 0
    for row in rows:
        spans = row.gold.items if isinstance(row.gold, Spans) else (row.gold,)
        for span in spans:
            if not isinstance(span, Span):
                continue
            inside = 0 <= span.start < span.clip.duration and span.end <= span.clip.duration + OVERHANG
            if not inside or span.length == 0:
                problems.append(
                    f"row {row.id}: the span {span.start:g}..{span.end:g} s is not a part of {span.clip}; correct it "
                    "or drop the row"
                )
            elif not span.in_clip:
                late += 1
    note = f"{late} spans end up to {OVERHANG:g} s after their clip; they are scored as published"
    return problems, [note] if late else []


def leaks(rows: Sequence[Sample], held_out: Sequence[Sample]) -> list[str]:
    """Held-out rows whose picture or video, byte for byte, is also one of training, whatever its name."""
    contents: dict[object, str] = {}

    def content(source: Path | bytes | Image.Image | Video | VideoFile) -> str:
        # all clips of a file have its content; each file is read once
        key = source.path if isinstance(source, VideoFile) else media_key(source)
        if key not in contents:
            contents[key] = _content(source)
        return contents[key]

    trained = {content(source): row.id for row in rows for source in row.media}
    return [
        f"row {row.id}: its {'video' if isinstance(source, Video | VideoFile) else 'picture'} is held out and is also "
        f"that of training row {trained[content(source)]}"
        for row in held_out
        for source in row.media
        if content(source) in trained
    ]


def _content(source: Path | bytes | Image.Image | Video | VideoFile) -> str:
    if isinstance(source, Image.Image):
        return hashlib.sha256(source.tobytes()).hexdigest()
    if isinstance(source, Video):
        return hashlib.sha256(b"".join(frame.tobytes() for frame in source.frames)).hexdigest()
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with (source.path if isinstance(source, VideoFile) else source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
