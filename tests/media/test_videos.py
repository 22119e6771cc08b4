"""Which frames of a file are shown and when; both decoders; files that cannot be used."""

import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.media.clips import SIZE, grey, steady, write_clip
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, Span
from vlmrl.media import decoding
from vlmrl.media.pictures import media_key, split_key
from vlmrl.media.videos import chosen_frames, clip_seconds, open_video, shuffled_in_time, video_seconds
from vlmrl.types import Sample, Video, VideoFile

VARIABLE = [0, 0.1, 0.2, 0.3, 1.3, 2.3, 3.3, 3.4, 3.5, 5.0]
WHERE = "row r7, video 0"
BACKENDS = {"decord": decoding.with_decord, "av": decoding.with_pyav}


def shades(frames: list[Image.Image] | tuple[Image.Image, ...]) -> list[float]:
    return [float(np.asarray(frame).mean()) for frame in frames]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Hides a module, as if it were not installed."""

    def hide(hidden: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == hidden else find(name))
        monkeypatch.setitem(sys.modules, hidden, None)

    return hide


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("seconds", [steady(3), VARIABLE], ids=["constant rate", "variable rate"])
def test_both_decoders_give_the_same_frames_at_the_same_times(
    tmp_path: Path, suffix: str, seconds: list[float]
) -> None:
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "h264")
    path = write_clip(tmp_path / f"clip{suffix}", seconds, codec=codec)
    chosen = [0, 4, 7, len(seconds) - 1]
    tracks = [backend(path) for backend in BACKENDS.values()]
    for track in tracks:
        assert track.seconds == pytest.approx(seconds, abs=1e-3)
        assert shades(track.frames(chosen)) == pytest.approx([grey(i) for i in chosen], abs=4)
    ours, theirs = (track.frames(chosen) for track in tracks)
    assert [a.tobytes() for a in ours] == [b.tobytes() for b in theirs]


def test_pyav_alone_is_enough(tmp_path: Path, without: Callable[[str], None]) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    expected = open_video(VideoFile(path), WHERE)
    without("decord")
    alone = open_video(VideoFile(path, max_pixels=10**8), WHERE)  # another clip, so that none is remembered
    assert alone.seconds == expected.seconds
    assert [a.tobytes() for a in alone.frames] == [b.tobytes() for b in expected.frames]


def test_what_decord_cannot_read_is_left_to_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))

    def failing(path: Path) -> decoding.Track:
        raise RuntimeError("no decoder for AV1")

    monkeypatch.setattr(decoding, "with_decord", failing)
    assert len(open_video(VideoFile(path), WHERE).frames) == 8
    monkeypatch.setattr(decoding, "with_pyav", failing)
    with pytest.raises(UserError, match="decord: no decoder for AV1; PyAV: no decoder for AV1"):
        open_video(VideoFile(path, end=3.0), WHERE)


def test_without_pyav_the_message_says_what_to_install(tmp_path: Path, without: Callable[[str], None]) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(2))
    without("av")
    for read in (lambda: open_video(VideoFile(path), WHERE), lambda: video_seconds(path, WHERE)):
        with pytest.raises(UserError, match=r"row r7, video 0.*pip install 'vlmrl\[video\]'"):
            read()


def test_long_gaps_are_sought_over(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", steady(60, rate=4))
    track = decoding.with_pyav(path)
    chosen = [0, 3, 100, 101, 239]
    assert shades(track.frames(chosen)) == pytest.approx([grey(i) for i in chosen], abs=4)


def test_times_count_from_the_first_frame(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mkv", steady(2), start=7.0)
    for backend in BACKENDS.values():
        assert backend(path).seconds == pytest.approx(steady(2), abs=1e-3)


def turned(path: Path, matrix: list[int]) -> Path:
    """The file with another display matrix in its track header."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 36] = b"".join(number.to_bytes(4, "big", signed=True) for number in matrix)
    path.write_bytes(content)
    return path


