"""Videos as the model sees them: which frames are taken, how they are resized, and when each is shown.

Frames: `fps` per second of the clip, rounded down to an even number, at least 2, at most `max_frames` and at most as
many as the clip has. They are spread evenly in time from the clip's first frame to its last; of each wanted time the
nearest frame is taken, with its own time, so that a variable frame rate is no problem. Where a gap leaves one frame the
nearest to two times it is shown once. (qwen-vl-utils spreads frame numbers instead: the same at a constant rate.)

Pixels: frames are shrunk together, never enlarged, until all of them hold at most `max_pixels`; the processor's own
limits per frame apply after that.
"""

import bisect
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from PIL import Image

from vlmrl.errors import UserError
from vlmrl.media.decoding import Track, VideoError, falls_short, read_frames, stated_seconds
from vlmrl.types import Sample, Video, VideoFile

KEPT_CLIPS = 8
"""Decoded clips that are kept for the next rows about them; one has at most 3 bytes for each of its `max_pixels`."""
ROUNDING = 1e-6
"""Room for the rounding of a product of a length and a rate."""


def open_video(source: Video | VideoFile, where: str) -> Video:
    """The frames that the model is shown, with their times from the clip's start.

    Raises UserError naming `where` (row and field) for a file that is missing, empty, damaged, truncated, shorter than
    the clip, or that shows fewer than two frames in it, and if no decoder is installed.
    """
    return source if isinstance(source, Video) else _opened(source, where)[0]


def clip_seconds(source: VideoFile, where: str) -> float:
    """How long a clip is by the frames of its file. Raises UserError as `open_video` does."""
    return _opened(source, where)[1]


def video_seconds(path: Path, where: str) -> float:
    """A video's length by its header. Raises UserError naming `where` (row and field)."""
    try:
        return stated_seconds(path)
    except VideoError as error:
        raise UserError(f"{where}: {error}; replace it or drop the row") from error


def shuffled_in_time(sample: Sample, seed: int) -> Sample:
    """The row with the frames of each video in another order while their times stay: Video-R1's contrast view.

    What is answered as well on this view was not answered from the order of events (T-GRPO, arXiv 2503.21776). The same
    seed gives the same order.
    """
    videos = [
        replace(video, shuffle=seed + i)
        if isinstance(video, VideoFile)
        else replace(video, frames=_reordered(video.frames, seed + i))
        for i, video in enumerate(sample.videos)
    ]
    return replace(sample, videos=tuple(videos))


def chosen_frames(seconds: Sequence[float], length: float, fps: float, max_frames: int) -> list[int]:
    """Indices of the frames to show of a clip of `length` seconds whose frames come at `seconds`, rising."""
    even = min(math.floor(length * fps + ROUNDING), max_frames, len(seconds)) // 2 * 2
    count = max(even, 2)
    step = (seconds[-1] - seconds[0]) / (count - 1)
    return list(dict.fromkeys(_nearest(seconds, seconds[0] + i * step) for i in range(count)))


def _opened(source: VideoFile, where: str) -> tuple[Video, float]:
    try:
        return _decode(source)
    except VideoError as error:
        raise UserError(f"{where}: {error}; replace it or drop the row") from error


def _end(source: VideoFile, length: float) -> float:
    return length if source.end is None else source.end


@lru_cache(maxsize=KEPT_CLIPS)
def _decode(source: VideoFile) -> tuple[Video, float]:
    """The frames of a clip and its length in seconds."""

    def choose(track: Track) -> list[int]:
        end = _end(source, track.length)
        if falls_short(track.length, end):
            raise VideoError(f"the clip ends at {end:g} s but video {source.path} at {track.length:g} s")
        inside = [i for i, second in enumerate(track.seconds) if source.start <= second < end]
        if len(inside) < 2:
            raise VideoError(
                f"video {source.path} shows {len(inside)} frames from {source.start:g} s to {end:g} s; two or more are "
                "needed"
            )
        length = min(end, track.length) - source.start
        return [
            inside[i] for i in chosen_frames([track.seconds[i] for i in inside], length, source.fps, source.max_frames)
        ]

    pictures, seconds, whole = read_frames(source.path, choose)
    frames = _shrunk(pictures, source.max_pixels)
    if source.shuffle is not None:
        frames = _reordered(frames, source.shuffle)
    clip = Video(frames, tuple(second - source.start for second in seconds))
    return clip, min(_end(source, whole), whole) - source.start


def _nearest(seconds: Sequence[float], second: float) -> int:
    after = min(bisect.bisect_left(seconds, second), len(seconds) - 1)
    before = max(after - 1, 0)
    return before if second - seconds[before] <= seconds[after] - second else after


def _shrunk(frames: Sequence[Image.Image], max_pixels: int) -> tuple[Image.Image, ...]:
    width, height = frames[0].size
    scale = math.sqrt(max_pixels / (len(frames) * width * height))
    if scale < 1:
        width, height = max(1, math.floor(width * scale)), max(1, math.floor(height * scale))
    return tuple(
        frame if frame.size == (width, height) else frame.resize((width, height), Image.Resampling.BICUBIC)
        for frame in frames
    )


def _reordered(frames: Sequence[Image.Image], seed: int) -> tuple[Image.Image, ...]:
    rng, order = random.Random(seed), list(range(len(frames)))
    while order == sorted(order):
        rng.shuffle(order)
    return tuple(frames[i] for i in order)
