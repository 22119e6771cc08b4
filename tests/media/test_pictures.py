import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.media.pictures import (
    MAX_SIDE,
    ORIENTATION_TAG,
    fingerprint,
    media_key,
    open_picture,
    picture_size,
)

WHERE = "row 3, field image"


def saved(path: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(path, **options)
    return path


def corner_marked(size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Black with a red top left quarter."""
    picture = Image.new("RGB", size)
    picture.paste((255, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return picture


def refused(source: Path | bytes | Image.Image, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        open_picture(source, WHERE)
    assert str(caught.value).startswith(WHERE)


@pytest.mark.parametrize("format_", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_moves_size_and_pixels_alike(tmp_path: Path, format_: str, orientation: int) -> None:
    turned_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corner_marked()
    if orientation in turned_back:
        stored = stored.transpose(turned_back[orientation])
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    path = saved(tmp_path / f"a.{format_}", stored, exif=exif)
    assert picture_size(path, WHERE) == Size(40, 24)
    picture = open_picture(path, WHERE)
    assert picture.size == (40, 24)
    red, green, blue = picture.getpixel((5, 5))
    assert red > 200
    assert max(green, blue) < 60
    assert max(picture.getpixel((35, 20))) < 60


def test_the_size_of_a_png_comes_from_its_header(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.effect_noise((64, 64), 50))
    content = path.read_bytes()
    start = content.index(b"IDAT") + 4
    path.write_bytes(content[: start + 20] + bytes(40) + content[start + 60 :])
    assert picture_size(path, WHERE) == Size(64, 64)
    refused(path, "damaged")


def test_exif_behind_the_pixels_of_a_png_is_ignored_by_size_and_pixels_alike(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", corner_marked())
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    data = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    content = path.read_bytes()
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:end] + chunk + content[end:])
    assert picture_size(path, WHERE) == Size(40, 24)
    assert open_picture(path, WHERE).size == (40, 24)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    picture = open_picture(saved(tmp_path / "a.png", half), WHERE)
    assert picture.mode == "RGB"
    assert picture.getpixel((0, 0)) == (255, 127, 127)
    palette = Image.new("P", (16, 16))
    picture = open_picture(saved(tmp_path / "b.png", palette, transparency=0), WHERE)
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    cmyk = saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    red, green, blue = open_picture(cmyk, WHERE).getpixel((8, 8))
    assert red > 200
    assert max(green, blue) < 60
    grey = saved(tmp_path / "b.png", Image.new("L", (16, 16), 77))
    assert open_picture(grey, WHERE).getpixel((0, 0)) == (77, 77, 77)


def test_all_kinds_of_source_give_the_same_picture(tmp_path: Path) -> None:
    drawn = corner_marked()
    path = saved(tmp_path / "a.png", drawn)
    prints = {fingerprint(open_picture(source, WHERE)) for source in (drawn, path, path.read_bytes())}
    assert len(prints) == 1
    assert {picture_size(source, WHERE) for source in (drawn, path, path.read_bytes())} == {Size(40, 24)}
    assert fingerprint(corner_marked((24, 40))) not in prints


def test_rows_with_one_picture_share_its_key(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", corner_marked())
    first, second = corner_marked(), corner_marked()
    assert media_key(path) == media_key(Path(str(path)))
    assert media_key(path.read_bytes()) == media_key(path.read_bytes())
    assert media_key(first) == media_key(first) != media_key(second)


def test_a_picture_in_memory_is_left_as_it_is() -> None:
    drawn = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    open_picture(drawn, WHERE)
    assert drawn.mode == "RGBA"
    assert picture_size(drawn, WHERE) == Size(16, 16)
    drawn.load()


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "missing.png", "does not exist")
    refused(tmp_path, "does not exist")
    empty = tmp_path / "empty.png"
    empty.touch()
    refused(empty, "0 bytes")
    refused(b"", "0 bytes")
    text = tmp_path / "text.png"
    text.write_text("<html>404</html>")
    refused(text, "cannot be read")
    refused(b"not a picture", "cannot be read")


@pytest.mark.parametrize("format_", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path: Path, format_: str, kept: float) -> None:
    content = saved(tmp_path / f"a.{format_}", Image.effect_noise((64, 64), 50).convert("RGB")).read_bytes()
    path = tmp_path / f"cut.{format_}"
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path, "cannot be read|damaged|EXIF|below")


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), "sides below 8"),
        ((7, 500), "sides below 8"),
        ((20_000, 1000), "16384"),
        ((MAX_SIDE, 80), "aspect ratios up to 200"),
    ],
)
def test_sizes_out_of_bounds_are_refused(tmp_path: Path, size: tuple[int, int], expected: str) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", size))
    refused(path, expected)
    with pytest.raises(UserError, match=expected):
        picture_size(path, WHERE)


def test_bombs_are_refused_before_they_are_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    bomb = io.BytesIO(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    refused(bomb.getvalue(), "far larger")
