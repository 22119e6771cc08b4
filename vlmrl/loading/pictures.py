"""Finding the pictures that rows name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlmrl.errors import UserError
from vlmrl.geometry import Size
from vlmrl.media.pictures import picture_size


class PictureFinder:
    """The pictures of one load; each file is looked for and opened once."""

    def __init__(self, folders: Sequence[str]) -> None:
        """`folders` are where pictures lie beside a data file, or beside the folder that it is in."""
        self.folders = folders
        self._paths: dict[tuple[Path, str], Path] = {}
        self._sizes: dict[Path | bytes, Size] = {}
        self._encoded: dict[bytes, bytes] = {}

    def find(self, data_file: Path, name: str, where: str) -> Path:
        """The picture `name` of a row. Raises UserError naming every place that was looked in."""
        key = (data_file.parent, name)
        if key not in self._paths:
            beside, above = data_file.parent, data_file.absolute().parent.parent
            places = [folder / kept for folder in (beside, above) for kept in self.folders] + [beside]
            found = [place / name for place in places if (place / name).is_file()]
            if not found:
                folders = ", ".join(f"{kept}/" for kept in self.folders)
                raise UserError(
                    f"{where}: picture {name!r} not found; looked in the folders {folders} of {beside} and {above}, "
                    f"and in {beside} itself"
                )
            self._paths[key] = found[0]
        return self._paths[key]

    def embedded(self, cell: Any, where: str) -> bytes:
        """The encoded picture in a parquet cell; one object for all rows that hold the same picture."""
        encoded = cell.get("bytes") if isinstance(cell, Mapping) else cell
        if not isinstance(encoded, bytes):
            raise UserError(f"{where}: holds no encoded picture; export the set with its pictures")
        return self._encoded.setdefault(encoded, encoded)

    def size(self, source: Path | bytes, where: str) -> Size:
        """Width and height, from the picture's header."""
        if source not in self._sizes:
            self._sizes[source] = picture_size(source, where)
        return self._sizes[source]
