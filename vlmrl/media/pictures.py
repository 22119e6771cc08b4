"""Opening pictures: one place that decodes, rotates, converts and refuses them.

Everything downstream (loaders, processor, reports) gets its pictures here, so a box and its picture always agree about
size and rotation.
"""

import hashlib
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from vlmrl.errors import UserError
from vlmrl.geometry import Size

MIN_SIDE = 8
"""A side shorter than this (pixels) holds nothing to look at."""
MAX_SIDE = 16384
"""A side longer than this (pixels) is refused: it is a stitched page or a bomb, and shrinking it would hide the target."""
MAX_ASPECT = 200
"""The Qwen-VL processors refuse more elongated pictures."""

ROTATED = {5, 6, 7, 8}
ORIENTATION_TAG = 0x0112


def _open(source: Path | Image.Image, where: str) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if not source.exists():
        raise UserError(f"{where}: picture {source} does not exist; check the image folder beside the data file")
    if source.stat().st_size == 0:
        raise UserError(f"{where}: picture {source} is empty (0 bytes); download it again or drop the row")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(source)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{where}: picture {source} is far larger than a screenshot; scale it down") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{where}: picture {source} cannot be read ({error}); replace it or drop the row") from error


def _checked(size: Size, where: str, name: str) -> Size:
    short, long = sorted((size.width, size.height))
    if short < MIN_SIDE:
        raise UserError(f"{where}: picture {name} is {size}; sides below {MIN_SIDE} px hold nothing; drop the row")
    if long > MAX_SIDE or long > MAX_ASPECT * short:
        raise UserError(
            f"{where}: picture {name} is {size}; sides up to {MAX_SIDE} px and aspect ratios up to {MAX_ASPECT} can be "
            "used; crop or scale the picture and its boxes"
        )
    return size


def picture_size(source: Path | Image.Image, where: str) -> Size:
    """Width and height after EXIF rotation, from the file's header. Raises UserError naming `where` (row and field)."""
    picture = _open(source, where)
    try:
        width, height = picture.size
        if picture.getexif().get(ORIENTATION_TAG) in ROTATED:
            width, height = height, width
    finally:
        if isinstance(source, Path):
            picture.close()
    name = str(source) if isinstance(source, Path) else "in memory"
    if width < 1 or height < 1:
        raise UserError(f"{where}: picture {name} has no area")
    return _checked(Size(width, height), where, name)


def open_picture(source: Path | Image.Image, where: str) -> Image.Image:
    """The decoded picture: EXIF rotation applied, RGB, transparency laid on white.

    Raises UserError naming `where` (row and field) if the file is missing, damaged or out of bounds.
    """
    picture_size(source, where)
    picture = _open(source, where)
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{where}: picture {source} is damaged ({error}); replace it or drop the row") from error
    picture = ImageOps.exif_transpose(picture)
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
