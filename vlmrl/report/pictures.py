"""The page's pictures: each embedded once, as a thumbnail, and shown wherever a group or evaluated row needs it."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlmrl.geometry import Size
from vlmrl.report.markup import Html, element, join

MAX_WIDTH = 480
MAX_HEIGHT = 960
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Thumbnail:
    """An embedded picture: its data URI and its own size."""

    uri: str
    size: Size


class PictureLibrary:
    """Thumbnails by picture name. A file that cannot be read (half written) counts as not there.

    A picture keeps at most `largest` pixels in width and height.
    """

    def __init__(self, largest: tuple[int, int] = (MAX_WIDTH, MAX_HEIGHT)) -> None:
        self._largest = largest
        self._thumbnails: dict[str, Thumbnail | None] = {}

    def __len__(self) -> int:
        return len(self._thumbnails)

    def add(self, name: str, file: Path | None) -> bool:
        """Takes the picture in; whether it can be shown."""
        if self._thumbnails.get(name) is None:
            self._thumbnails[name] = _of_file(file, self._largest) if file else None
        return self._thumbnails[name] is not None

    def add_drawn(self, name: str, picture: Image.Image) -> None:
        """Takes in a picture that is in no file."""
        if name not in self._thumbnails:
            self._thumbnails[name] = _thumbnail(picture.convert("RGB"), self._largest)

    def has(self, name: str) -> bool:
        """Whether the picture has been taken in and can be shown."""
        return self._thumbnails.get(name) is not None

    def size(self, name: str) -> Size:
        """The embedded picture's own size. Raises KeyError if the library does not have it."""
        if (thumbnail := self._thumbnails[name]) is None:
            raise KeyError(name)
        return thumbnail.size

    def bytes(self, names: Iterable[str]) -> int:
        """What the pictures take up on the page."""
        return sum(len(thumbnail.uri) for name in set(names) if (thumbnail := self._thumbnails.get(name)))

    def definitions(self, names: Iterable[str]) -> Html:
        """One hidden SVG with each picture once, as a unit square that `shown` refers to."""
        images = [
            element("image", id=_anchor(name), href=thumbnail.uri, width=1, height=1, preserveAspectRatio="none")
            for name in sorted(set(names))
            if (thumbnail := self._thumbnails.get(name))
        ]
        return element("svg", element("defs", *images), class_="pictures", width=0, height=0, aria_hidden="true")


def shown(name: str, size: Size) -> Html:
    """The picture stretched over `size`, so that the drawing around it is in original pixels."""
    return join(element("use", href=f"#{_anchor(name)}", transform=f"scale({size.width} {size.height})"))


def _anchor(name: str) -> str:
    return f"picture-{name}"


def _of_file(file: Path, largest: tuple[int, int]) -> Thumbnail | None:
    try:
        with Image.open(file) as picture:
            return _thumbnail(picture.convert("RGB"), largest)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _thumbnail(picture: Image.Image, largest: tuple[int, int]) -> Thumbnail:
    """The smaller of its PNG and its JPEG."""
    picture.thumbnail(largest, Image.Resampling.LANCZOS, reducing_gap=3.0)
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG")
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    kind, smallest = min(("png", png.getvalue()), ("jpeg", jpeg.getvalue()), key=lambda item: len(item[1]))
    uri = f"data:image/{kind};base64,{base64.b64encode(smallest).decode('ascii')}"
    return Thumbnail(uri, Size(*picture.size))
