"""Pictures and key frames that are kept beside logged answers, so that a page can show what the model saw."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vlmrl.media.pictures import Picture, fingerprint, open_picture
from vlmrl.media.videos import open_video
from vlmrl.types import Sample, Video, VideoFile

KEY_FRAMES = 8
"""Frames kept of a clip, evenly spread over those the model was shown, the first and the last among them."""
FRAME_SIDE = 224
"""Longest side of a kept frame in pixels."""
JPEG_QUALITY = 85


@dataclass(frozen=True)
class KeptVideo:
    """Key frames of one clip."""

    frames: tuple[str, ...]
    """Names in the folder, in time order."""
    seconds: tuple[float, ...]
    """When each is shown, from the clip's start."""
    shown: int
    """How many frames the model was shown."""


@dataclass(frozen=True)
class KeptMedia:
    """What a folder keeps of a row: a name per picture, key frames per video."""

    images: tuple[str, ...] = ()
    videos: tuple[KeptVideo, ...] = ()


class MediaFolder:
    """A folder of pictures named by the fingerprint of their pixels: NAME.png for pictures, NAME.jpg for key frames.

    Pictures are kept as they are, or scaled down to at most `side` pixels a side. Several processes may write at once.
    """

    def __init__(self, path: Path, side: int | None = None) -> None:
        self.path = path
        self._side = side
        self._pictures: dict[Path, str] = {}
        self._videos: dict[VideoFile, KeptVideo] = {}

    def keep(self, sample: Sample) -> KeptMedia:
        """Writes what is not there yet. Raises UserError naming the row if something cannot be opened."""
        self.path.mkdir(parents=True, exist_ok=True)
        pictures = [self._picture(source, f"row {sample.id}, image {i}") for i, source in enumerate(sample.images)]
        videos = [self._video(source, f"row {sample.id}, video {i}") for i, source in enumerate(sample.videos)]
        return KeptMedia(tuple(pictures), tuple(videos))

    def _picture(self, source: Picture, where: str) -> str:
        # Files are not opened again for the next evaluation; the identity of what is in memory may be reused.
        if isinstance(source, Path) and source in self._pictures:
            return self._pictures[source]
        picture = open_picture(source, where)
        name = fingerprint(picture)
        if not (file := self.path / f"{name}.png").exists():
            if self._side:
                picture.thumbnail((self._side, self._side))
            _save(picture, file, format="PNG")
        if isinstance(source, Path):
            self._pictures[source] = name
        return name

    def _video(self, source: Video | VideoFile, where: str) -> KeptVideo:
        if isinstance(source, VideoFile) and source in self._videos:
            return self._videos[source]
        video = open_video(source, where)
        chosen = key_frames(len(video.frames))
        names = tuple(self._frame(video.frames[i]) for i in chosen)
        kept = KeptVideo(names, tuple(video.seconds[i] for i in chosen), len(video.frames))
        if isinstance(source, VideoFile):
            self._videos[source] = kept
        return kept

    def _frame(self, frame: Image.Image) -> str:
        small = frame.convert("RGB")
        small.thumbnail((FRAME_SIDE, FRAME_SIDE), Image.Resampling.LANCZOS)
        name = fingerprint(small)
        if not (file := self.path / f"{name}.jpg").exists():
            _save(small, file, format="JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
        return name


def _save(picture: Image.Image, file: Path, **options: Any) -> None:
    """Written aside and renamed, so that nobody finds half a picture."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    picture.save(aside, **options)
    aside.replace(file)


def key_frames(shown: int) -> list[int]:
    """Indices of the frames to keep of so many."""
    count = min(shown, KEY_FRAMES)
    return [round(i * (shown - 1) / (count - 1)) for i in range(count)]
