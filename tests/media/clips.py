"""Small video files written for tests. The frame at second s of a clip is a plain picture whose grey is `grey(i)`."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (64, 48)
MILLISECONDS = Fraction(1, 1000)


def grey(index: int) -> int:
    """The brightness of frame `index`."""
    return 20 + 7 * index % 210


def write_clip(
    path: Path,
    seconds: Sequence[float],
    noise: bool = False,
    corner: bool = False,
    codec: str = "h264",
    start: float = 0,
) -> Path:
    """A file whose frame i is shown from `seconds[i]` on. Its index comes first, so that it can be opened when cut off.

    `noise` makes the file as large as real ones, `corner` turns the frames' top left corner white.
    """
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = *SIZE, "yuv420p", 10
        stream.time_base = stream.codec_context.time_base = MILLISECONDS
        for i, second in enumerate(seconds):
            shape = (SIZE[1], SIZE[0], 3)
            pixels = rng.integers(0, 255, shape) if noise else np.full(shape, grey(i))
            if corner:
                pixels[:12, :16] = 255
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = round((start + second) * 1000), MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def steady(seconds: float, rate: int = 10) -> list[float]:
    """Frame times at a constant rate."""
    return [i / rate for i in range(round(seconds * rate))]
