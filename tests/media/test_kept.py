"""What is kept of pictures and videos beside logged answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.media.clips import grey, steady, write_clip
from vlmrl.errors import UserError
from vlmrl.geometry import Clip, ImageRecord, Size
from vlmrl.media import kept
from vlmrl.media.kept import FRAME_SIDE, KEY_FRAMES, MediaFolder, key_frames
from vlmrl.media.pictures import fingerprint
from vlmrl.types import Choice, Sample, Video, VideoFile

EMPTY = Sample(id="r1", images=(), records=(), question="", gold=Choice("A"))


def picture_row(source: Path | Image.Image, size: tuple[int, int]) -> Sample:
    return replace(EMPTY, images=(source,), records=(ImageRecord(0, Size(*size)),))


@given(st.integers(2, 1000))
def test_key_frames_are_spread_from_the_first_to_the_last(shown: int) -> None:
    chosen = key_frames(shown)
    assert chosen[0] == 0
    assert chosen[-1] == shown - 1
    assert len(chosen) == len(set(chosen)) == min(shown, KEY_FRAMES)
    gaps = np.diff(chosen)
    assert gaps.max() - gaps.min() <= 1


def test_pictures_are_kept_as_they_are_under_their_fingerprint(tmp_path: Path) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8))
    media = MediaFolder(tmp_path / "images").keep(picture_row(picture, (40, 30)))
    assert media.images == (fingerprint(picture),)
    with Image.open(tmp_path / "images" / f"{media.images[0]}.png") as stored:
        assert np.array_equal(np.asarray(stored), np.asarray(picture))


def test_pictures_may_be_scaled_down_and_keep_their_name(tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 100), "red")
    media = MediaFolder(tmp_path, side=50).keep(picture_row(picture, (400, 100)))
    assert media.images == (fingerprint(Image.new("RGB", (400, 100), "red")),)
    with Image.open(tmp_path / f"{media.images[0]}.png") as stored:
        assert stored.size == (50, 13)


def test_key_frames_of_a_file_are_small_and_have_the_times_that_the_model_saw(tmp_path: Path) -> None:
    clip = VideoFile(write_clip(tmp_path / "clip.mp4", steady(20)), start=2, end=18, fps=1)
    row = replace(EMPTY, videos=(clip,), clips=(Clip(0, 16.0),))
    (video,) = MediaFolder(tmp_path / "images").keep(row).videos
    assert video.shown == 16
    assert len(video.frames) == KEY_FRAMES
    assert video.seconds[0] == 0
    assert list(video.seconds) == sorted(video.seconds)
    for name, second in zip(video.frames, video.seconds, strict=True):
        with Image.open(tmp_path / "images" / f"{name}.jpg") as frame:
            assert max(frame.size) <= FRAME_SIDE
            assert np.asarray(frame).mean() == pytest.approx(grey(round((2 + second) * 10)), abs=6)


def test_decoded_frames_are_scaled_down(tmp_path: Path) -> None:
    video = Video(tuple(Image.new("RGB", (800, 400), (shade, 0, 0)) for shade in (0, 200)), (0.0, 1.5))
    row = replace(EMPTY, videos=(video,), clips=(Clip(0, 2.0),))
    (found,) = MediaFolder(tmp_path).keep(row).videos
    assert found.seconds == (0.0, 1.5)
    sizes = {Image.open(tmp_path / f"{name}.jpg").size for name in found.frames}
    assert sizes == {(FRAME_SIDE, FRAME_SIDE // 2)}


def test_a_file_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "screen.png")
    row = picture_row(tmp_path / "screen.png", (40, 30))
    row = replace(row, videos=(VideoFile(write_clip(tmp_path / "c.mp4", steady(2))),), clips=(Clip(0, 2.0),))
    folder = MediaFolder(tmp_path / "images")
    first = folder.keep(row)
    monkeypatch.setattr(kept, "open_picture", None)
    monkeypatch.setattr(kept, "open_video", None)
    assert folder.keep(row) == first


def test_what_cannot_be_opened_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"row r1, image 0: picture .* does not exist"):
        MediaFolder(tmp_path).keep(picture_row(tmp_path / "missing.png", (4, 4)))