def test_a_video_that_is_stored_turned_is_shown_upright(tmp_path: Path) -> None:
    width, height = SIZE
    path = write_clip(tmp_path / "phone.mp4", steady(2), corner=True)
    assert open_video(VideoFile(path), WHERE).frames[0].getpixel((2, 2))[0] > 200
    quarter_turn = [0, 1 << 16, 0, -1 << 16, 0, 0, height << 16, 0, 1 << 30]  # clockwise
    frame = open_video(VideoFile(turned(path, quarter_turn), end=2.0), WHERE).frames[0]
    assert frame.size == (height, width)
    assert frame.getpixel((height - 3, 2))[0] > 200  # the top left corner is the top right one
    assert frame.getpixel((2, 2))[0] < 100


def test_frames_are_spread_over_the_clip_with_their_own_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    video = open_video(VideoFile(path), WHERE)
    assert len(video.frames) == 8  # 4 s at 2 frames per second
    assert (video.seconds[0], video.seconds[-1]) == (0.0, 3.9)
    assert shades(video.frames) == pytest.approx([grey(round(10 * s)) for s in video.seconds], abs=4)


def test_a_part_of_a_file_counts_from_its_own_start(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(6))
    part = VideoFile(path, start=2.0, end=4.0)
    video = open_video(part, WHERE)
    assert video.seconds == pytest.approx([0.0, 0.6, 1.3, 1.9], abs=1e-6)
    assert shades(video.frames) == pytest.approx([grey(round(10 * (2 + s))) for s in video.seconds], abs=4)
    assert clip_seconds(part, WHERE) == pytest.approx(2.0)
    assert clip_seconds(VideoFile(path), WHERE) == pytest.approx(6.0, abs=0.01)


def test_a_variable_rate_keeps_real_times(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "vfr.mkv", VARIABLE)
    video = open_video(VideoFile(path), WHERE)
    assert set(video.seconds) <= set(VARIABLE)
    assert {0.0, 1.3, 2.3, 5.0} <= set(video.seconds)
    assert shades(video.frames) == pytest.approx([grey(VARIABLE.index(s)) for s in video.seconds], abs=4)


def test_all_frames_together_stay_within_the_pixel_budget(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    budget = 8 * 32 * 24
    frames = open_video(VideoFile(path, max_pixels=budget), WHERE).frames
    assert {frame.size for frame in frames} == {(32, 24)}
    assert {frame.size for frame in open_video(VideoFile(path), WHERE).frames} == {SIZE}  # never enlarged


times = st.lists(st.floats(0.01, 3), min_size=2, max_size=200).map(lambda gaps: np.cumsum(gaps).tolist())


@given(times, st.floats(0.1, 30), st.integers(2, 64))
def test_the_frame_rule(seconds: list[float], fps: float, max_frames: int) -> None:
    length = seconds[-1] + 0.1
    chosen = chosen_frames(seconds, length, fps, max_frames)
    assert 2 <= len(chosen) <= min(max_frames, len(seconds), max(2, length * fps + 1e-3))
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, len(seconds) - 1)


