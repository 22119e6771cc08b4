"""The page's pictures: each embedded once, as a thumbnail, and shown wherever a group or evaluated row needs it."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from vlmrl.geometry import Size
from vlmrl.report.markup import Html, element, join

MAX_WIDTH = 480
MAX_HEIGHT = 960
JPEG_QUALITY = 85


class PictureLibrary:
    """Thumbnails as data URIs by picture name. A file that cannot be read (half written) counts as not there."""

    def __init__(self) -> None:
        self._uris: dict[str, str | None] = {}

    def add(self, name: str, file: Path | None) -> bool:
        """Takes the picture in; whether it can be shown."""
        if name not in self._uris:
            self._uris[name] = _data_uri(file) if file else None
        return self._uris[name] is not None

    def bytes(self, names: Iterable[str]) -> int:
        """What the pictures take up on the page."""
        return sum(len(self._uris.get(name) or "") for name in set(names))

    def definitions(self, names: Iterable[str]) -> Html:
        """One hidden SVG with each picture once, as a unit square that `shown` refers to."""
        images = [
            element("image", id=_anchor(name), href=uri, width=1, height=1, preserveAspectRatio="none")
            for name in sorted(set(names))
            if (uri := self._uris.get(name))
        ]
        return element("svg", element("defs", *images), class_="pictures", width=0, height=0, aria_hidden="true")


def shown(name: str, size: Size) -> Html:
    """The picture stretched over `size`, so that the drawing around it is in original pixels."""
    return join(element("use", href=f"#{_anchor(name)}", transform=f"scale({size.width} {size.height})"))


def _anchor(name: str) -> str:
    return f"picture-{name}"


def _data_uri(file: Path) -> str | None:
    try:
        with Image.open(file) as picture:
            thumbnail = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return None
    thumbnail.thumbnail((MAX_WIDTH, MAX_HEIGHT), Image.Resampling.LANCZOS, reducing_gap=3.0)
    png, jpeg = io.BytesIO(), io.BytesIO()
    thumbnail.save(png, "PNG")
    thumbnail.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
    kind, smallest = min(("png", png.getvalue()), ("jpeg", jpeg.getvalue()), key=lambda item: len(item[1]))
    return f"data:image/{kind};base64,{base64.b64encode(smallest).decode('ascii')}"
