"""Finding the videos that rows name."""

from collections.abc import Sequence
from pathlib import Path

from vlmrl.errors import UserError
from vlmrl.media.videos import video_seconds

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")
"""Tried in this order for names without one: annotation files often name a video by its id."""


class VideoFinder:
    """The videos of one load; each file is looked for and opened once."""

    def __init__(self, folders: Sequence[str]) -> None:
        """`folders` are where videos lie beside a data file, or beside the folder that it is in."""
        self.folders = folders
        self._paths: dict[tuple[Path, str], Path] = {}
        self._seconds: dict[Path, float] = {}

    def find(self, data_file: Path, name: str, where: str) -> Path:
        """The video `name` of a row, wherever the row's own path to it ends. Raises UserError naming every place."""
        key = (data_file.parent, name)
        if key not in self._paths:
            beside, above = data_file.parent, data_file.absolute().parent.parent
            places = [folder / kept for folder in (beside, above) for kept in self.folders] + [beside]
            last = Path(name).name
            files = [name, last] if Path(name).suffix.lower() in SUFFIXES else [f"{last}{end}" for end in SUFFIXES]
            found = next((place / file for file in files for place in places if (place / file).is_file()), None)
            if found is None:
                folders = ", ".join(f"{kept}/" for kept in self.folders)
                raise UserError(
                    f"{where}: video {name!r} not found; looked for {' and '.join(dict.fromkeys(files))} in the "
                    f"folders {folders} of {beside} and {above}, and in {beside} itself"
                )
            self._paths[key] = found
        return self._paths[key]

    def seconds(self, path: Path, where: str) -> float:
        """The video's length, from its header."""
        if path not in self._seconds:
            self._seconds[path] = video_seconds(path, where)
        return self._seconds[path]