@given(st.integers(2, 600), st.floats(0.2, 8), st.integers(2, 64))
def test_a_constant_rate_gives_an_even_number(frames: int, fps: float, max_frames: int) -> None:
    chosen = chosen_frames([i / 10 for i in range(frames)], frames / 10, fps, max_frames)
    assert len(chosen) % 2 == 0


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def spoil(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(1).integers(0, 255, 3000, dtype=np.uint8).tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("suffix", "damage", "reason"),
    [
        (".mp4", lambda path: cut(path, 0.6), "truncated|cannot be decoded"),
        (".mkv", lambda path: cut(path, 0.6), "truncated: it ends at .* of 10 s"),
        (".mp4", lambda path: cut(path, 0.001), "cannot be decoded"),
        (".mp4", spoil, "cannot be decoded"),
        (".mp4", lambda path: path.write_bytes(b""), r"empty \(0 bytes\)"),
        (".mp4", lambda path: path.write_text("not a video"), "cannot be decoded"),
        (".mp4", Path.unlink, "does not exist"),
    ],
    ids=["truncated mp4", "truncated mkv", "header only", "corrupt", "empty", "text", "missing"],
)
def test_damaged_files_are_named(tmp_path: Path, suffix: str, damage: Callable[[Path], None], reason: str) -> None:
    path = write_clip(tmp_path / f"bad{suffix}", steady(10), noise=True)
    damage(path)
    with pytest.raises(UserError, match=f"(?s)row r7, video 0: video .*bad{suffix}.*({reason})"):
        open_video(VideoFile(path), WHERE)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ({"start": 9.0}, "shows 0 frames"),
        ({"start": 3.95}, "shows 0 frames"),
        ({"end": 0.05}, "shows 1 frames"),
        ({"start": 1.0, "end": 9.0}, "ends at 9 s but video .* at 4"),
    ],
)
def test_clips_that_their_file_does_not_hold(tmp_path: Path, clip: dict[str, float], reason: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    with pytest.raises(UserError, match=f"row r7, video 0.*{reason}"):
        open_video(VideoFile(path, **clip), WHERE)


def test_an_end_shortly_after_the_file_is_the_end_of_the_file(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    assert open_video(VideoFile(path, end=4.6), WHERE).seconds[-1] == 3.9


@pytest.mark.parametrize(
    "limits", [{"start": -1.0}, {"start": 2.0, "end": 2.0}, {"fps": 0.0}, {"max_frames": 1}, {"max_pixels": 0}]
)
def test_impossible_clips(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="clip"):
        VideoFile(Path("a.mp4"), **limits)  # type: ignore[arg-type]


def test_a_clip_is_decoded_once_for_the_rows_that_share_it(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", steady(4))
    first = open_video(VideoFile(path), WHERE)
    assert open_video(VideoFile(path), "row other, video 0") is first


def test_threads_decode_side_by_side(tmp_path: Path) -> None:
    paths = [write_clip(tmp_path / f"{i}.mp4", steady(3)) for i in range(4)]
    lengths: list[int] = []
    threads = [
        threading.Thread(target=lambda p=p: lengths.append(len(open_video(VideoFile(p), WHERE).frames))) for p in paths
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert lengths == [6] * 4


def test_keys_tell_clips_apart_and_keep_a_file_on_one_side(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    one, same, part = VideoFile(path), VideoFile(path), VideoFile(path, end=3.0)
    assert media_key(one) == media_key(same) != media_key(part)
    assert split_key(one) == split_key(part) == path


def row(video: Video | VideoFile) -> Sample:
    clip = Clip(0, 4.0)
    return Sample("r7", (), (), "when?", Span(1, 2, clip), videos=(video,), clips=(clip,))


def test_the_contrast_view_moves_the_frames_and_keeps_the_times(tmp_path: Path) -> None:
    file = VideoFile(write_clip(tmp_path / "clip.mp4", steady(4)))
    decoded = open_video(file, WHERE)
    views = [open_video(shuffled_in_time(row(source), seed=5).videos[0], WHERE) for source in (file, decoded, decoded)]
    for view in views:
        assert view.seconds == decoded.seconds
        assert shades(view.frames) == shades(views[0].frames) != shades(decoded.frames)
        assert sorted(shades(view.frames)) == sorted(shades(decoded.frames))
    other = open_video(shuffled_in_time(row(file), seed=6).videos[0], WHERE)
    assert shades(other.frames) != shades(views[0].frames)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_the_contrast_view_never_keeps_the_order(seed: int, count: int) -> None:
    frames = tuple(Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(count))
    view = shuffled_in_time(row(Video(frames, tuple(map(float, range(count))))), seed).videos[0]
    assert isinstance(view, Video)
    assert view.frames != frames
