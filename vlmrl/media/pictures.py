"""Opening pictures: one place that decodes, rotates, converts and refuses them.

Everything downstream (loaders, processor, reports) gets its pictures here, so a box and its picture always agree about
size and rotation.
"""

import hashlib
import struct
import warnings
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.Image import Transpose

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.types import Video, VideoFile

Picture = Path | bytes | Image.Image
"""A file, an encoded file's content, or a picture already decoded."""

MIN_SIDE = 8
"""A side shorter than this (pixels) holds nothing to look at."""
MAX_SIDE = 16384
"""A side longer than this (pixels) is refused: a stitched page or a bomb, whose target would vanish when shrunk."""
MAX_ASPECT = 200
"""The Qwen-VL processors refuse more elongated pictures."""

ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""
SWAPS_SIDES = {5, 6, 7, 8}

UNREADABLE = (OSError, ValueError, SyntaxError, IndexError, TypeError, EOFError, struct.error)
"""What Pillow raises for a damaged file, depending on its format and where the damage is."""


def picture_size(source: Picture, where: str) -> Size:
    """Width and height after EXIF rotation, from the file's header. Raises UserError naming `where` (row and field)."""
    picture = _open(source, where)
    try:
        orientation = _orientation(picture, source, where)
    finally:
        if picture is not source:
            picture.close()
    width, height = reversed(picture.size) if orientation in SWAPS_SIDES else picture.size
    return _checked(width, height, source, where)


def open_picture(source: Picture, where: str) -> Image.Image:
    """The decoded picture: EXIF rotation applied, RGB, transparency laid on white.

    Raises UserError naming `where` (row and field) if the file is missing, damaged or out of bounds.
    """
    picture = _open(source, where)
    orientation = _orientation(picture, source, where)
    _checked(*picture.size, source, where)
    try:
        picture.load()
    except UNREADABLE as error:
        raise UserError(f"{where}: picture {_name(source)} is damaged ({error}); replace it or drop the row") from error
    if orientation in UPRIGHT:
        picture = picture.transpose(UPRIGHT[orientation])
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.new("RGBA", rgba.size, "white")
        picture.alpha_composite(rgba)
    return picture.convert("RGB")


def fingerprint(picture: Image.Image) -> str:
    """16 hex digits that name a picture's size and pixels."""
    digest = hashlib.sha256(f"{picture.mode} {picture.size}".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()[:16]


def _name(source: Picture) -> str:
    return str(source) if isinstance(source, Path) else "in memory"


def _open(source: Picture, where: str) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, Path) and not source.is_file():
        raise UserError(f"{where}: picture {source} does not exist; check the image folder beside the data file")
    if not (source.stat().st_size if isinstance(source, Path) else source):
        raise UserError(f"{where}: picture {_name(source)} is empty (0 bytes); download it again or drop the row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(source if isinstance(source, Path) else BytesIO(source))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{where}: picture {_name(source)} is far larger than a screenshot; scale it down") from None
    except UNREADABLE as error:
        raise UserError(
            f"{where}: picture {_name(source)} cannot be read ({error}); replace it or drop the row"
        ) from error


def _orientation(picture: Image.Image, source: Picture, where: str) -> int:
    """The EXIF orientation that is left to apply, as far as the header states it."""
    if picture.format == "TIFF":  # Pillow itself turns TIFF files upright
        return 1
    try:
        # PngImageFile's own getexif decodes the whole picture to look for EXIF behind the pixels.
        return int(Image.Image.getexif(picture).get(ORIENTATION_TAG, 1))
    except UNREADABLE as error:
        raise UserError(
            f"{where}: picture {_name(source)} has unreadable EXIF data ({error}); save it without EXIF"
        ) from error


def _checked(width: int, height: int, source: Picture, where: str) -> Size:
    short, long = sorted((width, height))
    if short < MIN_SIDE:
        raise UserError(
            f"{where}: picture {_name(source)} is {width}x{height}; sides below {MIN_SIDE} px hold nothing; "
            "drop the row"
        )
    if long > MAX_SIDE or long > MAX_ASPECT * short:
        raise UserError(
            f"{where}: picture {_name(source)} is {width}x{height}; sides up to {MAX_SIDE} px and aspect ratios up to "
            f"{MAX_ASPECT} can be used; crop or scale the picture and its boxes"
        )
    return Size(width, height)


MediaKey = Path | bytes | VideoFile | int


def media_key(source: Picture | Video | VideoFile) -> MediaKey:
    """What tells a row's picture or video from another's without opening it: rows that share one share its key.

    One in memory is known by its identity, so its key is good for as long as the row is held.
    """
    return source if isinstance(source, Path | bytes | VideoFile) else id(source)


def split_key(source: Picture | Video | VideoFile) -> MediaKey:
    """What must not be on both sides of a split: like `media_key`, with all clips of one video file as one."""
    return source.path if isinstance(source, VideoFile) else media_key(source)
