"""Reading video files: decord where it is installed and can read the file, PyAV otherwise.

Both give the same frames at the same times. PyAV reads every file's header and must be installed (`pip install
'vlmrl[video]'`): decord cannot tell a truncated file from a short one, knows no AV1, reports nonsense times for some
AVI files and scrambles videos that were filmed upright. A reader is opened for one call and closed with it: decord's
readers must not be shared between threads or survive a fork.
"""

import bisect
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

MILLISECONDS = 3
"""Decimals that frame times are rounded to: decord has them in single precision."""
SEEK_AHEAD = 5.0
"""Seconds: PyAV decodes through gaps between wanted frames that are shorter, and seeks over longer ones."""
LENGTH_SLACK = 1.0
LENGTH_SLACK_SHARE = 0.05
"""Two lengths of one video agree if they differ by no more than a second or a twentieth: containers count audio, edit
lists and the last frame differently."""


class VideoError(Exception):
    """A video that cannot be used, and what is wrong with it."""


@dataclass(frozen=True)
class Track:
    """An opened video."""

    seconds: Sequence[float]
    """When each frame is shown, from the first frame on; rising."""
    length: float
    """When the last frame ends."""
    frames: Callable[[Sequence[int]], list[Image.Image]]
    """Decodes the frames of rising indices."""


Backend = Callable[[Path], Track]


def falls_short(length: float, stated: float) -> bool:
    """Whether a video is shorter than stated by more than lengths usually disagree."""
    return stated - length > max(LENGTH_SLACK, LENGTH_SLACK_SHARE * stated)


def read_frames(
    path: Path, choose: Callable[[Track], Sequence[int]]
) -> tuple[list[Image.Image], Sequence[float], float]:
    """The chosen frames, their times and the video's length. Raises VideoError with every backend's reason.

    A file whose data end before its header says (a broken download) is refused.
    """
    _require_file(path)
    faults = []
    for name, backend in _backends():
        try:
            track = backend(path)
            promised = _promised_seconds(path)
            if promised is not None and falls_short(track.length, promised):
                raise VideoError(f"video {path} is truncated: it ends at {track.length:g} s of {promised:g} s")
            chosen = choose(track)
            return track.frames(chosen), [track.seconds[i] for i in chosen], track.length
        except VideoError:
            raise
        except Exception as error:  # noqa: BLE001  decoders raise whatever their libraries do; all reasons are shown
            faults.append(f"{name}: {_first_line(error)}")
    raise VideoError(f"video {path} cannot be decoded ({'; '.join(faults)})")


def stated_seconds(path: Path) -> float:
    """The length of a video by its header, or by its frames where the header has none. Raises VideoError."""
    _require_file(path)
    _require_pyav()
    try:
        stated = _promised_seconds(path)
    except Exception as error:
        raise VideoError(f"video {path} cannot be read (PyAV: {_first_line(error)})") from error
    return stated or read_frames(path, lambda track: [])[2]


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise VideoError(f"video {path} does not exist")
    if not path.stat().st_size:
        raise VideoError(f"video {path} is empty (0 bytes)")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _backends() -> list[tuple[str, Backend]]:
    _require_pyav()
    decord: list[tuple[str, Backend]] = [("decord", with_decord)] if importlib.util.find_spec("decord") else []
    return [*decord, ("PyAV", with_pyav)]


def _require_pyav() -> None:
    if not importlib.util.find_spec("av"):
        raise VideoError("reading videos needs PyAV (and uses decord): pip install 'vlmrl[video]'")


def _promised_seconds(path: Path) -> float | None:
    """What the header says about the length; None if it does not, or if it counts audio too."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if container.duration is not None and not container.streams.audio:
            return container.duration / av.time_base
    return None


def with_decord(path: Path) -> Track:
    """Raises decord's errors, and ValueError for a file whose frame times it does not know or that is stored turned."""
    import decord

    if _is_turned(path):
        raise ValueError("it scrambles frames that are stored turned")

    decord.logging.set_level(decord.logging.QUIET)
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    shown = reader.get_frame_timestamp(list(range(len(reader))))
    starts, last_end = shown[:, 0].tolist(), float(shown[-1, 1])
    return _track(starts, last_end - starts[-1], lambda chosen: [Image.fromarray(reader[i].asnumpy()) for i in chosen])


def _is_turned(path: Path) -> bool:
    """Whether the file asks for its frames to be turned, as those of telephones do."""
    import av

    with av.open(str(path)) as container:
        return any(frame.rotation for frame in itertools.islice(container.decode(video=0), 1))


def with_pyav(path: Path) -> Track:
    """Raises PyAV's errors, and ValueError for a file with damaged frame times."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = sorted(
            (packet.pts, packet.duration or 0, packet.is_keyframe)
            for packet in container.demux(stream)
            if packet.pts is not None and not packet.is_discard
        )
        if not packets or stream.time_base is None:
            raise ValueError("no frame has a time")
        tick = float(stream.time_base)
    ticks = [pts for pts, _, _ in packets]
    keys = [pts for pts, _, is_key in packets if is_key]
    last = packets[-1][1] * tick

    def frames(chosen: Sequence[int]) -> list[Image.Image]:
        wanted = [ticks[i] for i in chosen]
        found = dict(_decoded(path, wanted, keys, SEEK_AHEAD / tick))
        if len(found) < len(wanted):  # some containers seek beyond the wanted frame
            found = dict(_decoded(path, wanted, [], 0))
        if missing := [pts for pts in wanted if pts not in found]:
            raise ValueError(f"the frame at {(missing[0] - ticks[0]) * tick:.3f} s cannot be decoded")
        return [found[pts] for pts in wanted]

    return _track([pts * tick for pts in ticks], last, frames)


def _decoded(path: Path, wanted: Iterable[int], keys: Sequence[int], ahead: float) -> Iterator[tuple[int, Image.Image]]:
    """The frames with the wanted presentation times, rising; jumps to a keyframe that is `ahead` ticks or more away."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        decoder, position = container.decode(stream), -math.inf
        for pts in wanted:
            before = bisect.bisect_right(keys, pts) - 1
            if before > 0 and keys[before] - max(position, keys[0]) > ahead:
                container.seek(keys[before], stream=stream)
                decoder = container.decode(stream)
            for frame in decoder:
                position = frame.pts if frame.pts is not None else position
                if position == pts:
                    yield pts, _upright(frame)
                if position >= pts:
                    break


def _upright(frame: Any) -> Image.Image:
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _track(starts: Sequence[float], last: float, frames: Callable[[Sequence[int]], list[Image.Image]]) -> Track:
    """`last` is how long the last frame is shown; 0 if the file does not say."""
    seconds = [round(start - starts[0], MILLISECONDS) for start in starts]
    if not all(map(math.isfinite, seconds)) or any(b <= a for a, b in itertools.pairwise(seconds)):
        raise ValueError("the times of its frames do not rise")
    interval = seconds[-1] / (len(seconds) - 1) if len(seconds) > 1 else 0.0
    return Track(seconds, round(seconds[-1] + (last if last > 0 else interval), MILLISECONDS), frames)
